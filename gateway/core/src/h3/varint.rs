//! Variable-length integers (RFC 9000 §16): the two highest bits say how many bytes there are.

/// The largest number that can be written.
pub const MAX: u64 = (1 << 62) - 1;

/// The number at the front of `bytes` and how many bytes it takes; `None` while bytes are missing.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1_usize << (first >> 6);
    let all = bytes.get(..len)?;
    let number = all
        .iter()
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let bits = u32::try_from(len).map_or(62, |len| len * 8 - 2);
    Some((number & (u64::MAX >> (64 - bits)), len))
}

/// Appends `number` in as few bytes as it takes; numbers above [`MAX`] are written as [`MAX`].
pub fn write(out: &mut Vec<u8>, number: u64) {
    let number = number.min(MAX);
    let [_, _, _, _, a, b, c, d] = number.to_be_bytes();
    match number {
        0..=0x3f => out.push(d),
        0x40..=0x3fff => out.extend_from_slice(&[c | 0x40, d]),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&[a | 0x80, b, c, d]),
        _ => out.extend_from_slice(&(number | 0xc0 << 56).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9000 Appendix A.1.
    #[test]
    fn examples_of_the_rfc() {
        let examples: [(&[u8], u64); 4] = [
            (b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c", 151_288_809_941_952_652),
            (b"\x9d\x7f\x3e\x7d", 494_878_333),
            (b"\x7b\xbd", 15_293),
            (b"\x25", 37),
        ];
        for (bytes, number) in examples {
            assert_eq!(read(bytes), Some((number, bytes.len())));
            let mut out = Vec::new();
            write(&mut out, number);
            assert_eq!(out, bytes);
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), None);
            }
        }
        assert_eq!(read(b"\x40\x25"), Some((37, 2)), "longer than needed");
    }

    #[test]
    fn bounds() {
        for number in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX] {
            let mut out = Vec::new();
            write(&mut out, number);
            assert_eq!(read(&out), Some((number, out.len())));
        }
    }
}

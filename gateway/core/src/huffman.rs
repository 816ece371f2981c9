//! The Huffman code of HPACK and QPACK (RFC 7541 §5.2 and Appendix B; RFC 9204 §4.1.2).
//!
//! The code is canonical: among codes of one length, and between lengths, codes count upwards in
//! the order of the symbols. So the lengths are all there is to write down; codes and the tables
//! for decoding follow from them at compile time.

/// Bits that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Length in bits of each byte's code. The end-of-string symbol (30 bits, all ones) is not here: it
/// must not occur.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const SHORTEST: usize = 5;
const LONGEST: usize = 30;

struct Tables {
    /// Code of each byte, right-aligned.
    codes: [u32; 256],
    /// Bytes in the order of their codes.
    sorted: [u8; 256],
    /// For each length the first code that is longer than it, left-aligned in 32 bits.
    limits: [u32; LONGEST + 1],
    /// For each length its first code, right-aligned.
    firsts: [u32; LONGEST + 1],
    /// For each length the place in `sorted` of its first code.
    places: [u16; LONGEST + 1],
}

const TABLES: Tables = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler"
)]
const fn tables() -> Tables {
    let mut tables = Tables {
        codes: [0; 256],
        sorted: [0; 256],
        limits: [0; LONGEST + 1],
        firsts: [0; LONGEST + 1],
        places: [0; LONGEST + 1],
    };
    let (mut code, mut place, mut length) = (0_u32, 0_usize, SHORTEST);
    while length <= LONGEST {
        tables.firsts[length] = code;
        tables.places[length] = place as u16;
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                tables.codes[symbol] = code;
                tables.sorted[place] = symbol as u8;
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        tables.limits[length] = code << (32 - length as u32);
        code <<= 1;
        length += 1;
    }
    tables
}

/// Gives the bytes that `input` stands for, one after the other.
///
/// # Errors
/// The end-of-string symbol, padding longer than 7 bits, or padding that is not all ones.
pub(crate) fn decode(input: &[u8], mut out: impl FnMut(u8)) -> Result<(), Malformed> {
    // the next bits, left-aligned; ones behind the end, which no code but end-of-string continues
    let (mut bits, mut held) = (0_u64, 0_u32);
    let mut rest = input.iter();
    loop {
        while held <= 32
            && let Some(byte) = rest.next()
        {
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        if held == 0 {
            return Ok(());
        }
        let window = u32::try_from((bits | (u64::MAX >> held)) >> 32).unwrap_or(u32::MAX);
        match symbol(window) {
            Some((symbol, length)) if length <= held => {
                out(symbol);
                bits <<= length;
                held -= length;
            }
            // Nothing but ones is left: padding, if it is short.
            None if held < 8 && (bits | (u64::MAX >> held)) == u64::MAX => return Ok(()),
            _ => return Err(Malformed),
        }
    }
}

/// The byte whose code begins the window, and the code's length.
fn symbol(window: u32) -> Option<(u8, u32)> {
    let lengths = (SHORTEST..=LONGEST).zip(5_u32..);
    for (at, length) in lengths {
        if window < *TABLES.limits.get(at)? {
            let code = window >> (32 - length);
            let nth = usize::try_from(code.checked_sub(*TABLES.firsts.get(at)?)?).ok()?;
            let place = usize::from(*TABLES.places.get(at)?);
            return Some((*TABLES.sorted.get(place + nth)?, length));
        }
    }
    None
}

/// Bytes that `text` takes when coded.
pub(crate) fn coded_len(text: &[u8]) -> usize {
    let length = |byte: &u8| usize::from(LENGTHS.get(usize::from(*byte)).copied().unwrap_or(0));
    text.iter().map(length).sum::<usize>().div_ceil(8)
}

/// Appends the code of `text`, padded with ones.
pub(crate) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0_u64, 0_u32);
    for byte in text {
        let at = usize::from(*byte);
        let length = u32::from(LENGTHS.get(at).copied().unwrap_or(0));
        let code = u64::from(TABLES.codes.get(at).copied().unwrap_or(0));
        bits |= code << (64 - length - held);
        held += length;
        while held >= 8 {
            out.push(top(bits));
            bits <<= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(top(bits | (u64::MAX >> held)));
    }
}

/// The highest eight bits.
fn top(bits: u64) -> u8 {
    let [first, ..] = bits.to_be_bytes();
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        decode(input, |byte| out.push(byte)).map(|()| out)
    }

    /// The strings of RFC 7541 Appendix C.4 and C.6.
    #[test]
    fn examples_of_the_rfc() {
        let examples: [(&[u8], &[u8]); 6] = [
            (
                b"www.example.com",
                b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            ),
            (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (b"custom-key", b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f"),
            (b"custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
            (b"302", b"\x64\x02"),
            (b"private", b"\xae\xc3\x77\x1a\x4b"),
        ];
        for (text, code) in examples {
            let mut out = Vec::new();
            encode(text, &mut out);
            assert_eq!(out, code);
            assert_eq!(coded_len(text), code.len());
            assert_eq!(decoded(code).as_deref(), Ok(text));
        }
    }

    #[test]
    fn every_byte_survives_in_every_alignment() {
        for first in 0..=255_u8 {
            for second in [b'0', b'&', 0, 10, 255, first] {
                let text = [first, second, first];
                let mut out = Vec::new();
                encode(&text, &mut out);
                assert_eq!(decoded(&out).as_deref(), Ok(&text[..]));
            }
        }
    }

    #[test]
    fn padding_is_short_and_all_ones() {
        assert_eq!(decoded(&[0b0000_0111]).as_deref(), Ok(&b"0"[..]));
        for bad in [
            &[0b0000_0110][..],
            &[0b0000_0011],
            &[0b0000_0111, 0xff],
            &[0xff],
            // the end-of-string symbol
            &[0xff, 0xff, 0xff, 0xff],
            &[0xff, 0xff, 0xff, 0xfc],
        ] {
            assert_eq!(decoded(bad), Err(Malformed), "{bad:x?}");
        }
    }
}

//! Base64 as tokens write it (RFC 7515 §2): the URL alphabet, no padding, one spelling per value.

#[cfg(test)]
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const PLAIN: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes. `None`: another alphabet, padding, or bits that mean nothing.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
        }
        bits &= (1 << count) - 1;
    }
    // six lonely bits are no byte, and what is left over must be zero
    (count < 6 && bits == 0).then_some(out)
}

/// Encodes with the plain alphabet and padding, as Envoy writes claims that are no strings.
pub(super) fn encode_padded(bytes: &[u8]) -> String {
    let mut out = encode(bytes, PLAIN);
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}

/// Encodes as tokens do.
#[cfg(test)]
pub(super) fn encode_url(bytes: &[u8]) -> String {
    encode(bytes, URL)
}

fn encode(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for six in 0..=chunk.len() {
            let at = usize::try_from(bits >> (18 - 6 * six) & 63).unwrap_or_default();
            out.push(alphabet.get(at).copied().map_or('A', char::from));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_spelling() {
        for length in 0..200_u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(77)).collect();
            assert_eq!(decode(&encode_url(&bytes)), Some(bytes));
        }
        for (text, want) in [
            ("", Some(&b""[..])),
            ("Zg", Some(b"f")),
            ("Zm8", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("_-8", Some(b"\xff\xef")),
            ("Zh", None),
            ("Zg==", None),
            ("Z", None),
            ("Zm9vZ", None),
            ("/+8", None),
            ("Zm 9v", None),
            ("Zm9v\n", None),
        ] {
            assert_eq!(decode(text).as_deref(), want, "{text}");
        }
        assert_eq!(encode_padded(b"f"), "Zg==");
        assert_eq!(encode_padded(b"\xff\xef"), "/+8=");
    }
}

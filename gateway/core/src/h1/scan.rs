//! Byte scanners: where does a token, a value or a target end?
//!
//! Eight bytes at a time in plain integer arithmetic, so that no `unsafe` and no CPU detection is
//! needed; heads are a few hundred bytes and these loops are a small part of a request.

/// One byte repeated in a word.
const fn splat(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

const HIGH: u64 = splat(0x80);

/// The high bit of each byte of `word` that is below `limit` (≤ 0x80). A byte above a real hit
/// may be marked too; the lowest mark is always right.
const fn marks_below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(splat(limit)) & !word & HIGH
}

/// Length of the longest prefix of SP, HTAB, VCHAR and obs-text: a field value (RFC 9110 §5.5).
pub(super) fn text(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += plain_run(bytes.get(at..).unwrap_or_default(), 0x20);
        match bytes.get(at) {
            Some(b'\t') => at += 1,
            _ => return at,
        }
    }
}

/// Length of the longest prefix of bytes 0x21 to 0x7E: a request target.
pub(super) fn visible(bytes: &[u8]) -> usize {
    let mut at = 0;
    for chunk in bytes.chunks_exact(8) {
        let word = chunk.try_into().map_or(0, u64::from_le_bytes);
        let marks = (marks_below(word, 0x21) | marks_below(word ^ splat(0x7f), 1) | word) & HIGH;
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|b| !b.is_ascii_graphic())
        .unwrap_or(rest.len())
}

/// Length of the longest prefix without DEL and without bytes below `floor`.
fn plain_run(bytes: &[u8], floor: u8) -> usize {
    let mut at = 0;
    for chunk in bytes.chunks_exact(8) {
        let word = chunk.try_into().map_or(0, u64::from_le_bytes);
        let marks = marks_below(word, floor) | marks_below(word ^ splat(0x7f), 1);
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|b| *b < floor || *b == 0x7f)
        .unwrap_or(rest.len())
}

/// Lower-cases the token (RFC 9110 §5.6.2) at the front in place; its length, and whether it has
/// an underscore.
pub(super) fn lower_token(bytes: &mut [u8]) -> (usize, bool) {
    let mut underscore = false;
    let mut len = 0;
    for byte in bytes {
        let lower = LOWER_TOKEN.get(usize::from(*byte)).copied().unwrap_or(0);
        if lower == 0 {
            break;
        }
        *byte = lower;
        underscore |= lower == b'_';
        len += 1;
    }
    (len, underscore)
}

/// Whether `byte` may stand in a token.
pub(super) fn is_token(byte: u8) -> bool {
    LOWER_TOKEN
        .get(usize::from(byte))
        .is_some_and(|lower| *lower != 0)
}

/// Whether all of `bytes` is one token.
pub(super) fn is_token_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| is_token(*b))
}

/// `bytes` without SP and HTAB at both ends.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let is_ows = |b: &u8| matches!(b, b' ' | b'\t');
    let start = bytes.iter().position(|b| !is_ows(b)).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|b| !is_ows(b))
        .map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// The members of a comma-separated list, trimmed; empty ones too.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim)
}

/// Each token byte in lower case, zero for every other byte.
const LOWER_TOKEN: [u8; 256] = lower_token_table();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "const, i < 256"
)]
const fn lower_token_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
            || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
        {
            table[i] = byte.to_ascii_lowercase();
        }
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte value at every place of a 20-byte string, against the plain definition.
    #[test]
    fn word_scanners_agree_with_the_definition() {
        for place in 0..20 {
            for byte in 0..=255_u8 {
                let mut bytes = *b"abcdefghij\xff\x80lmnopqrs";
                bytes[place] = byte;
                let is_text = |b: &u8| *b == b'\t' || (*b >= 0x20 && *b != 0x7f);
                let expected = bytes.iter().position(|b| !is_text(b)).unwrap_or(20);
                assert_eq!(text(&bytes), expected, "text {place} {byte:#x}");
                let expected = bytes
                    .iter()
                    .position(|b| !b.is_ascii_graphic())
                    .unwrap_or(20);
                assert_eq!(visible(&bytes), expected, "visible {place} {byte:#x}");
            }
        }
    }

    #[test]
    fn trim_and_members() {
        assert_eq!(trim(b" \ta b\t"), b"a b");
        assert_eq!(trim(b" \t "), b"");
        let all: Vec<_> = members(b"a, ,b ").collect();
        assert_eq!(all, [&b"a"[..], b"", b"b"]);
    }
}

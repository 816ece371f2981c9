//! DER, as far as certificates and what is said about them need it (X.690 §10, RFC 5280 §4.1.2.5).

use std::ops::Range;

// Tags of elements.
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_ID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const ENUMERATED: u8 = 0x0a;
/// `[0] EXPLICIT`.
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// `YYMMDDhhmmssZ` (years 1950 to 2049) or `YYYYMMDDhhmmssZ`, as RFC 5280 demands.
pub(crate) fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |range: Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, rest) = match tag {
        UTC_TIME => match number(0..2)? {
            year @ 50.. => (1900 + year, 2),
            year => (2000 + year, 2),
        },
        GENERALIZED_TIME => (number(0..4)?, 4),
        _ => return None,
    };
    let pair = |index: usize| number(rest + 2 * index..rest + 2 * index + 2);
    let days = days_since_1970(year, pair(0)?, pair(1)?);
    Some(days * 86_400 + pair(2)? * 3_600 + pair(3)? * 60 + pair(4)?)
}

/// Days of the proleptic Gregorian calendar. Years are counted from March, so that the leap day is
/// the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Elements of DER one after the other: tag and content. Ends at the first that is cut off.
pub(crate) struct Elements<'a>(pub(crate) &'a [u8]);

impl<'a> Elements<'a> {
    /// The content of the next element, if it has this tag.
    pub(crate) fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let (tag, content) = self.next()?;
        (tag == wanted).then_some(content)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits
                    .iter()
                    .fold(0, |length: usize, digit| length << 8 | usize::from(*digit));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "490101000001Z", 2_493_072_001),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "19691231235959Z", -1),
        ] {
            assert_eq!(time((tag, text.as_bytes())), Some(seconds), "{text}");
        }
        assert_eq!(time((UTC_TIME, b"7001010000Z")), None);
        assert_eq!(time((INTEGER, b"700101000000Z")), None);
    }
}

//! What operators want to know of a certificate: serial, names, from when, until when. A reader of
//! the few DER elements that hold it (RFC 5280 §4.1); it verifies nothing.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Certificates of a chain that are read.
const CHAIN_MAX: usize = 16;

/// The facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Serial number in hexadecimal.
    pub(crate) serial: String,
    /// Start of validity, seconds since 1970.
    pub(crate) not_before: i64,
    /// End of validity, seconds since 1970.
    pub(crate) not_after: i64,
    /// Alternative names as (kind, name): `dns`, `uri` or `ip_address`.
    pub(crate) names: Vec<(&'static str, String)>,
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// Reads a PEM chain, leaf first. What cannot be read is left out.
pub(crate) fn read_chain(pem: &[u8]) -> Vec<Facts> {
    CertificateDer::pem_slice_iter(pem)
        .take(CHAIN_MAX)
        .filter_map(|certificate| read(certificate.ok()?.as_ref()))
        .collect()
}

// Tags of DER elements.
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17, subjectAltName.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

fn read(der: &[u8]) -> Option<Facts> {
    let certificate = Elements(der).expect(SEQUENCE)?;
    let mut fields = Elements(Elements(certificate).expect(SEQUENCE)?);
    let (tag, first) = fields.next()?;
    let serial = match tag {
        VERSION => fields.expect(INTEGER)?,
        INTEGER => first,
        _ => return None,
    };
    let _signature = fields.expect(SEQUENCE)?;
    let _issuer = fields.expect(SEQUENCE)?;
    let mut validity = Elements(fields.expect(SEQUENCE)?);
    let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
    let names = fields
        .find(|(tag, _)| *tag == EXTENSIONS)
        .and_then(|(_, extensions)| alternative_names(extensions))
        .unwrap_or_default();
    Some(Facts {
        serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
        not_before,
        not_after,
        names,
    })
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<(&'static str, String)>> {
    let mut list = Elements(Elements(extensions).expect(SEQUENCE)?);
    let value = list.find_map(|(_, extension)| {
        let mut parts = Elements(extension);
        if parts.expect(OBJECT_ID)? != SUBJECT_ALT_NAME {
            return None;
        }
        // `critical` may stand between the two.
        parts.find(|(tag, _)| *tag == OCTET_STRING)
    })?;
    let names = Elements(Elements(value.1).expect(SEQUENCE)?);
    Some(names.filter_map(alternative_name).collect())
}

fn alternative_name((tag, value): (u8, &[u8])) -> Option<(&'static str, String)> {
    let text = || String::from_utf8_lossy(value).into_owned();
    match tag {
        DNS_NAME => Some(("dns", text())),
        URI => Some(("uri", text())),
        IP_ADDRESS => {
            let v4 = <[u8; 4]>::try_from(value).map(|octets| Ipv4Addr::from(octets).to_string());
            let v6 = <[u8; 16]>::try_from(value).map(|octets| Ipv6Addr::from(octets).to_string());
            Some(("ip_address", v4.or(v6).ok()?))
        }
        _ => None,
    }
}

/// Attributes of names that have short ones (RFC 2253 §2.3, RFC 4519), by their object identifiers.
const ATTRIBUTES: [(&[u8], &str); 10] = [
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x05], "serialNumber"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "street"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01],
        "emailAddress",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19],
        "DC",
    ),
];
/// What an attribute without a short name is called.
const OTHER_ATTRIBUTE: &str = "UNDEF";

/// A subject, which is the content of its outer sequence, as RFC 2253 writes it: the last
/// attribute first, what has a meaning escaped, and nothing but printable ASCII.
pub(crate) fn subject_text(names: &[u8]) -> String {
    let mut parts: Vec<String> = Elements(names)
        .map(|(_, set)| {
            let attributes = Elements(set).filter_map(|(_, attribute)| attribute_text(attribute));
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute_text(attribute: &[u8]) -> Option<String> {
    let mut parts = Elements(attribute);
    let id = parts.expect(OBJECT_ID)?;
    let (_, value) = parts.next()?;
    let known = ATTRIBUTES.iter().find(|(known, _)| *known == id);
    let mut text = known.map_or(OTHER_ATTRIBUTE, |(_, name)| name).to_owned();
    text.push('=');
    for (position, byte) in value.iter().enumerate() {
        let edge = position == 0 || position + 1 == value.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                text.extend(['\\', char::from(*byte)]);
            }
            b' ' if edge => text.push_str("\\ "),
            b'#' if position == 0 => text.push_str("\\#"),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\{byte:02X}")),
        }
    }
    Some(text)
}

/// `YYMMDDhhmmssZ` (years 1950 to 2049) or `YYYYMMDDhhmmssZ`, as RFC 5280 demands.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
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
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
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
    fn a_certificate_tells_its_names_and_validity() {
        let mut parameters =
            rcgen::CertificateParams::new(vec!["a.example.com".to_owned(), "10.1.2.3".to_owned()])
                .unwrap();
        parameters
            .subject_alt_names
            .push(rcgen::SanType::URI("spiffe://x/y".try_into().unwrap()));
        parameters.not_before = rcgen::date_time_ymd(2024, 2, 29);
        parameters.not_after = rcgen::date_time_ymd(2061, 1, 1);
        parameters.serial_number = Some(vec![0x12, 0x34].into());
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let facts = read_chain(certificate.pem().repeat(2).as_bytes());
        assert_eq!(facts.len(), 2);
        assert_eq!(
            facts[0],
            Facts {
                serial: "1234".to_owned(),
                not_before: 1_709_164_800,
                not_after: 2_871_763_200,
                names: vec![
                    ("dns", "a.example.com".to_owned()),
                    ("ip_address", "10.1.2.3".to_owned()),
                    ("uri", "spiffe://x/y".to_owned()),
                ],
            }
        );
        // Cut off anywhere, it is refused, not misread.
        let der = certificate.der();
        assert!((0..der.len()).all(|end| read(&der[..end]).is_none()));
    }

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

//! What operators want to know of a certificate: serial, names, from when, until when. A reader of
//! the few DER elements that hold it (RFC 5280 §4.1); it verifies nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::der::{CONTEXT_0, Elements, INTEGER, OBJECT_ID, OCTET_STRING, SEQUENCE, time};

/// The facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Serial number, as it is written in the certificate.
    pub serial: Vec<u8>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    /// Alternative names as (kind, name): `dns`, `uri` or `ip_address`.
    pub names: Vec<(&'static str, String)>,
    /// It is not to be believed without a response of its authority beside it (RFC 7633 §4.2.3.1).
    pub must_staple: bool,
}

impl Facts {
    /// Serial number in hexadecimal.
    #[must_use]
    pub fn serial_text(&self) -> String {
        self.serial.iter().map(|b| format!("{b:02x}")).collect()
    }
}

const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17, subjectAltName.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 1.3.6.1.5.5.7.1.24, TLS features.
const TLS_FEATURES: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x18];
/// The feature `status_request` (RFC 6066 §8).
const STATUS_REQUEST: &[u8] = &[5];

/// Reads a certificate as DER; `None` for what is none.
#[must_use]
pub fn read(der: &[u8]) -> Option<Facts> {
    let certificate = Elements(der).expect(SEQUENCE)?;
    let mut fields = Elements(Elements(certificate).expect(SEQUENCE)?);
    let (tag, first) = fields.next()?;
    let serial = match tag {
        CONTEXT_0 => fields.expect(INTEGER)?,
        INTEGER => first,
        _ => return None,
    };
    let _signature = fields.expect(SEQUENCE)?;
    let _issuer = fields.expect(SEQUENCE)?;
    let mut validity = Elements(fields.expect(SEQUENCE)?);
    let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
    let extensions = fields.find(|(tag, _)| *tag == EXTENSIONS);
    let extensions = extensions.map_or(&[][..], |(_, extensions)| extensions);
    Some(Facts {
        serial: serial.to_vec(),
        not_before,
        not_after,
        names: alternative_names(extensions).unwrap_or_default(),
        must_staple: must_staple(extensions).unwrap_or(false),
    })
}

/// The value of the extension with this identifier.
fn extension<'e>(extensions: &'e [u8], id: &[u8]) -> Option<&'e [u8]> {
    let mut list = Elements(Elements(extensions).expect(SEQUENCE)?);
    list.find_map(|(_, extension)| {
        let mut parts = Elements(extension);
        if parts.expect(OBJECT_ID)? != id {
            return None;
        }
        // `critical` may stand between the two.
        let (_, value) = parts.find(|(tag, _)| *tag == OCTET_STRING)?;
        Some(value)
    })
}

fn must_staple(extensions: &[u8]) -> Option<bool> {
    let features = Elements(extension(extensions, TLS_FEATURES)?).expect(SEQUENCE)?;
    Some(Elements(features).any(|feature| feature == (INTEGER, STATUS_REQUEST)))
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<(&'static str, String)>> {
    let value = extension(extensions, SUBJECT_ALT_NAME)?;
    let names = Elements(Elements(value).expect(SEQUENCE)?);
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
#[must_use]
pub fn subject_text(names: &[u8]) -> String {
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
        // A sequence of one number: status_request.
        let features = rcgen::CustomExtension::from_oid_content(
            &[1, 3, 6, 1, 5, 5, 7, 1, 24],
            vec![0x30, 3, 2, 1, 5],
        );
        parameters.custom_extensions = vec![features];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let facts = read(certificate.der()).unwrap();
        assert_eq!(facts.serial_text(), "1234");
        assert_eq!(
            facts,
            Facts {
                serial: vec![0x12, 0x34],
                not_before: 1_709_164_800,
                not_after: 2_871_763_200,
                names: vec![
                    ("dns", "a.example.com".to_owned()),
                    ("ip_address", "10.1.2.3".to_owned()),
                    ("uri", "spiffe://x/y".to_owned()),
                ],
                must_staple: true,
            }
        );
        // Cut off anywhere, it is refused, not misread.
        let der = certificate.der();
        assert!((0..der.len()).all(|end| read(&der[..end]).is_none()));
    }
}

//! What a verified client certificate says about the client: its identity for policies and logs,
//! and the element by which upstreams are told (`x-forwarded-client-cert`).

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::certificate::subject_text;

/// Bytes of one line of PEM (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// A client that showed a certificate which was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its SPIFFE identity, if the certificate has exactly one (SPIFFE X.509-SVID §2).
    pub identity: Option<Box<str>>,
    /// All URIs, with commas between them; empty for none.
    pub uris: Box<str>,
    /// Subject, as RFC 2253 writes it.
    pub subject: Box<str>,
    /// The element of `x-forwarded-client-cert`, as Envoy writes it on a gateway of Istio.
    pub forwarded: Box<[u8]>,
}

impl Peer {
    /// Reads a leaf that was verified; `own` are the URIs of the certificate that we showed.
    #[must_use]
    pub fn read(leaf: &CertificateDer<'_>, own: &[String]) -> Option<Self> {
        let certificate = EndEntityCert::try_from(leaf).ok()?;
        let uris: Vec<&str> = certificate.valid_uri_names().collect();
        let names: Vec<&str> = certificate.valid_dns_names().collect();
        let subject = subject_text(certificate.subject());
        let identity = match uris.as_slice() {
            [only] if only.starts_with("spiffe://") => Some(Box::from(*only)),
            _ => None,
        };
        let mut element = String::new();
        for uri in own {
            let _ = write!(element, "By={};", quoted(uri));
        }
        let _ = write!(element, "Hash={};", hash(leaf));
        let _ = write!(element, "Cert=\"{}\";Subject=\"{subject}\"", pem(leaf));
        match uris.as_slice() {
            [] => element.push_str(";URI="),
            uris => uris.iter().for_each(|uri| {
                let _ = write!(element, ";URI={}", quoted(uri));
            }),
        }
        for name in names {
            let _ = write!(element, ";DNS={}", quoted(name));
        }
        Some(Self {
            identity,
            uris: uris.join(",").into(),
            subject: subject.into(),
            forwarded: element.into_bytes().into(),
        })
    }
}

/// Its SHA-256 in hexadecimal.
fn hash(der: &[u8]) -> String {
    let digest = digest(&SHA256, der);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// URIs of a certificate.
#[must_use]
pub fn own_uris(leaf: &CertificateDer<'_>) -> Vec<String> {
    let certificate = EndEntityCert::try_from(leaf);
    certificate.map_or_else(
        |_| Vec::new(),
        |own| own.valid_uri_names().map(str::to_owned).collect(),
    )
}

/// A value of an element: in quotes when it has a separator in it, and never able to end the field.
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            c if c.is_ascii_graphic() => text.push(c),
            c => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "%{byte:02X}");
                }
            }
        }
    }
    if text.contains([',', ';', '=', '"']) {
        return format!("\"{text}\"");
    }
    text
}

/// A certificate as PEM, percent-encoded as Envoy does.
fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    let base64 = base64(der);
    for line in base64.as_bytes().chunks(PEM_LINE) {
        for byte in line {
            match byte {
                b'+' => text.push_str("%2B"),
                b'/' => text.push_str("%2F"),
                b'=' => text.push_str("%3D"),
                byte => text.push(char::from(*byte)),
            }
        }
        text.push_str("%0A");
    }
    text.push_str("-----END%20CERTIFICATE-----%0A");
    text
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .zip([16, 8, 0])
            .fold(0_u32, |bits, (byte, shift)| {
                bits | u32::from(*byte) << shift
            });
        for (position, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from(bits >> shift & 63).ok();
            let digit = digit.and_then(|digit| DIGITS.get(digit));
            let there = position <= three.len();
            text.push(if there {
                digit.copied().map_or('=', char::from)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_the_examples_of_its_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ];
        for (text, want) in cases {
            assert_eq!(base64(text.as_bytes()), want);
        }
    }

    #[test]
    fn a_client_is_told_of_as_envoy_does() {
        let mut parameters = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        let uri = "spiffe://td/ns/a/sa/b".try_into().unwrap();
        parameters.subject_alt_names.push(rcgen::SanType::URI(uri));
        let names = &mut parameters.distinguished_name;
        *names = rcgen::DistinguishedName::new();
        names.push(rcgen::DnType::OrganizationName, "Shop, \"Inc\"");
        names.push(rcgen::DnType::CommonName, "a b");
        let key = rcgen::KeyPair::generate().unwrap();
        let made = parameters.self_signed(&key).unwrap();
        let own = ["spiffe://td/ns/istio-system/sa/gateway".to_owned()];
        let peer = Peer::read(made.der(), &own).unwrap();
        assert_eq!(peer.identity.as_deref(), Some("spiffe://td/ns/a/sa/b"));
        assert_eq!(&*peer.subject, "CN=a b,O=Shop\\, \\\"Inc\\\"");
        let text = String::from_utf8(peer.forwarded.to_vec()).unwrap();
        let hash = hash(made.der());
        let pem = made.pem().replace("\r\n", "\n");
        let encoded = pem.replace('\n', "%0A").replace(' ', "%20");
        let encoded = encoded
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        assert_eq!(
            text,
            format!(
                "By=spiffe://td/ns/istio-system/sa/gateway;Hash={hash};Cert=\"{encoded}\";\
                 Subject=\"CN=a b,O=Shop\\, \\\"Inc\\\"\";URI=spiffe://td/ns/a/sa/b;DNS=a.example"
            )
        );
    }

    #[test]
    fn a_name_cannot_leave_its_place() {
        assert_eq!(quoted("spiffe://td/a"), "spiffe://td/a");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a\";By=x"), "\"a\\\";By=x\"");
        assert_eq!(quoted("a\r\nb\u{e9}"), "a%0D%0Ab%C3%A9");
    }
}

//! Certificates, and what is said about them, of any bytes.

use rustls_pki_types::CertificateDer;

use super::check;
use crate::peer::{Peer, own_uris};
use crate::{certificate, ocsp};

/// What an element of `x-forwarded-client-cert` may tell.
const KEYS: [&str; 6] = ["By", "Hash", "Cert", "Subject", "URI", "DNS"];

/// Certificates of clients: whatever their names say, upstreams are told of one client, in one line,
/// and an identity is the only one that there is. OCSP responses: only what is about a serial number
/// is good for it.
pub fn fuzz_certificate(data: &[u8]) {
    drop(certificate::subject_text(data));
    if let Ok(validity) = ocsp::read(data, &[0x12, 0x34]) {
        let other = ocsp::read(data, &[0x12, 0x34, 0x56]);
        check(other != Ok(validity), "a response about every certificate");
    }
    let leaf = CertificateDer::from(data);
    let Some(peer) = Peer::read(&leaf, &[]) else {
        return;
    };
    let uris = own_uris(&leaf);
    if let Some(identity) = &peer.identity {
        let only = matches!(&*uris, [only] if **only == **identity);
        check(only, "an identity beside others");
        check(
            identity.starts_with("spiffe://"),
            "an identity that is none",
        );
    }
    let plain = |byte: &u8| (b' '..=b'~').contains(byte);
    check(peer.forwarded.iter().all(plain), "a field that ends early");
    let keys = keys(&peer.forwarded);
    let known = keys.iter().all(|key| KEYS.contains(&key.as_str()));
    check(known, "a name that left its place");
    let count = |wanted: &str| keys.iter().filter(|key| *key == wanted).count();
    check(count("By") == 0 && count("Hash") == 1, "a forged element");
    check(count("URI") == uris.len().max(1), "a URI that is none");
    if let Some(facts) = certificate::read(data) {
        let read = |uri: &String| facts.names.contains(&("uri", uri.clone()));
        check(uris.iter().all(read), "two readers of one certificate");
    }
}

/// The keys of an element, as whoever reads it finds them: between separators outside of quotes.
fn keys(element: &[u8]) -> Vec<String> {
    let (mut keys, mut key) = (Vec::new(), String::new());
    let (mut quoted, mut escaped, mut in_key) = (false, false, true);
    for byte in element {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'=' if in_key => {
                keys.push(std::mem::take(&mut key));
                in_key = false;
            }
            b';' | b',' if !quoted => in_key = true,
            byte if in_key => key.push(char::from(*byte)),
            _ => {}
        }
    }
    check(!quoted, "a quote that does not end");
    keys
}

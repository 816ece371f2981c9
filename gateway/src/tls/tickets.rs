//! Session tickets: sealed with keys of the whole process, so that a session can be resumed on any
//! worker and after a reload, and bound to the server and its rules about clients, so that it cannot
//! be resumed anywhere else or under other rules (CVE-2022-21654).

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;
use sallyport_config::ir::ServerTls;
use sha2::{Digest, Sha256};

/// The keys change by themselves every few hours; those before are still known then.
static TICKETER: OnceLock<Option<Arc<dyn ProducesTickets>>> = OnceLock::new();

/// What a ticket is bound to.
pub(super) type Seal = [u8; 32];

/// The seal of a server: of its name, its rules, and the authorities and revocation lists that it
/// has at present. A certificate of its own may change without ending sessions.
pub(super) fn seal(server: &str, tls: &ServerTls) -> Seal {
    let mut hasher = Sha(Sha256::new());
    server.hash(&mut hasher);
    let ServerTls {
        mode,
        certificates: _,
        client_ca,
        client_crl,
        subject_alt_names,
        pins,
        min_version,
        max_version,
        cipher_suites,
        alpn,
    } = tls;
    (mode, client_ca, client_crl, subject_alt_names, pins).hash(&mut hasher);
    (min_version, max_version, cipher_suites, alpn).hash(&mut hasher);
    hasher.0.finalize().into()
}

/// The seal of what QUIC serves on all listeners: it asks nobody for a certificate, and a session
/// knows the server name that it is for.
pub(super) fn seal_of_quic() -> Seal {
    Sha256::digest(b"HTTP/3").into()
}

/// Takes what types say of themselves, and does not shorten it.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not what it is for.
    fn finish(&self) -> u64 {
        0
    }
}

/// Tickets of one server; `None` where the system gives no randomness for keys.
pub(super) fn bound(seal: Seal) -> Option<Arc<dyn ProducesTickets>> {
    let ticketer = TICKETER.get_or_init(|| aws_lc_rs::Ticketer::new().ok());
    let keys = Arc::clone(ticketer.as_ref()?);
    Some(Arc::new(Bound { keys, seal }))
}

#[derive(Debug)]
struct Bound {
    keys: Arc<dyn ProducesTickets>,
    seal: Seal,
}

impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        self.keys.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.encrypt(&[&self.seal, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let text = self.keys.decrypt(cipher)?;
        text.strip_prefix(&self.seal).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_config::ir::{Bundle, CertificateId, ServerTlsMode, TlsVersion};

    fn mutual() -> ServerTls {
        ServerTls {
            mode: ServerTlsMode::Mutual,
            certificates: vec![CertificateId(0)],
            client_ca: Some(Bundle::Inline(b"ca".as_slice().into())),
            client_crl: None,
            pins: Vec::new(),
            subject_alt_names: Vec::new(),
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            cipher_suites: Vec::new(),
            alpn: Vec::new(),
        }
    }

    #[test]
    fn a_ticket_opens_where_it_was_sealed_and_nowhere_else() {
        let here = bound(seal("a", &mutual())).unwrap();
        let ticket = here.encrypt(b"session").unwrap();
        assert_eq!(
            here.decrypt(&ticket).as_deref(),
            Some(b"session".as_slice())
        );
        let renewed = ServerTls {
            certificates: vec![CertificateId(7)],
            ..mutual()
        };
        assert!(
            bound(seal("a", &renewed))
                .unwrap()
                .decrypt(&ticket)
                .is_some()
        );
        let text = |text: &[u8]| Some(Bundle::Inline(text.into()));
        let changes: [&dyn Fn(&mut ServerTls); 6] = [
            &|tls| tls.mode = ServerTlsMode::OptionalMutual,
            &|tls| tls.client_ca = text(b"other ca"),
            &|tls| tls.client_crl = text(b"crl"),
            &|tls| tls.subject_alt_names.push("a".to_owned()),
            &|tls| tls.min_version = TlsVersion::V1_3,
            &|tls| tls.alpn.push("h2".to_owned()),
        ];
        for change in changes {
            let mut other = mutual();
            change(&mut other);
            let there = bound(seal("a", &other)).unwrap();
            assert_eq!(there.decrypt(&ticket), None, "{other:?}");
        }
        assert_eq!(bound(seal("b", &mutual())).unwrap().decrypt(&ticket), None);
    }
}

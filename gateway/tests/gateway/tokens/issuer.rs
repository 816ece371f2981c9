//! An issuer of tokens: an HTTPS server that says what a test wants, and keys that sign.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, SignatureScheme, StreamOwned};

use crate::child::DEADLINE;
use crate::golden::token::base64url;

/// A running issuer, which is `issuer.test` to its certificate.
pub(super) struct Issuer {
    pub(super) address: SocketAddr,
    /// Authority of its certificate, PEM.
    pub(super) ca: String,
    answers: Arc<Mutex<BTreeMap<String, String>>>,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Issuer {
    pub(super) fn start() -> Self {
        let certified = rcgen::generate_simple_self_signed(["issuer.test".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], PrivateKeyDer::from(key))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = Self {
            address: listener.local_addr().unwrap(),
            ca: certified.cert.pem(),
            answers: Arc::default(),
            asked: Arc::default(),
            connections: Arc::default(),
        };
        let (answers, asked) = (Arc::clone(&issuer.answers), Arc::clone(&issuer.asked));
        let (connections, config) = (Arc::clone(&issuer.connections), Arc::new(config));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                thread::spawn(move || answer(StreamOwned::new(tls, stream), &answers, &asked));
            }
        });
        issuer
    }

    pub(super) fn url(&self) -> String {
        format!("https://issuer.test:{}", self.address.port())
    }

    /// From now on, requests for a path get these bytes; none at all leave them waiting.
    pub(super) fn say(&self, path: &str, answer: &str) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(path.to_owned(), answer.to_owned());
    }

    /// As [`Self::say`], with status 200.
    pub(super) fn body(&self, path: &str, body: &str) {
        let length = body.len();
        self.say(
            path,
            &format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"),
        );
    }

    /// Publishes these keys.
    pub(super) fn keys(&self, path: &str, keys: &[&Key]) {
        let keys: Vec<&str> = keys.iter().map(|key| key.public.as_str()).collect();
        self.body(path, &format!("{{\"keys\":[{}]}}", keys.join(",")));
    }

    /// How often a path was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| *asked == path).count()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn answer(
    stream: StreamOwned<ServerConnection, TcpStream>,
    answers: &Mutex<BTreeMap<String, String>>,
    asked: &Mutex<Vec<String>>,
) {
    stream.sock.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !matches!(stream.read_line(&mut head), Ok(1..)) {
            return;
        }
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    asked.lock().unwrap().push(path.clone());
    let answer = answers.lock().unwrap().get(&path).cloned();
    match answer.unwrap_or_default() {
        answer if answer.is_empty() => thread::sleep(DEADLINE / 4 + Duration::from_secs(1)),
        answer => {
            // Whoever has read enough is gone.
            let _ = stream.get_mut().write_all(answer.as_bytes());
            let _ = stream.get_mut().flush();
        }
    }
}

/// A key of an issuer.
pub(super) struct Key {
    id: String,
    private: Vec<u8>,
    /// As JSON Web Key.
    public: String,
}

impl Key {
    pub(super) fn new(id: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = base64url(rcgen::PublicKeyData::der_bytes(&pair));
        Self {
            id: id.to_owned(),
            private: pair.serialize_der(),
            public: format!(
                "{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"{id}\",\"x\":\"{x}\"}}"
            ),
        }
    }

    /// A token without expiry, signed with this key.
    pub(super) fn token(&self, issuer: &str) -> String {
        let header = format!("{{\"alg\":\"EdDSA\",\"kid\":\"{}\"}}", self.id);
        let payload = format!("{{\"iss\":\"{issuer}\"}}");
        let signed = [header, payload]
            .map(|part| base64url(part.as_bytes()))
            .join(".");
        let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(self.private.as_slice()));
        let signer = key
            .unwrap()
            .choose_scheme(&[SignatureScheme::ED25519])
            .unwrap();
        let signature = signer.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64url(&signature))
    }
}

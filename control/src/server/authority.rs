//! The keys of the running server: the authority as its files are now, the key of join tokens, and
//! the server's own certificate, renewed long before it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::server::WebPkiClientVerifier;
use tokio::sync::watch;
use tokio::time::Instant;

use super::StartError;
use super::args::Options;
use super::metrics::Counter;
use crate::ca::{Authority, CaError};
use crate::identity::Identity;
use crate::log;
use crate::token::TokenKey;

/// How long the server's certificate is good; it is renewed at half of that.
const SERVER_TTL: Duration = Duration::from_secs(24 * 3_600);
/// Names by which Istio's clients know the server, beside those of this host.
const NAMES: [&str; 6] = [
    "istiod.istio-system.svc",
    "istiod.istio-system.svc.cluster.local",
    "istio-pilot.istio-system.svc",
    "localhost",
    "127.0.0.1",
    "::1",
];

/// All of it.
pub(super) struct Keys {
    /// What verifies join tokens.
    pub(super) tokens: TokenKey,
    directory: PathBuf,
    trust_domain: String,
    names: Vec<String>,
    current: watch::Sender<Current>,
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    /// How often the files were taken anew.
    reloads: Counter,
}

#[derive(Clone)]
struct Current {
    authority: Arc<Authority>,
    /// When the files were last changed.
    stamp: Vec<Option<SystemTime>>,
    renew: Instant,
}

impl Keys {
    /// Reads the keys, or makes them.
    pub(super) fn open(options: &Options) -> Result<Self, StartError> {
        let directory = &options.ca_dir;
        let failed = |error: CaError| StartError::new("use the CA", error);
        let authority = Authority::open(directory, &options.trust_domain).map_err(failed)?;
        let tokens = TokenKey::open(directory);
        let tokens = tokens.map_err(|error| StartError::new("use the token key", error))?;
        let mut names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        names.extend(options.tls_name.iter().cloned());
        let tls = tls(&authority, &options.trust_domain, &names).map_err(failed)?;
        let current = Current {
            authority: Arc::new(authority),
            stamp: stamp(directory),
            renew: Instant::now() + SERVER_TTL / 2,
        };
        Ok(Self {
            tokens,
            directory: directory.clone(),
            trust_domain: options.trust_domain.clone(),
            names,
            current: watch::Sender::new(current),
            tls: watch::Sender::new(tls),
            reloads: Counter::default(),
        })
    }

    /// The authority as it is now.
    pub(super) fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.current.borrow().authority)
    }

    /// How often the files were taken anew.
    pub(super) fn reloads(&self) -> u64 {
        self.reloads.get()
    }

    /// The server's side of TLS.
    pub(super) fn tls(&self) -> watch::Receiver<Arc<rustls::ServerConfig>> {
        self.tls.subscribe()
    }

    /// Reads the files again if they changed, and renews the server's certificate when it is time.
    /// Files that do not fit together are reported, and what was in force stays.
    pub(super) fn refresh(&self) {
        let stamp = stamp(&self.directory);
        let (changed, due) = {
            let current = self.current.borrow();
            (current.stamp != stamp, current.renew <= Instant::now())
        };
        if !changed && !due {
            return;
        }
        let authority = match changed {
            true => Authority::open(&self.directory, &self.trust_domain).map(Arc::new),
            false => Ok(self.authority()),
        };
        let made = authority.and_then(|authority| {
            let tls = tls(&authority, &self.trust_domain, &self.names)?;
            Ok((authority, tls))
        });
        let renew = Instant::now() + SERVER_TTL / 2;
        match made {
            Ok((authority, tls)) => {
                log::info("ca", "keys are renewed");
                self.reloads.add(u64::from(changed));
                self.tls.send_replace(tls);
                self.current.send_replace(Current {
                    authority,
                    stamp,
                    renew,
                });
            }
            Err(error) => {
                log::error("ca", format_args!("{error}; the old keys stay in force"));
                // not again for the same files
                self.current.send_modify(|current| current.stamp = stamp);
            }
        }
    }
}

fn stamp(directory: &std::path::Path) -> Vec<Option<SystemTime>> {
    let names = [
        "ca-cert.pem",
        "ca-key.pem",
        "cert-chain.pem",
        "root-cert.pem",
    ];
    let changed = |name| {
        std::fs::metadata(directory.join(name))
            .ok()?
            .modified()
            .ok()
    };
    names.map(changed).into()
}

/// TLS of the encrypted port: our certificate, and callers' verified if they show one.
fn tls(
    authority: &Authority,
    trust_domain: &str,
    names: &[String],
) -> Result<Arc<rustls::ServerConfig>, CaError> {
    let identity = Identity::new(trust_domain, "istio-system", "istiod");
    let identity = identity.map_err(|error| CaError::from(error.to_string()))?;
    let (chain, key) = authority.server(&identity, names, SERVER_TTL)?;
    let verifier = WebPkiClientVerifier::builder(Arc::clone(authority.store()))
        .allow_unauthenticated()
        .build();
    let verifier = verifier.map_err(|error| CaError::from(error.to_string()))?;
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key);
    let mut config = config.map_err(|error| CaError::from(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

//! Certificates and authorities in files of the host. A DestinationRule or Gateway names the file,
//! and Envoy asks for it by the names that Istio's agents know: `file-root:PATH`, with `system` for
//! what the host itself trusts, and `file-cert:CHAIN~KEY`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::{Instant, sleep_until};

use super::sds;
use crate::resources::{Resource, Resources, TypeUrl};
use crate::session::Ask;
use crate::{log, private};

/// Files are read again in this interval, which is how a changed one is found.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Names of one stream: Envoy opens a stream for each.
const NAMES_MAX: usize = 64;
/// Where hosts keep what they trust: Debian and Alpine, Fedora, OpenSUSE, OpenSSL.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The files that one stream asks for.
#[derive(Default)]
pub(super) struct Files {
    /// What was read last, and why it could not be read.
    known: BTreeMap<String, Result<Arc<Resource>, String>>,
    next: Option<Instant>,
}

impl Files {
    /// Takes in what a request asks for; whether that is new.
    pub(super) fn want(&mut self, ask: &Ask) -> bool {
        let (names, gone) = match ask {
            Ask::Names(names) => {
                self.known.retain(|name, _| names.contains(name));
                (names, &[][..])
            }
            Ask::Change {
                subscribe,
                unsubscribe,
                ..
            } => (subscribe, unsubscribe.as_slice()),
        };
        self.known.retain(|name, _| !gone.contains(name));
        let mut grown = false;
        for name in names {
            let new = is_file(name) && !self.known.contains_key(name);
            if new && self.known.len() < NAMES_MAX {
                self.known.insert(name.clone(), read(name).map(Arc::new));
                self.complain(name);
                grown = true;
            }
        }
        if !self.known.is_empty() && self.next.is_none() {
            self.next = Some(Instant::now() + LOOK_EVERY);
        }
        grown
    }

    /// Waits until the files are to be read again. May be cancelled.
    pub(super) async fn due(&self) {
        match self.next {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Reads them again; whether one has changed. One that cannot be read any more stays as it was.
    pub(super) fn look(&mut self) -> bool {
        self.next = (!self.known.is_empty()).then(|| Instant::now() + LOOK_EVERY);
        let mut changed = Vec::new();
        for (name, known) in &mut self.known {
            let now = read(name);
            let differs = match (&now, &*known) {
                (Ok(now), Ok(known)) => now.version != known.version,
                (Ok(_), Err(_)) => true,
                (Err(_), _) => false,
            };
            if differs {
                *known = now.map(Arc::new);
                changed.push(name.clone());
            }
        }
        for name in &changed {
            log::info("agent", format_args!("{name} is read anew"));
        }
        !changed.is_empty()
    }

    /// The agent's own secrets, and those of files.
    pub(super) fn beside(&self, own: &Arc<Resources>) -> Arc<Resources> {
        if self.known.is_empty() {
            return Arc::clone(own);
        }
        let mut all = Resources::clone(own);
        for resource in self.known.values().flatten() {
            all.insert_shared(TypeUrl::Secret, Arc::clone(resource));
        }
        Arc::new(all)
    }

    fn complain(&self, name: &str) {
        if let Some(Err(why)) = self.known.get(name) {
            let what = "nothing goes where it is needed until it is there";
            log::warn("agent", format_args!("{name}: {why}; {what}"));
        }
    }
}

fn is_file(name: &str) -> bool {
    name.starts_with("file-root:") || name.starts_with("file-cert:")
}

/// The secret of a name. What is no certificate is nothing to give to Envoy.
fn read(name: &str) -> Result<Resource, String> {
    if let Some(path) = name.strip_prefix("file-root:") {
        let text = match path {
            "system" => system()?,
            path => text(path)?,
        };
        return Ok(sds::roots(name, &text));
    }
    let paths = name
        .strip_prefix("file-cert:")
        .and_then(|n| n.split_once('~'));
    let (chain, key) = paths.ok_or("it names no chain and key")?;
    let (chain, key) = (text(chain)?, plain(key)?);
    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "there is no key in it")?;
    Ok(sds::pair(name, &chain, &key))
}

fn system() -> Result<String, String> {
    let mut found = SYSTEM.iter().filter_map(|path| text(path).ok());
    found
        .next()
        .ok_or_else(|| "this host keeps no authorities that it trusts".to_owned())
}

/// A file with certificates.
fn text(path: &str) -> Result<String, String> {
    let text = plain(path)?;
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|_| format!("there is no certificate in {path}"))?;
    Ok(text)
}

fn plain(path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {path}: {error}");
    let path = Path::new(path);
    // a pipe would be waited for
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    private::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(names: &[&str]) -> Ask {
        Ask::Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_file_is_given_once_it_is_a_certificate_and_stays_when_it_is_none() {
        let dir = std::env::temp_dir().join(format!("sallyport-files-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("root.pem");
        let name = format!("file-root:{}", path.display());
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = |name: &str| {
            let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
            params.self_signed(&key).unwrap().pem()
        };
        let mut files = Files::default();
        let own = Arc::new(Resources::default());
        let given = |files: &Files| {
            let all = files.beside(&own);
            all.get(TypeUrl::Secret, &name).map(|r| r.version)
        };
        assert!(files.want(&ask(&[&name, "default", "file-cert:/a", "file-root:/proc"])));
        assert_eq!(given(&files), None, "there is none yet");
        fs::write(&path, "nonsense").unwrap();
        assert!(!files.look());
        fs::write(&path, pem("one")).unwrap();
        assert!(files.look());
        let first = given(&files).unwrap();
        fs::write(&path, pem("two")).unwrap();
        assert!(files.look() && !files.look());
        assert_ne!(given(&files), Some(first));
        fs::remove_file(&path).unwrap();
        assert!(!files.look());
        assert!(given(&files).is_some(), "what was good stays");
        assert!(!files.want(&ask(&["default"])));
        assert_eq!(given(&files), None, "nobody asks for it any more");
        fs::remove_dir_all(&dir).unwrap();
    }
}

//! Key pairs in files: the `--credentials` directory, the workload's identity, and paths that
//! Gateways and DestinationRules name.
//!
//! A rotation writes two files, one after the other. A pair that does not fit together is therefore
//! never used while an earlier one is known: the last good pair stays until the new one is whole.
//! An OCSP response may lie beside: `tls.ocsp-staple` in a directory, `CHAIN.ocsp` beside a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sallyport_config::ir::{CertificateSource, Secret, Snapshot};
use sallyport_core::ocsp::STAPLE_BYTES_MAX;
use sallyport_identity::Held;

use super::Problem;
use super::bundles::Bundles;
use super::files::{read_bounded, watch_path};
use crate::certificate;

/// Members of an identity directory, as Istio's agent writes them.
const IDENTITY_CHAIN: &str = "cert-chain.pem";
const IDENTITY_KEY: &str = "key.pem";
/// What to say of a certificate that nobody gave.
pub(super) const NO_IDENTITY: &str =
    "this workload has no identity: start the gateway with --identity DIR or --control https://…";
/// Credentials that are read; each has a directory.
const CREDENTIALS_MAX: usize = 10_000;
/// Permission bits of everybody else.
const OTHERS_READ: u32 = 0o004;
/// Member of a credential with what its authority says about it, as in a Secret.
pub(super) const STAPLE: &str = "tls.ocsp-staple";
/// What is appended to the name of a chain's file for the same.
const STAPLE_SUFFIX: &str = ".ocsp";

/// One credential: what a Kubernetes Secret of type `tls` holds, as text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// Name of its directory: `credentialName`.
    pub(crate) name: String,
    /// The directory.
    pub(crate) directory: PathBuf,
    /// Name of the member and its text: `tls.crt`, `tls.key`, `ca.crt`.
    pub(crate) members: Vec<(String, String)>,
    /// What its authority says about it: an OCSP response as DER.
    pub(crate) staple: Option<Vec<u8>>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("Credential");
        text.field("name", &self.name).finish_non_exhaustive()
    }
}

impl Credential {
    fn member(&self, name: &str) -> Option<&str> {
        let mut members = self.members.iter();
        members
            .find(|(n, _)| n == name)
            .map(|(_, text)| text.as_str())
    }
}

/// What a reading of key pairs found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Credentials by name.
    pub(crate) credentials: Vec<Credential>,
    /// What could not be read, and keys that others can read.
    pub(crate) problems: Vec<Problem>,
    /// Certificates of the snapshot that cannot be used, by index, and why.
    pub(crate) unusable: Vec<(usize, String)>,
    /// Directories to watch.
    pub(crate) directories: BTreeSet<PathBuf>,
}

/// Where the workload's certificate comes from.
#[derive(Debug, Default)]
pub(super) enum Identity {
    /// It has none.
    #[default]
    None,
    /// Files in a directory.
    Directory(PathBuf),
    /// The control process; only memory holds the key.
    Held {
        /// Key and certificate.
        pair: CertificateSource,
        /// Roots of the mesh.
        roots: Arc<[u8]>,
    },
}

/// Reads key pairs and remembers the last good one of each place.
#[derive(Debug, Default)]
pub(crate) struct KeyPairs {
    identity: Identity,
    bundles: Bundles,
    credentials: BTreeMap<PathBuf, Credential>,
    pairs: BTreeMap<(String, String), Good>,
}

/// What was whole, and what came with it.
#[derive(Debug, Clone)]
struct Good {
    source: CertificateSource,
    staple: Option<Arc<[u8]>>,
}

impl KeyPairs {
    /// With the directory of the workload's identity, if it has one.
    pub(crate) fn new(identity: Option<PathBuf>) -> Self {
        Self {
            identity: identity.map_or(Identity::None, Identity::Directory),
            ..Self::default()
        }
    }

    /// Takes a certificate of the workload in place of the one before.
    pub(crate) fn identify(&mut self, held: &Held) {
        let bytes = |text: &str| Arc::from(text.as_bytes());
        self.identity = Identity::Held {
            pair: CertificateSource::Inline {
                chain: bytes(&held.chain),
                key: Secret(bytes(&held.key)),
            },
            roots: bytes(&held.roots),
        };
    }

    /// Reads `directory/<credentialName>/{tls.crt,tls.key,ca.crt,tls.ocsp-staple}`. Hidden names are left out.
    pub(crate) fn read_directory(&mut self, directory: &Path) -> Found {
        let mut found = Found::default();
        watch_path(&mut found.directories, directory);
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                found.problems.push(Problem::error(directory, error));
                found.credentials = self.credentials.values().cloned().collect();
                return found;
            }
        };
        let entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
        paths.sort();
        if let Some(path) = paths.get(CREDENTIALS_MAX) {
            let message = format!("only {CREDENTIALS_MAX} credentials are read");
            found.problems.push(Problem::error(path, message));
            paths.truncate(CREDENTIALS_MAX);
        }
        let before = std::mem::take(&mut self.credentials);
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| !name.starts_with('.')) else {
                continue;
            };
            watch_path(&mut found.directories, &path);
            let mut credential = read_credential(name, &path, &mut found);
            let known = before.get(&path);
            let fits = fits(&credential)
                .and_then(|()| in_date(member(&credential), known.and_then(member)));
            if let Err(error) = fits {
                let message = match known {
                    Some(good) => {
                        credential = good.clone();
                        format!("{error}; the last good pair stays")
                    }
                    None => error,
                };
                found.problems.push(Problem::error(&path, message));
            }
            self.credentials.insert(path, credential.clone());
            found.credentials.push(credential);
        }
        found
    }

    /// Puts the content of certificate files into a snapshot in place of their paths, so that a
    /// change of content is a change of the snapshot, and looks whether each certificate has its
    /// key, be it from files or a Secret. In place of a pair that is not whole the last good one
    /// stays; without one it is `Missing`: its handshakes are refused, all else is served. The same
    /// goes for authorities and revocation lists.
    pub(crate) fn read_into(&mut self, snapshot: &mut Snapshot) -> Found {
        let mut found = Found::default();
        self.bundles.read_into(snapshot, &self.identity, &mut found);
        let mut now = BTreeMap::new();
        for (index, certificate) in snapshot.certificates.iter_mut().enumerate() {
            if certificate.source == CertificateSource::Workload {
                certificate.source = self.workload();
                if certificate.source == CertificateSource::Missing {
                    found.unusable.push((index, NO_IDENTITY.to_owned()));
                }
            }
            let place = match &certificate.source {
                CertificateSource::Files { chain, key } => (chain.clone(), key.clone()),
                CertificateSource::Inline { .. } => (certificate.name.clone(), String::new()),
                CertificateSource::Workload | CertificateSource::Missing => continue,
            };
            if let CertificateSource::Files { chain, .. } = &certificate.source {
                let file = PathBuf::from(format!("{chain}{STAPLE_SUFFIX}"));
                certificate.staple = read_staple(&file, &mut found).map(Arc::from);
            }
            let good = self.pairs.get(&place);
            let known = good.map(|good| &good.source);
            let source = self.usable(&certificate.source, known, &mut found);
            let source = source.and_then(|source| {
                in_date(chain_of(&source), known.and_then(chain_of)).map(|()| source)
            });
            certificate.source = source.unwrap_or_else(|mut reason| {
                if let Some(good) = good {
                    reason.push_str("; the last good pair stays");
                    certificate.staple.clone_from(&good.staple);
                }
                found.unusable.push((index, reason));
                known.cloned().unwrap_or(CertificateSource::Missing)
            });
            let good = Good {
                source: certificate.source.clone(),
                staple: certificate.staple.clone(),
            };
            now.insert(place, good);
        }
        self.pairs = now;
        found
    }

    /// Where the workload's own certificate is.
    fn workload(&self) -> CertificateSource {
        let directory = match &self.identity {
            Identity::None => return CertificateSource::Missing,
            Identity::Held { pair, .. } => return pair.clone(),
            Identity::Directory(directory) => directory,
        };
        let path = |name| directory.join(name).display().to_string();
        CertificateSource::Files {
            chain: path(IDENTITY_CHAIN),
            key: path(IDENTITY_KEY),
        }
    }

    /// The content of a certificate and its key, if they are whole.
    fn usable(
        &self,
        source: &CertificateSource,
        good: Option<&CertificateSource>,
        found: &mut Found,
    ) -> Result<CertificateSource, String> {
        match source {
            CertificateSource::Files { chain, key } => {
                let (chain, key) = (Path::new(chain), Path::new(key));
                watch_path(&mut found.directories, chain);
                watch_path(&mut found.directories, key);
                found.problems.extend(exposed(key));
                read_pair(chain, key)
            }
            // Looked at before: thousands of Secrets cost nothing while they stay.
            source if good == Some(source) => Ok(source.clone()),
            CertificateSource::Inline { chain, key } => {
                let text = |bytes| str::from_utf8(bytes).unwrap_or_default();
                pair_fits(text(chain), text(&key.0)).map(|()| source.clone())
            }
            CertificateSource::Workload | CertificateSource::Missing => {
                Ok(CertificateSource::Missing)
            }
        }
    }
}

fn read_credential(name: &str, path: &Path, found: &mut Found) -> Credential {
    let mut members = Vec::new();
    for member in ["tls.crt", "tls.key", "ca.crt"] {
        let file = path.join(member);
        match read_bounded(&file) {
            Ok(text) => members.push((member.to_owned(), text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => found.problems.push(Problem::error(&file, error)),
        }
    }
    found.problems.extend(exposed(&path.join("tls.key")));
    Credential {
        name: name.to_owned(),
        directory: path.to_owned(),
        members,
        staple: read_staple(&path.join(STAPLE), found),
    }
}

/// An OCSP response, if there is one. What it says is looked at where it is used.
fn read_staple(path: &Path, found: &mut Found) -> Option<Vec<u8>> {
    let read = fs::File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        // A larger one is refused for its size.
        file.take(STAPLE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match read {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            found.problems.push(Problem::error(path, error));
            None
        }
    }
}

fn read_pair(chain: &Path, key: &Path) -> Result<CertificateSource, String> {
    let read =
        |path: &Path| read_bounded(path).map_err(|error| format!("{}: {error}", path.display()));
    let (chain_text, key_text) = (read(chain)?, read(key)?);
    pair_fits(&chain_text, &key_text).map_err(|error| format!("{}: {error}", chain.display()))?;
    Ok(CertificateSource::Inline {
        chain: Arc::from(chain_text.into_bytes()),
        key: Secret(Arc::from(key_text.into_bytes())),
    })
}

/// Whether a credential is whole: a directory with only a CA is.
fn fits(credential: &Credential) -> Result<(), String> {
    match (credential.member("tls.crt"), credential.member("tls.key")) {
        (Some(chain), Some(key)) => pair_fits(chain, key),
        (None, Some(_)) => Err("there is a tls.key without a tls.crt".to_owned()),
        (Some(_), None) => Err("there is a tls.crt without a tls.key".to_owned()),
        (None, None) if credential.member("ca.crt").is_some() => Ok(()),
        (None, None) => Err("there is neither tls.crt nor ca.crt".to_owned()),
    }
}

/// Whether a certificate and a key belong together.
fn pair_fits(chain: &str, key: &str) -> Result<(), String> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let certificates =
        certificates.map_err(|error| format!("the certificate is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("there is no certificate in the file".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| format!("the private key is not PEM: {error}"))?;
    CertifiedKey::from_der(certificates, key, &aws_lc_rs::default_provider())
        .map_err(|error| format!("certificate and key cannot be used: {error}"))?;
    Ok(())
}

fn member(credential: &Credential) -> Option<&[u8]> {
    credential.member("tls.crt").map(str::as_bytes)
}

fn chain_of(source: &CertificateSource) -> Option<&[u8]> {
    match source {
        CertificateSource::Inline { chain, .. } => Some(chain),
        _ => None,
    }
}

/// An expired certificate does not take the place of one that is good; where there is none, it is
/// served all the same: who cares about dates refuses it.
fn in_date(new: Option<&[u8]>, good: Option<&[u8]>) -> Result<(), String> {
    let is_over = |chain: &[u8]| {
        let leaf = certificate::read_chain(chain).into_iter().next();
        leaf.is_some_and(|leaf| leaf.not_after < certificate::now())
    };
    match (new, good) {
        (Some(new), Some(good)) if new != good && is_over(new) && !is_over(good) => {
            Err("the certificate has expired".to_owned())
        }
        _ => Ok(()),
    }
}

/// A warning when everybody can read a key.
fn exposed(path: &Path) -> Option<Problem> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let message = "everybody on this machine can read this private key: chmod 600";
    (mode & OTHERS_READ != 0).then(|| Problem::warning(path, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::files::tests::Scratch;
    use sallyport_config::ir::{Certificate, Origin};

    fn write(path: &Path, text: &str, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Certificate and key as PEM.
    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn credentials_are_directories_with_known_members() {
        let scratch = Scratch::new("credentials");
        let (chain, key) = pair("a.example.com");
        write(&scratch.0.join("api/tls.crt"), &chain, 0o644);
        write(&scratch.0.join("api/tls.key"), &key, 0o600);
        write(&scratch.0.join("ca/ca.crt"), &chain, 0o644);
        write(&scratch.0.join("web/tls.key"), &key, 0o644);
        write(&scratch.0.join(".hidden/tls.key"), &key, 0o644);
        let found = KeyPairs::default().read_directory(&scratch.0);
        let names: Vec<_> = found.credentials.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["api", "ca", "web"]);
        assert_eq!(found.credentials[0].member("tls.key"), Some(key.as_str()));
        let said: Vec<_> = found.problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("chmod 600") && said[1].contains("without a tls.crt"));
        assert!(found.directories.contains(&scratch.0.join("web")));
        assert!(!format!("{found:?}").contains("PRIVATE"));
    }

    /// A certificate of a workload.
    fn held() -> Held {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut own = rcgen::CertificateParams::default();
        let name = "spiffe://cluster.local/ns/istio-system/sa/edge";
        own.subject_alt_names = vec![rcgen::SanType::URI(name.try_into().unwrap())];
        let chain = own.self_signed(&key).unwrap().pem();
        Held::read(key.serialize_pem(), chain, "roots".to_owned()).unwrap()
    }

    #[test]
    fn a_renewed_identity_is_another_snapshot() {
        let mut pairs = KeyPairs::default();
        let mut own = |held: Option<&Held>| {
            held.iter().for_each(|held| pairs.identify(held));
            let mut snapshot = Snapshot {
                certificates: vec![Certificate {
                    name: "default".to_owned(),
                    source: CertificateSource::Workload,
                    staple: None,
                    origin: origin(),
                }],
                ..Snapshot::default()
            };
            let found = pairs.read_into(&mut snapshot);
            (snapshot.certificates.remove(0).source, found.unusable.len())
        };
        assert_eq!(own(None), (CertificateSource::Missing, 1));
        let (first, second) = (held(), held());
        for held in [&first, &second] {
            let (source, unusable) = own(Some(held));
            let whole = matches!(&source, CertificateSource::Inline { chain, .. }
                if **chain == *held.chain.as_bytes());
            assert!(whole && unusable == 0, "{source:?}");
        }
        assert!(!format!("{first:?}").contains("PRIVATE"));
    }

    #[test]
    fn half_a_rotation_keeps_the_last_good_pair() {
        let scratch = Scratch::new("rotation");
        let (old, new) = (pair("old.example.com"), pair("new.example.com"));
        let (chain, key) = (scratch.0.join("api/tls.crt"), scratch.0.join("api/tls.key"));
        let mut pairs = KeyPairs::default();
        let mut chain_now = || {
            let found = pairs.read_directory(&scratch.0);
            let chain = found.credentials[0].member("tls.crt").unwrap().to_owned();
            (chain, found.problems.len())
        };
        write(&chain, &old.0, 0o600);
        write(&key, &old.1, 0o600);
        assert_eq!(chain_now(), (old.0.clone(), 0));
        write(&chain, &new.0, 0o600);
        assert_eq!(chain_now(), (old.0, 1));
        write(&key, &new.1, 0o600);
        assert_eq!(chain_now(), (new.0, 0));
    }

    #[test]
    fn broken_rotations_keep_the_last_good_pair_and_say_why() {
        let scratch = Scratch::new("broken-rotation");
        let (old, other) = (pair("old.example.com"), pair("new.example.com"));
        let mut parameters = rcgen::CertificateParams::new(["old.example.com".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let expired = parameters.self_signed(&key).unwrap().pem();
        let expired = (expired, key.serialize_pem());
        let half = old.0[..old.0.len() / 2].to_owned();
        let path = |name: &str| scratch.0.join("api").join(name);
        let mut pairs = KeyPairs::default();
        let mut read = |chain: &str, key: &str| {
            write(&path("tls.crt"), chain, 0o600);
            write(&path("tls.key"), key, 0o600);
            let found = pairs.read_directory(&scratch.0);
            let said: Vec<_> = found.problems.into_iter().map(|p| p.message).collect();
            let chain = found.credentials[0].member("tls.crt");
            (chain.unwrap_or_default().to_owned(), said.join("; "))
        };
        // Better than nothing.
        assert_eq!(
            read(&expired.0, &expired.1),
            (expired.0.clone(), String::new())
        );
        assert_eq!(read(&old.0, &old.1), (old.0.clone(), String::new()));
        for (chain, key, why) in [
            (&*other.0, &*old.1, "cannot be used"),
            ("garbage", &old.1, "no certificate"),
            (&half, &old.1, "certificate"),
            ("", &old.1, "no certificate"),
            (&old.0, "garbage", "key is not PEM"),
            (&old.0, "", "key is not PEM"),
            (&expired.0, &expired.1, "has expired"),
        ] {
            let (served, said) = read(chain, key);
            assert_eq!(served, old.0, "{said}");
            assert!(
                said.contains(why) && said.ends_with("the last good pair stays"),
                "{said}"
            );
        }
        assert_eq!(read(&other.0, &other.1), (other.0.clone(), String::new()));
    }

    #[test]
    fn files_become_content_and_unreadable_ones_missing() {
        let scratch = Scratch::new("certificates");
        let path = |name: &str| scratch.0.join(name).display().to_string();
        let (chain, key) = pair("a.example.com");
        write(&scratch.0.join("a.crt"), &chain, 0o644);
        write(&scratch.0.join("a.key"), &key, 0o600);
        let certificate = |key: &str| Certificate {
            name: "file://a.crt".to_owned(),
            source: CertificateSource::Files {
                chain: path("a.crt"),
                key: path(key),
            },
            staple: None,
            origin: origin(),
        };
        let mut pairs = KeyPairs::default();
        let mut read = || {
            let mut snapshot = Snapshot {
                certificates: vec![certificate("a.key"), certificate("b.key")],
                ..Snapshot::default()
            };
            let found = pairs.read_into(&mut snapshot);
            assert!(found.directories.contains(&scratch.0));
            let sources = snapshot.certificates.into_iter().map(|c| c.source);
            (sources.collect::<Vec<_>>(), found.unusable.len())
        };
        let (sources, unusable) = read();
        assert!(
            matches!(&sources[0], CertificateSource::Inline { chain: bytes, .. }
            if **bytes == *chain.as_bytes())
        );
        assert_eq!((&sources[1], unusable), (&CertificateSource::Missing, 1));
        fs::remove_file(scratch.0.join("a.key")).unwrap();
        assert_eq!(read(), (sources, 2), "what was read before stays");
    }

    #[test]
    fn a_secret_whose_key_is_another_ones_keeps_its_last_good_pair() {
        let (one, two) = (pair("a.example.com"), pair("b.example.com"));
        let inline = |chain: &str, key: &str| CertificateSource::Inline {
            chain: chain.as_bytes().into(),
            key: Secret(key.as_bytes().into()),
        };
        let mut pairs = KeyPairs::default();
        let mut read = |source: CertificateSource| {
            let mut snapshot = Snapshot {
                certificates: vec![Certificate {
                    name: "kubernetes://m".to_owned(),
                    source,
                    staple: None,
                    origin: origin(),
                }],
                ..Snapshot::default()
            };
            let found = pairs.read_into(&mut snapshot);
            let why = found.unusable.into_iter().map(|(_, why)| why);
            (
                snapshot.certificates.remove(0).source,
                why.collect::<String>(),
            )
        };
        let (whole, broken) = (inline(&one.0, &one.1), inline(&two.0, &one.1));
        let (source, why) = read(broken.clone());
        assert_eq!(source, CertificateSource::Missing, "never whole: {why}");
        assert_eq!(read(whole.clone()), (whole.clone(), String::new()));
        let (source, why) = read(broken);
        assert_eq!(source, whole);
        assert!(why.ends_with("the last good pair stays"), "{why}");
    }

    fn origin() -> Origin {
        Origin {
            kind: "Gateway",
            namespace: "n".into(),
            name: "g".into(),
            path: String::new(),
            location: String::new(),
        }
    }
}

//! Key pairs in files: the `--credentials` directory, and paths that Gateways name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sallyport_config::ir::{CertificateSource, Secret, Snapshot};

use super::Problem;
use super::files::{read_bounded, watch_path};

/// Credentials that are read; each has a directory.
const CREDENTIALS_MAX: usize = 10_000;
/// Permission bits of everybody else.
const OTHERS_READ: u32 = 0o004;

/// One credential: what a Kubernetes Secret of type `tls` holds, as text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// Name of its directory: `credentialName`.
    pub(crate) name: String,
    /// Name of the member and its text: `tls.crt`, `tls.key`, `ca.crt`.
    pub(crate) members: Vec<(&'static str, String)>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a reading of key pairs found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Credentials by name.
    pub(crate) credentials: Vec<Credential>,
    /// What could not be read, and keys that others can read.
    pub(crate) problems: Vec<Problem>,
    /// Directories to watch.
    pub(crate) directories: BTreeSet<PathBuf>,
}

/// Reads `directory/<credentialName>/{tls.crt,tls.key,ca.crt}`. Hidden names are left out.
pub(crate) fn read_directory(directory: &Path) -> Found {
    let mut found = Found::default();
    watch_path(&mut found.directories, directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            found.problems.push(Problem::error(directory, &error));
            return found;
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    if let Some(path) = paths.get(CREDENTIALS_MAX) {
        let message = format!("only {CREDENTIALS_MAX} credentials are read");
        found.problems.push(Problem::error(path, &message));
        paths.truncate(CREDENTIALS_MAX);
    }
    for path in paths.into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| !name.starts_with('.')) else {
            continue;
        };
        watch_path(&mut found.directories, &path);
        let mut members = Vec::new();
        for member in ["tls.crt", "tls.key", "ca.crt"] {
            let file = path.join(member);
            match read_bounded(&file) {
                Ok(text) => members.push((member, text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => found.problems.push(Problem::error(&file, &error)),
            }
            if member == "tls.key" {
                found.problems.extend(exposed(&file));
            }
        }
        let name = name.to_owned();
        found.credentials.push(Credential { name, members });
    }
    found
}

/// Puts the content of certificate files into a snapshot in place of their paths, so that a change
/// of content is a change of the snapshot. A pair that cannot be read is `Missing`: its handshakes
/// are refused, all else is served.
pub(crate) fn read_into(snapshot: &mut Snapshot) -> Found {
    let mut found = Found::default();
    for certificate in &mut snapshot.certificates {
        let CertificateSource::Files { chain, key } = &certificate.source else {
            continue;
        };
        let (chain, key) = (Path::new(chain), Path::new(key));
        let mut read = |path: &Path| {
            watch_path(&mut found.directories, path);
            read_bounded(path)
                .map_err(|error| found.problems.push(Problem::error(path, &error)))
                .ok()
        };
        let pair = read(chain).zip(read(key));
        found.problems.extend(exposed(key));
        certificate.source = match pair {
            Some((chain, key)) => CertificateSource::Inline {
                chain: Arc::from(chain.into_bytes()),
                key: Secret(Arc::from(key.into_bytes())),
            },
            None => CertificateSource::Missing,
        };
    }
    found
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

    #[test]
    fn credentials_are_directories_with_known_members() {
        let scratch = Scratch::new("credentials");
        write(&scratch.0.join("api/tls.crt"), "chain", 0o644);
        write(&scratch.0.join("api/tls.key"), "key", 0o600);
        write(&scratch.0.join("web/tls.key"), "key", 0o644);
        write(&scratch.0.join(".hidden/tls.key"), "key", 0o644);
        let found = read_directory(&scratch.0);
        assert_eq!(found.credentials.len(), 2);
        assert_eq!(
            found.credentials[0].members,
            [
                ("tls.crt", "chain".to_owned()),
                ("tls.key", "key".to_owned())
            ]
        );
        assert_eq!(
            found.problems.len(),
            1,
            "web's key is exposed: {:?}",
            found.problems
        );
        assert!(found.directories.contains(&scratch.0.join("web")));
        assert!(!format!("{found:?}").contains("\"key\""));
    }

    #[test]
    fn files_become_content_and_unreadable_ones_missing() {
        let scratch = Scratch::new("certificates");
        let path = |name: &str| scratch.0.join(name).display().to_string();
        write(&scratch.0.join("a.crt"), "chain", 0o644);
        write(&scratch.0.join("a.key"), "key", 0o600);
        let certificate = |chain: &str, key: &str| Certificate {
            name: format!("file://{chain}"),
            source: CertificateSource::Files {
                chain: path(chain),
                key: path(key),
            },
            origin: Origin {
                kind: "Gateway",
                namespace: "n".into(),
                name: "g".into(),
                path: String::new(),
                location: String::new(),
            },
        };
        let mut snapshot = Snapshot {
            certificates: vec![certificate("a.crt", "a.key"), certificate("a.crt", "b.key")],
            ..Snapshot::default()
        };
        let found = read_into(&mut snapshot);
        assert!(matches!(&snapshot.certificates[0].source,
            CertificateSource::Inline { chain, .. } if **chain == *b"chain"));
        assert_eq!(snapshot.certificates[1].source, CertificateSource::Missing);
        assert_eq!(found.problems.len(), 1);
        assert!(found.directories.contains(&scratch.0));
    }
}

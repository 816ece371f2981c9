//! The files of the authority, with Istio's names (`cacerts`): read, or made when there are none.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose,
};

use super::{CaError, new_key};
use crate::{log, private};

/// How long a root that is made here is good: Istio's default.
const ROOT_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// The texts of the files.
pub(super) struct Files {
    /// `ca-cert.pem`: the certificate that signs.
    pub(super) certificate: String,
    /// `ca-key.pem`: its key.
    pub(super) key: String,
    /// `cert-chain.pem`: from there towards the root; may be missing.
    pub(super) chain: String,
    /// `root-cert.pem`: all roots.
    pub(super) roots: String,
}

/// Reads the files, or makes a root and its files in a directory that has none of them.
pub(super) fn read_or_make(directory: &Path, trust_domain: &str) -> Result<Files, CaError> {
    let names = ["ca-cert.pem", "ca-key.pem", "root-cert.pem"];
    let there = |name: &&str| directory.join(name).exists();
    match names.iter().filter(|name| there(name)).count() {
        0 => make(directory, trust_domain)?,
        3 => {}
        _ => {
            let missing = names.iter().filter(|name| !there(name));
            let missing: Vec<&str> = missing.copied().collect();
            let where_ = directory.display();
            return Err(CaError::new(format!(
                "{where_} lacks {}",
                missing.join(", ")
            )));
        }
    }
    let read = |name: &str| {
        let read = private::read(&directory.join(name));
        read.map_err(|error| CaError::new(format!("{name}: {error}")))
    };
    warn_if_readable(&directory.join("ca-key.pem"));
    let chain = match directory.join("cert-chain.pem").exists() {
        true => read("cert-chain.pem")?,
        false => String::new(),
    };
    Ok(Files {
        certificate: read("ca-cert.pem")?,
        key: read("ca-key.pem")?,
        chain,
        roots: read("root-cert.pem")?,
    })
}

fn warn_if_readable(key: &Path) {
    let mode = fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        let name = key.display();
        log::warn(
            "ca",
            format_args!("others may read {name}: make its mode 0600"),
        );
    }
}

/// Makes a root that signs by itself. Its key is written first and is its owner's only.
fn make(directory: &Path, trust_domain: &str) -> Result<(), CaError> {
    let failed = |error: io::Error| {
        CaError::new(format!(
            "cannot make a CA in {}: {error}",
            directory.display()
        ))
    };
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed)?;
    let key = new_key()?;
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.not_before = (now - Duration::from_secs(120)).into();
    params.not_after = (now + ROOT_TTL).into();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, trust_domain);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(&key);
    let root = root.map_err(|error| CaError::new(error.to_string()))?.pem();
    let write = |name: &str, text: &str| private::write(&directory.join(name), text.as_bytes());
    write("ca-key.pem", &key.serialize_pem()).map_err(failed)?;
    write("root-cert.pem", &root).map_err(failed)?;
    write("ca-cert.pem", &root).map_err(failed)?;
    log::info("ca", format_args!("made a root in {}", directory.display()));
    Ok(())
}

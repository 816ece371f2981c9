//! Keys and authorities of one snapshot, each made ready once however many share it.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sallyport_config::ir::{
    Bundle, Certificate, CertificateId, CertificateSource, Roots, Snapshot,
};

use super::trust::Trust;

type Ready<T> = Result<Arc<T>, String>;

/// Keys and authorities of one snapshot.
pub(super) struct Material<'s> {
    snapshot: &'s Snapshot,
    keys: HashMap<CertificateId, Ready<CertifiedKey>>,
    trusts: HashMap<(Roots, Option<Bundle>), Ready<Trust>>,
}

impl<'s> Material<'s> {
    pub(super) fn new(snapshot: &'s Snapshot) -> Self {
        Self {
            snapshot,
            keys: HashMap::new(),
            trusts: HashMap::new(),
        }
    }

    /// A certificate of the snapshot; `None` if there is no such.
    pub(super) fn certificate(&self, id: CertificateId) -> Option<&'s Certificate> {
        let index = usize::try_from(id.0).ok()?;
        self.snapshot.certificates.get(index)
    }

    /// A certificate with its key, checked to belong together.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn key(&mut self, id: CertificateId) -> Ready<CertifiedKey> {
        let certificate = self.certificate(id);
        let load = || certificate.map_or(Err("there is no such".to_owned()), |c| load(&c.source));
        self.keys.entry(id).or_insert_with(load).clone()
    }

    /// Authorities with what they revoked. [`Roots::Unchecked`] is nobody to ask.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub(super) fn trust(&mut self, roots: &Roots, crl: Option<&Bundle>) -> Ready<Trust> {
        let key = (roots.clone(), crl.cloned());
        let make = || {
            let crl = crl.map(text).transpose()?;
            match roots {
                Roots::System => Trust::system(crl).map(Arc::new),
                Roots::Given(bundle) => Trust::parse(text(bundle)?, crl).map(Arc::new),
                Roots::Unchecked => Err("nothing is verified".to_owned()),
            }
        };
        self.trusts.entry(key).or_insert_with(make).clone()
    }
}

/// The text of a bundle; the shell has put it in place of paths before.
fn text(bundle: &Bundle) -> Result<&[u8], String> {
    match bundle {
        Bundle::Inline(text) => Ok(text),
        Bundle::Missing(why) => Err(why.clone()),
        Bundle::File(path) => Err(format!("{path}: not read")),
        Bundle::Workload => Err("the workload has no identity".to_owned()),
    }
}

/// Reads a certificate and its key, and checks that they belong together.
fn load(source: &CertificateSource) -> Ready<CertifiedKey> {
    let (chain, key) = match source {
        CertificateSource::Inline { chain, key } => (chain.to_vec(), key.0.to_vec()),
        CertificateSource::Files { chain, key } => (read(chain)?, read(key)?),
        CertificateSource::Workload => return Err("the workload has no identity".to_owned()),
        CertificateSource::Missing => return Err("not there yet".to_owned()),
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("certificate: {error}"))?;
    if chain.is_empty() {
        return Err("certificate: no CERTIFICATE block".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| format!("key: {error}"))?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| format!("key: {error}"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(error) => Err(format!("certificate and key do not match: {error}")),
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}

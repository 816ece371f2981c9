//! Keys and authorities of one snapshot, each made ready once however many share it.

use std::borrow::Cow;
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
use sallyport_core::certificate;
use sallyport_core::ocsp::{self, Validity};

use super::trust::Trust;

type Ready<T> = Result<Arc<T>, String>;

/// A certificate together with what its authority says about it, while that holds.
#[derive(Debug, Clone)]
pub(super) struct Stapled {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) validity: Validity,
}

/// Keys and authorities of one snapshot.
pub(super) struct Material<'s> {
    snapshot: &'s Snapshot,
    keys: HashMap<CertificateId, Ready<CertifiedKey>>,
    staples: HashMap<CertificateId, Option<Result<Stapled, String>>>,
    trusts: HashMap<(Roots, Option<Bundle>), Ready<Trust>>,
}

impl<'s> Material<'s> {
    pub(super) fn new(snapshot: &'s Snapshot) -> Self {
        Self {
            snapshot,
            keys: HashMap::new(),
            staples: HashMap::new(),
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

    /// A certificate with its staple, if it has one.
    ///
    /// # Errors
    /// Why the staple is not sent, or why it is missed.
    pub(super) fn stapled(&mut self, id: CertificateId) -> Option<Result<Stapled, String>> {
        if let Some(known) = self.staples.get(&id) {
            return known.clone();
        }
        let key = self.key(id).ok();
        let staple = self.certificate(id).and_then(|c| c.staple.as_deref());
        let stapled = key.and_then(|key| staple_on(&key, staple));
        self.staples.insert(id, stapled.clone());
        stapled
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
        CertificateSource::Inline { chain, key } => (Cow::from(&**chain), Cow::from(&*key.0)),
        CertificateSource::Files { chain, key } => (read(chain)?.into(), read(key)?.into()),
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

/// Puts a staple on a certificate; one that says that it needs one, and has none, is a fault.
fn staple_on(key: &CertifiedKey, staple: Option<&[u8]>) -> Option<Result<Stapled, String>> {
    let leaf = key.cert.first()?;
    let facts = certificate::read(leaf)?;
    let Some(staple) = staple else {
        let missed = "clients will not believe it without an OCSP staple (must-staple), and there \
            is none";
        return facts.must_staple.then(|| Err(missed.to_owned()));
    };
    Some(match ocsp::read(staple, &facts.serial) {
        Ok(validity) => {
            let mut key = key.clone();
            key.ocsp = Some(staple.to_vec());
            Ok(Stapled {
                key: Arc::new(key),
                validity,
            })
        }
        Err(error) => Err(format!("its OCSP staple is not sent: {error}")),
    })
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}

//! A certificate with its key, and how long it is good.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::{BACKDATE, Identity, identity_of, life_of, private};

/// Renewals are moved by up to this part of a life, so that hosts that were started together do not
/// come together: Istio's value.
const JITTER: f64 = 0.01;
/// Shortest time between two renewals.
const RENEW_MIN: Duration = Duration::from_secs(5);
/// Key and chain, in the state directory.
const KEPT: &str = "identity.pem";
/// Roots, in the state directory.
const KEPT_ROOTS: &str = "root-cert.pem";

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// Key, as PEM.
    pub key: String,
    /// Leaf and intermediates, as PEM.
    pub chain: String,
    /// Roots of the mesh, as PEM.
    pub roots: String,
    /// Who it is of.
    pub identity: Identity,
    begins: SystemTime,
    ends: SystemTime,
}

// it holds the key
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({})", self.identity)
    }
}

impl Held {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is not PEM, or not a workload's.
    pub fn read(key: String, chain: String, roots: String) -> Result<Self, String> {
        let leaf = CertificateDer::from_pem_slice(chain.as_bytes());
        let leaf = leaf.map_err(|_| "the certificate is not PEM")?;
        let identity = identity_of(&leaf).ok_or("the certificate names no workload")?;
        let (begins, ends) = life_of(&leaf).ok_or("the certificate has no life")?;
        // it began when it was issued; before, it is good for clocks that are behind
        let begins = (begins + BACKDATE).min(SystemTime::now());
        Ok(Self {
            key,
            chain,
            roots,
            identity,
            begins,
            ends,
        })
    }

    /// What a directory keeps, if it is whole.
    #[must_use]
    pub fn load(directory: &Path) -> Option<Self> {
        let kept = private::read(&directory.join(KEPT)).ok()?;
        let roots = private::read(&directory.join(KEPT_ROOTS)).ok()?;
        let at = kept.find("-----BEGIN CERTIFICATE-----")?;
        let (key, chain) = kept.split_at(at);
        Self::read(key.to_owned(), chain.to_owned(), roots).ok()
    }

    /// Keeps it for the next start.
    ///
    /// # Errors
    /// The directory cannot be written. Without it the next start needs a token, and no more.
    pub fn save(&self, directory: &Path) -> io::Result<()> {
        let kept = format!("{}{}", self.key, self.chain);
        std::fs::create_dir_all(directory)?;
        private::write(&directory.join(KEPT), kept.as_bytes())?;
        private::write(&directory.join(KEPT_ROOTS), self.roots.as_bytes())
    }

    fn left(&self) -> Duration {
        self.ends
            .duration_since(SystemTime::now())
            .unwrap_or_default()
    }

    fn life(&self) -> Duration {
        self.ends.duration_since(self.begins).unwrap_or_default()
    }

    /// It has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// It ends so soon that a new one should be had first.
    #[must_use]
    pub fn is_old(&self) -> bool {
        self.left() < self.life() / 10
    }

    /// When to renew it: at half of its life, moved a little.
    #[must_use]
    pub fn renew_in(&self) -> Duration {
        let half = self.left().saturating_sub(self.life() / 2);
        let mut byte = [0u8];
        // without random numbers hosts come together, which the server survives
        let _ = aws_lc_rs::rand::fill(&mut byte);
        let part = f64::from(byte[0]) / f64::from(u8::MAX) * JITTER;
        half.saturating_sub(self.life().mul_f64(part))
            .max(RENEW_MIN)
    }
}

//! Keys of issuers (RFC 7517), and signatures by them.
//!
//! What a key can verify is fixed by its type: the token only chooses among that. Keys that are
//! not understood are left out, as RFC 7517 §5 asks; symmetric ones are never used, since whoever
//! can check a token with them can make one.

use super::{base64url, json};
use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Largest set, in bytes.
pub const JWKS_BYTES_MAX: usize = 1024 * 1024;
/// Keys of a set that are looked at.
const KEYS_MAX: usize = 1_000;
/// Keys that are tried on one token.
const TRIES_MAX: usize = 10;

/// SHA-256 of the text that a key set was read from.
pub(super) type Digest = [u8; 32];

/// Keys of one issuer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    /// Of the text that it was read from.
    digest: Digest,
    keys: Vec<Key>,
}

/// Key sets that were fetched, by URL: of `jwksUri`, or of the issuer where none is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyStore(HashMap<Box<str>, Arc<KeySet>>);

impl KeyStore {
    /// Replaces the keys of a URL.
    pub fn insert(&mut self, url: &str, keys: Arc<KeySet>) {
        self.0.insert(url.into(), keys);
    }

    /// Keys of a URL; `None`: never fetched.
    #[must_use]
    pub fn get(&self, url: &str) -> Option<&Arc<KeySet>> {
        self.0.get(url)
    }
}

/// URLs whose sets did not verify a token: perhaps the issuer has new keys. Only URLs of the configuration can
/// come in, and each once.
#[derive(Debug, Default)]
pub struct Misses(RefCell<Vec<Box<str>>>);

impl Misses {
    /// What was noted since this was asked last.
    #[must_use]
    pub fn take(&self) -> Vec<Box<str>> {
        self.0.take()
    }

    pub(super) fn note(&self, url: &str) {
        let mut urls = self.0.borrow_mut();
        if !urls.iter().any(|noted| **noted == *url) {
            urls.push(url.into());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    id: Option<Box<str>>,
    /// The only algorithm that the set allows.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    /// An uncompressed point on the curve of an algorithm.
    Curve(Algorithm, Box<[u8]>),
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    /// By its name (RFC 7518 §3.1, RFC 8037 §3.1); exactly, and never `none` or `HS…`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }
}

/// Why no key verifies a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// None has the id and can do the algorithm.
    NoKey,
    /// Those that could did not make it.
    Forged,
}

impl KeySet {
    /// Whether no token can be good by it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Reads a set.
    ///
    /// # Errors
    /// It is no set, or too large. A set without a usable key is empty: nothing verifies.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > JWKS_BYTES_MAX {
            return Err("the key set is too large");
        }
        let set = json::object(text.as_bytes()).ok_or("the key set is not a JSON object")?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err("the key set has no `keys`");
        };
        let keys = keys.iter().take(KEYS_MAX).filter_map(Value::as_object);
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        Ok(Self {
            digest: digest.as_ref().try_into().unwrap_or_default(),
            keys: keys.filter_map(Key::new).collect(),
        })
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Verifies a signature with the keys that may have made it.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refusal> {
        let named = |key: &&Key| match (id, &key.id) {
            (Some(wanted), Some(id)) => wanted == &**id,
            // as Envoy: who gives no name is not left out
            _ => true,
        };
        let able = self
            .keys
            .iter()
            .filter(named)
            .filter(|key| key.can(algorithm));
        let mut refusal = Refusal::NoKey;
        for key in able.take(TRIES_MAX) {
            if key.verifies(algorithm, message, signature) {
                return Ok(());
            }
            refusal = Refusal::Forged;
        }
        Err(refusal)
    }
}

impl Key {
    fn new(key: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let bytes = |name: &str| base64url::decode(text(name)?);
        if key.get("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let verifies = |ops: &Value| {
            let mut ops = ops.as_array().into_iter().flatten();
            ops.any(|op| op == "verify")
        };
        if !key.get("key_ops").is_none_or(verifies) {
            return None;
        }
        let algorithm = match key.get("alg") {
            None => None,
            Some(name) => Some(Algorithm::named(name.as_str()?)?),
        };
        let point = |algorithm, size: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            let whole = x.len() == size && y.len() == size;
            let point = [&[4], x.as_slice(), &y].concat();
            whole.then(|| Material::Curve(algorithm, point.into()))
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => rsa(bytes("n")?, bytes("e")?),
            ("EC", Some("P-256")) => point(Algorithm::Es256, 32)?,
            ("EC", Some("P-384")) => point(Algorithm::Es384, 48)?,
            ("EC", Some("P-521")) => point(Algorithm::Es512, 66)?,
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x").filter(|x| x.len() == 32 && !is_of_low_order(x))?;
                Material::Curve(Algorithm::EdDsa, x.into())
            }
            _ => return None,
        };
        let id = match key.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.into()),
        };
        Some(Self {
            id,
            algorithm,
            material,
        })
    }

    fn can(&self, algorithm: Algorithm) -> bool {
        let by_type = match &self.material {
            Material::Rsa { .. } => matches!(
                algorithm,
                Algorithm::Rs256
                    | Algorithm::Rs384
                    | Algorithm::Rs512
                    | Algorithm::Ps256
                    | Algorithm::Ps384
                    | Algorithm::Ps512
            ),
            Material::Curve(only, _) => *only == algorithm,
        };
        by_type && self.algorithm.is_none_or(|only| only == algorithm)
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let (n, e) = match &self.material {
            Material::Rsa { modulus, exponent } => (modulus, exponent),
            Material::Curve(algorithm, point) => {
                let how: &dyn VerificationAlgorithm = match algorithm {
                    Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
                    Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
                    Algorithm::Es512 => &ECDSA_P521_SHA512_FIXED,
                    _ => &ED25519,
                };
                let key = UnparsedPublicKey::new(how, point);
                return key.verify(message, signature).is_ok();
            }
        };
        let how = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
            _ => return false,
        };
        let key = RsaPublicKeyComponents { n, e };
        key.verify(how, message, signature).is_ok()
    }
}

/// The two ordinates of the points of order 8 (little end first).
const ORDER_8: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// Whether a key is one of the few points of Ed25519 by which anybody can sign (order 1, 2, 4 or 8),
/// in any spelling: the sign of the abscissa does not matter, and ordinates up to p + 1 mean 0 and 1.
fn is_of_low_order(point: &[u8]) -> bool {
    let [first, middle @ .., last] = point else {
        return true;
    };
    let last = last & 0x7f;
    let is_small = *first <= 1 && last == 0 && middle.iter().all(|byte| *byte == 0);
    // p is 2^255 - 19.
    let is_near_p =
        (0xec..=0xee).contains(first) && last == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    let of_order_8 = ORDER_8.iter().any(|known| {
        let [first_known, middle_known @ .., last_known] = known;
        (first, middle, last) == (first_known, middle_known.as_slice(), *last_known)
    });
    is_small || is_near_p || of_order_8
}

/// Without leading zeros, which RFC 7518 §6.3.1.1 forbids and some issuers write.
fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Material {
    let trim = |bytes: Vec<u8>| {
        let start = bytes
            .iter()
            .position(|byte| *byte != 0)
            .unwrap_or(bytes.len());
        bytes.get(start..).unwrap_or_default().into()
    };
    Material::Rsa {
        modulus: trim(modulus),
        exponent: trim(exponent),
    }
}

//! Join tokens: what a host without Kubernetes shows to get its first certificate.
//!
//! A token is a JWT (RFC 7519) signed with ES256 by a key beside the CA's. It names one workload and
//! one audience, is good for a short time, and certifies one key only: whoever reads it later gets
//! nothing with it. After that a workload renews with the certificate that it has.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::identity::Identity;
use crate::private;

/// Who may be shown a token: the audience that Istio's agents ask for.
pub const AUDIENCE: &str = "istio-ca";
/// Who signs.
const ISSUER: &str = "sallyport-control";
/// Name of the key in the directory of the CA.
const KEY_FILE: &str = "token-key.pem";
/// How long a token is good when nothing is said.
pub const TTL_DEFAULT: Duration = Duration::from_secs(3_600);
/// How long a token may be good.
pub const TTL_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Bytes of a token that is looked at.
const BYTES_MAX: usize = 8 * 1024;
/// Clocks differ by no more than this, in seconds.
const SKEW: u64 = 60;
/// Tokens that are remembered; more would be refused until old ones end.
const USED_MAX: usize = 100_000;

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError(String);

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TokenError {}

fn refused<T>(why: &str) -> Result<T, TokenError> {
    Err(TokenError(why.to_owned()))
}

/// The key that signs and verifies tokens.
pub struct TokenKey {
    pair: EcdsaKeyPair,
}

// it holds the key
impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who its holder may become.
    pub identity: Identity,
    /// Which token it is.
    pub id: String,
    /// Until when it is good, in seconds since 1970.
    pub ends: u64,
}

impl TokenKey {
    /// Reads the key from the directory of the CA, or makes one there.
    ///
    /// # Errors
    /// It cannot be read or written, or is not a key.
    pub fn open(directory: &Path) -> Result<Self, TokenError> {
        let path = directory.join(KEY_FILE);
        let failed = |error: &dyn fmt::Display| TokenError(format!("{}: {error}", path.display()));
        if !path.exists() {
            let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let made = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new());
            let made = made.map_err(|_| failed(&"no key could be made"))?;
            private::write(&path, STANDARD.encode(made.as_ref()).as_bytes())
                .map_err(|error| failed(&error))?;
        }
        let text = private::read(&path).map_err(|error| failed(&error))?;
        let der = STANDARD
            .decode(text.trim())
            .map_err(|error| failed(&error))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der);
        let pair = pair.map_err(|_| failed(&"not a key"))?;
        Ok(Self { pair })
    }

    /// A token for a workload, good from `now` (seconds since 1970) for `ttl`, at most a day.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn create(
        &self,
        identity: &Identity,
        now: u64,
        ttl: Duration,
    ) -> Result<String, TokenError> {
        let mut id = [0u8; 16];
        let filled = aws_lc_rs::rand::fill(&mut id);
        filled.map_err(|_| TokenError("no random numbers".to_owned()))?;
        let claims = json!({
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "sub": identity.to_string(),
            "iat": now,
            "nbf": now,
            "exp": now + ttl.min(TTL_MAX).as_secs(),
            "jti": URL_SAFE_NO_PAD.encode(id),
        });
        self.sign(&json!({"alg": "ES256", "typ": "JWT"}), &claims)
    }

    fn sign(&self, header: &Value, claims: &Value) -> Result<String, TokenError> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes());
        let signature = signature.map_err(|_| TokenError("cannot sign".to_owned()))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token says, if it is one of ours and good at `now`.
    ///
    /// # Errors
    /// It is not, and this is why. The text of the token is not in it.
    pub fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > BYTES_MAX {
            return refused("the token is too long");
        }
        let Some((text, signature)) = token.rsplit_once('.') else {
            return refused("the token is not a JWT");
        };
        let Some((header, payload)) = text.split_once('.') else {
            return refused("the token is not a JWT");
        };
        let read = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice::<Value>(&bytes).ok()
        };
        let (Ok(signature), Some(header)) = (URL_SAFE_NO_PAD.decode(signature), read(header))
        else {
            return refused("the token is not a JWT");
        };
        // the key says which algorithm it is for, the token may only agree
        if header.get("alg").and_then(Value::as_str) != Some("ES256") {
            return refused("the token is not signed with ES256");
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key());
        if key.verify(text.as_bytes(), &signature).is_err() {
            return refused("the token is not signed by this control process");
        }
        match read(payload) {
            Some(claims) => judge(&claims, now),
            None => refused("the token is not a JWT"),
        }
    }
}

fn judge(claims: &Value, now: u64) -> Result<Claims, TokenError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).and_then(Value::as_u64);
    if text("iss") != Some(ISSUER) {
        return refused("the token is of another issuer");
    }
    let audience = claims.get("aud").and_then(Value::as_array);
    if !audience.is_some_and(|list| list.iter().any(|a| a == AUDIENCE)) {
        return refused("the token is for another audience");
    }
    let (Some(begins), Some(ends)) = (time("nbf"), time("exp")) else {
        return refused("the token says no time");
    };
    if now >= ends {
        return refused("the token has expired");
    }
    if now + SKEW < begins {
        return refused("the token is not good yet");
    }
    let identity = text("sub").and_then(|sub| sub.parse().ok());
    match (identity, text("jti")) {
        (Some(identity), Some(id)) => Ok(Claims {
            identity,
            id: id.to_owned(),
            ends,
        }),
        _ => refused("the token names no workload"),
    }
}

/// Which key each token has certified, as long as the token is good.
#[derive(Debug, Default)]
pub(crate) struct UsedTokens {
    /// Calls come on every thread; held for a look-up.
    used: Mutex<HashMap<String, ([u8; 32], u64)>>,
}

impl UsedTokens {
    /// Binds a token to the first key that it is used with. Again with that key is a repetition of
    /// a call whose answer was lost; with another one, somebody else has read the token.
    pub(crate) fn bind(&self, claims: &Claims, key: &[u8], now: u64) -> Result<(), TokenError> {
        let key: [u8; 32] = Sha256::digest(key).into();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, _)) = used.get(&claims.id) {
            return match *known == key {
                true => Ok(()),
                false => refused("the token was used already, for another key"),
            };
        }
        if used.len() >= USED_MAX {
            used.retain(|_, (_, ends)| *ends > now);
        }
        if used.len() >= USED_MAX {
            return refused("too many tokens are in use");
        }
        used.insert(claims.id.clone(), (key, claims.ends));
        Ok(())
    }
}

#[cfg(test)]
mod tests;

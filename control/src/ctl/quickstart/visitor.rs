//! A visitor with a token, and the rules by which a path asks for it.

use std::io;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Who signs the token.
const ISSUER: &str = "https://quickstart.example.com";
/// How long it is good.
const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// A token, and the configuration that asks for it.
pub(super) struct Visitor {
    /// The token.
    pub(super) token: String,
    /// RequestAuthentication and AuthorizationPolicy.
    pub(super) yaml: String,
}

impl Visitor {
    /// Makes a key, and a token that it signs (RFC 7515, ES256).
    ///
    /// # Errors
    /// The crypto library fails.
    pub(super) fn new() -> io::Result<Self> {
        let random = SystemRandom::new();
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let failed = |_| io::Error::other("no key for tokens could be made");
        let made = EcdsaKeyPair::generate_pkcs8(signing, &random).map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(signing, made.as_ref());
        let pair = pair.map_err(|_| io::Error::other("no key for tokens could be made"))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({
            "iss": ISSUER, "sub": "visitor",
            "iat": now.as_secs(), "exp": (now + LIFE).as_secs(),
        });
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": "quickstart"});
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = pair.sign(&random, text.as_bytes()).map_err(failed)?;
        let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
        // SEC 1 §2.3.3: a byte that says uncompressed, then both coordinates
        let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        let keys = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "quickstart",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        Ok(Self {
            token,
            yaml: rules(&keys),
        })
    }
}

fn rules(keys: &Value) -> String {
    format!(
        "# Tokens of one issuer are verified; /v1/private asks for one.
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata:
  name: visitors
  namespace: istio-system
spec:
  selector:
    matchLabels:
      istio: ingressgateway
  jwtRules:
    - issuer: \"{ISSUER}\"
      jwks: '{keys}'
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: private
  namespace: istio-system
spec:
  selector:
    matchLabels:
      istio: ingressgateway
  action: DENY
  rules:
    - from:
        - source:
            notRequestPrincipals: [\"*\"]
      to:
        - operation:
            paths: [\"/v1/private*\"]
"
    )
}

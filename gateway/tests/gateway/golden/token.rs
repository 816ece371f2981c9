//! Tokens with the claims of a call, and the configuration by which a gateway believes them.

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use sallyport_config::golden::Vector;
use sallyport_config::model::Call;
use serde_json::{Map, Value};

/// Issuer of tokens for calls that do not care.
const ISSUER: &str = "https://golden.test";
/// The key pair of RFC 8032 §7.1, TEST 1: known to everybody, and so to nobody's harm. The public
/// half as RFC 8037 §A.2 has it; the private half in PKCS #8 (RFC 8410 §7).
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const PRIVATE: [u8; 48] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

fn issuer(call: &Call) -> &str {
    let mut claims = call.claims.iter();
    let own = claims.find_map(|(path, values)| (path == &["iss"]).then(|| values.first())?);
    own.map_or(ISSUER, String::as_str)
}

/// What makes a gateway believe the tokens of these calls; nothing when they have none.
pub(super) fn rules(vectors: &[Vector]) -> Option<String> {
    let with = vectors.iter().filter(|v| !v.call.claims.is_empty());
    let mut issuers: Vec<&str> = with.map(|v| issuer(&v.call)).collect();
    issuers.sort_unstable();
    issuers.dedup();
    let key = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{PUBLIC}"}}]}}"#);
    let rules = issuers.iter();
    let rules = rules.map(|issuer| format!("    - {{issuer: \"{issuer}\", jwks: '{key}'}}\n"));
    (!issuers.is_empty()).then(|| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
             metadata: {{name: golden, namespace: istio-system}}\nspec:\n  selector: \
             {{matchLabels: {{istio: ingressgateway}}}}\n  jwtRules:\n{}",
            rules.collect::<String>()
        )
    })
}

/// A signed token (RFC 7515 §3.1) with a call's claims, if it has any.
pub(super) fn token(call: &Call) -> Option<String> {
    if call.claims.is_empty() {
        return None;
    }
    let mut payload = Map::new();
    payload.insert("iss".to_owned(), issuer(call).into());
    for (path, values) in &call.claims {
        let (last, parents) = path.split_last().unwrap();
        let mut object = &mut payload;
        for parent in parents {
            let inner = object.entry(parent).or_insert_with(|| Map::new().into());
            object = inner.as_object_mut().unwrap();
        }
        let value = match values.as_slice() {
            [one] => Value::from(one.as_str()),
            several => several.into(),
        };
        object.insert(last.clone(), value);
    }
    let payload = Value::from(payload).to_string();
    let signed = [r#"{"alg":"EdDSA"}"#, &payload].map(|part| base64url(part.as_bytes()));
    let signed = signed.join(".");
    let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(PRIVATE.as_slice()));
    let signer = key.unwrap().choose_scheme(&[SignatureScheme::ED25519]);
    let signature = signer.unwrap().sign(signed.as_bytes()).unwrap();
    Some(format!("{signed}.{}", base64url(&signature)))
}

/// RFC 4648 §5, without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..=three.len() {
            let digit = bits >> (18 - 6 * i) & 63;
            text.push(char::from(DIGITS[usize::try_from(digit).unwrap()]));
        }
    }
    text
}

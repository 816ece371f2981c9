//! Every algorithm, with keys of its own type and of others.

use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};

#[test]
fn every_algorithm_verifies_by_its_own_type_of_key() {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // DER: a sequence of modulus, with its sign octet, and exponent
    let n = encode_url(&rsa.public_key().as_ref()[9..9 + 256]);
    let rsa_key = json!({"kty": "RSA", "n": n, "e": "AQAB"});
    let mut keys = vec![rsa_key.clone(), Issuer::new(1).jwk(None)];
    let mut tokens: Vec<(&str, String)> = Vec::new();
    let signed = |alg: &str| {
        let header = json!({ "alg": alg }).to_string();
        format!(
            "{}.{}",
            encode_url(header.as_bytes()),
            encode_url(br#"{"iss":"i"}"#)
        )
    };
    let kinds: [(&str, &dyn RsaEncoding); 6] = [
        ("RS256", &RSA_PKCS1_SHA256),
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    for (alg, kind) in kinds {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(kind, &random, signed(alg).as_bytes(), &mut signature)
            .unwrap();
        tokens.push((alg, format!("{}.{}", signed(alg), encode_url(&signature))));
    }
    for (alg, curve, kind, size) in [
        ("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING, 32),
        ("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING, 48),
        ("ES512", "P-521", &ECDSA_P521_SHA512_FIXED_SIGNING, 66),
    ] {
        let pair = EcdsaKeyPair::generate(kind).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (encode_url(&point[1..=size]), encode_url(&point[size + 1..]));
        keys.push(json!({"kty": "EC", "crv": curve, "x": x, "y": y}));
        let signature = pair.sign(&random, signed(alg).as_bytes()).unwrap();
        tokens.push((
            alg,
            format!("{}.{}", signed(alg), encode_url(signature.as_ref())),
        ));
    }
    tokens.push((
        "EdDSA",
        Issuer::new(1).sign(r#"{"alg":"EdDSA"}"#, r#"{"iss":"i"}"#),
    ));
    // secrets and keys for other uses are left out
    keys.push(json!({"kty": "oct", "k": "AAAA", "alg": "HS256"}));
    let all = tables(vec![rule("i", &keys)]);
    for (alg, token) in &tokens {
        assert_eq!(judge(&all, token).0, 200, "{alg}");
        // the same bytes under another algorithm
        for (other, _) in &tokens {
            let signature = token.rsplit_once('.').unwrap().1;
            let swapped = format!("{}.{signature}", signed(other));
            assert_eq!(
                judge(&all, &swapped).0 == 200,
                alg == other,
                "{alg} as {other}"
            );
        }
    }
    // a key that is for one algorithm only
    let mut only = rsa_key;
    only["alg"] = "RS256".into();
    let only = tables(vec![rule("i", &[only])]);
    for (alg, token) in &tokens {
        assert_eq!(judge(&only, token).0 == 200, *alg == "RS256", "{alg}");
    }
}

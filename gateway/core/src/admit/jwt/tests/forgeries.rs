//! Signatures at the edges of their algorithms: what libraries have accepted that they should not.
//! The classes are those that Project Wycheproof collects; the values are made here.

use super::*;
use crate::admit::base64url::decode;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RsaKeyPair,
};

/// Order of the group of P-256 (SEC 2 §2.4.2).
const N_P256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// Order of the group of Ed25519, little end first (RFC 8032 §5.1).
const L_ED25519: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

/// The modulus of a key of 1,024 bits, and its signature of a message under RS256.
const SMALL: (&str, &str) = (
    "d24c459a16276da0380d5ce6c79d7ba4abf2a758c4492b979cf529c8c0533f9d1a0f7d750d36377f\
     f623cd0c8990ccb469be1b861e345b397a6b9588c8ac533a20133349c0252bb8907dbfcec1907b08\
     7aadf277f440f91eea6e6a2e289056c90512fff40b826015527a7b61e176a2c6071cffd8f6f808d1\
     2147376f33204a31",
    "362e7f1169f4b34f45cb5ff7c3b801d9d786d193e7e640d023e1c44d4d6a2a2784446185413d83f2\
     08ae271b430c238a93bb5c536fa964780332dbfa51ff0fdcc8f6dd1ed009d30ce4201609b5395889\
     d796e8308203e9c791a5c3303c0ad24516479006b16c9c31827c610d095660b4431d8d9aa73bec9e\
     71c42a1766ad1c13",
);

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

/// What is signed under an algorithm.
fn message(alg: &str) -> String {
    let header = json!({ "alg": alg }).to_string();
    let payload = encode_url(br#"{"iss":"i"}"#);
    format!("{}.{payload}", encode_url(header.as_bytes()))
}

fn is_accepted(key: &Value, alg: &str, signature: &[u8]) -> bool {
    let tables = tables(vec![rule("i", std::slice::from_ref(key))]);
    let token = format!("{}.{}", message(alg), encode_url(signature));
    judge(&tables, &token).0 == 200
}

/// `a + b` of numbers with the big end first; of their length, for sums that fit.
fn add(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut sum = a.to_vec();
    for (digit, other) in sum.iter_mut().rev().zip(b.iter().rev()) {
        let total = u16::from(*digit) + u16::from(*other) + carry;
        *digit = u8::try_from(total & 255).unwrap();
        carry = total >> 8;
    }
    sum
}

#[test]
fn ecdsa_signatures_are_two_numbers_of_the_groups_and_nothing_else() {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref().to_vec();
    let (x, y) = (encode_url(&point[1..33]), encode_url(&point[33..]));
    let key = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
    let good = pair.sign(&random, message("ES256").as_bytes()).unwrap();
    let good = good.as_ref().to_vec();
    assert!(is_accepted(&key, "ES256", &good));
    let (r, s) = (&good[..32], &good[32..]);
    let (zero, n) = (vec![0; 32], hex(N_P256));
    let one = [vec![0; 31], vec![1]].concat();
    let max = vec![255; 32];
    let numbers = [&zero, &one, &n, &max, &r.to_vec(), &s.to_vec()];
    for first in numbers {
        for second in numbers {
            let forged = [first.as_slice(), second].concat();
            if forged != good {
                assert!(!is_accepted(&key, "ES256", &forged), "{forged:02x?}");
            }
        }
    }
    let der = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::EcPrivateKeyBin<'_>>::as_be_bytes(
            &pair.private_key(),
        )
        .unwrap()
        .as_ref(),
        &point,
    );
    let der = der.unwrap().sign(&random, message("ES256").as_bytes());
    let der = der.unwrap().as_ref().to_vec();
    let padded = |zeros: usize| [vec![0; zeros], r.to_vec(), vec![0; zeros], s.to_vec()].concat();
    let shapes = [
        ("as DER", der.clone()),
        ("as DER, cut", der[..64].to_vec()),
        ("empty", Vec::new()),
        ("only r", r.to_vec()),
        ("short by one", good[..63].to_vec()),
        ("without its first byte", good[1..].to_vec()),
        ("long by one", [&good[..], &[0]].concat()),
        ("a zero in front", [&[0], &good[..]].concat()),
        ("zeros in front of both", padded(1)),
        ("as if for P-521", padded(34)),
        ("s and r", [s, r].concat()),
        ("twice", [&good[..], &good].concat()),
        ("r beyond the order", [&add(r, &n)[..], s].concat()),
        ("s beyond the order", [r, &add(s, &n)[..]].concat()),
    ];
    for (what, forged) in shapes {
        assert!(!is_accepted(&key, "ES256", &forged), "{what}");
    }
    // A good signature for another curve's algorithm.
    assert!(!is_accepted(&key, "ES384", &good));
}

#[test]
fn points_that_are_not_on_their_curve_are_no_keys() {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref().to_vec();
    let good = pair.sign(&random, message("ES384").as_bytes()).unwrap();
    let good = good.as_ref();
    let key = |x: &[u8], y: &[u8]| {
        let (x, y) = (encode_url(x), encode_url(y));
        json!({"kty": "EC", "crv": "P-384", "x": x, "y": y})
    };
    let (x, y) = (&point[1..49], &point[49..]);
    assert!(is_accepted(&key(x, y), "ES384", good));
    let mut off = y.to_vec();
    off[47] ^= 1;
    let zero = [0; 48];
    for (x, y) in [
        (x, &off[..]),
        (&zero, &zero),
        (x, &zero),
        (y, x),
        (&x[1..], y),
        (x, &y[..47]),
    ] {
        for signature in [good, &[0; 96]] {
            assert!(!is_accepted(&key(x, y), "ES384", signature));
        }
    }
    let mut other_curve = key(x, y);
    other_curve["crv"] = "P-256".into();
    assert!(!is_accepted(&other_curve, "ES384", good));
}

#[test]
fn ed25519_takes_no_second_spelling_and_no_point_of_low_order() {
    let issuer = Issuer::new(3);
    let key = issuer.jwk(None);
    let good = issuer.pair.sign(message("EdDSA").as_bytes());
    let good = good.as_ref();
    assert!(is_accepted(&key, "EdDSA", good));
    let (r, s) = good.split_at(32);
    // little end first, so that the digits are turned round
    let turned = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
    let order = hex(L_ED25519);
    let beyond = turned(&add(&turned(s), &turned(&order)));
    for (what, forged) in [
        ("s beyond the order", [r, &beyond].concat()),
        ("s is the order", [r, &order].concat()),
        ("s is zero", [r, &[0; 32]].concat()),
        ("r is zero", [&[0; 32], s].concat()),
        ("all is zero", vec![0; 64]),
        ("short", good[..63].to_vec()),
        ("long", [good, &[0]].concat()),
    ] {
        assert!(!is_accepted(&key, "EdDSA", &forged), "{what}");
    }
    // The neutral element as key verifies R = [s]B of any message where low order is not refused.
    let neutral = [&[1][..], &[0; 31]].concat();
    let low_order = [
        neutral.clone(),
        vec![0; 32],
        hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
        hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
    ];
    for point in low_order {
        let x = encode_url(&point);
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        // The base point for s = 1, and the neutral element for s = 0.
        let base = hex("5866666666666666666666666666666666666666666666666666666666666666");
        let one = [&[1][..], &[0; 31]].concat();
        for (r, s) in [
            (&base, &one),
            (&neutral, &vec![0; 32]),
            (&point, &vec![0; 32]),
        ] {
            let forged = [r.as_slice(), s].concat();
            let accepted = is_accepted(&key, "EdDSA", &forged);
            // Only who publishes such a key could be forged, and it is the issuer who publishes; a
            // key that anybody can sign for is refused all the same.
            assert!(!accepted, "{point:02x?}");
        }
    }
}

#[test]
fn rsa_keys_are_large_and_signatures_have_their_own_padding() {
    let random = SystemRandom::new();
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let n = pair.public_key().as_ref()[9..9 + 256].to_vec();
    let key = |n: &[u8], e: &[u8]| {
        let (n, e) = (encode_url(n), encode_url(e));
        json!({"kty": "RSA", "n": n, "e": e})
    };
    let sign = |how: &'static dyn aws_lc_rs::signature::RsaEncoding, alg: &str| {
        let mut signature = vec![0; 256];
        pair.sign(how, &random, message(alg).as_bytes(), &mut signature)
            .unwrap();
        signature
    };
    let (usual, zeros) = ([1, 0, 1], [0, 0, 1, 0, 1]);
    let good = sign(&RSA_PKCS1_SHA256, "RS256");
    assert!(is_accepted(&key(&n, &usual), "RS256", &good));
    assert!(
        is_accepted(&key(&[&[0], &n[..]].concat(), &zeros), "RS256", &good),
        "leading zeros"
    );
    let pss = sign(&RSA_PSS_SHA256, "PS256");
    assert!(is_accepted(&key(&n, &usual), "PS256", &pss));
    for (what, alg, forged) in [
        ("another padding", "RS256", sign(&RSA_PSS_SHA256, "RS256")),
        ("another padding", "PS256", sign(&RSA_PKCS1_SHA256, "PS256")),
        (
            "another hash, and so another salt",
            "PS256",
            sign(&RSA_PSS_SHA384, "PS256"),
        ),
        ("the modulus itself", "RS256", n.clone()),
        ("zero", "RS256", vec![0; 256]),
        ("one", "RS256", [vec![0; 255], vec![1]].concat()),
        ("beyond the modulus", "RS256", vec![255; 256]),
        ("short", "RS256", good[..255].to_vec()),
        ("long", "RS256", [&good[..], &[0]].concat()),
        ("a zero in front", "RS256", [&[0], &good[..]].concat()),
        ("empty", "RS256", Vec::new()),
    ] {
        assert!(!is_accepted(&key(&n, &usual), alg, &forged), "{what}");
    }
    // With the exponent 1 a signature is its own padding: whoever knows that can forge.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message("RS256").as_bytes());
    let info = hex("3031300d060960864801650304020105000420");
    let tail = [&[0], &info[..], digest.as_ref()].concat();
    let padding = vec![255; 256 - 2 - tail.len()];
    let identity = [&[0, 1], &padding[..], &tail].concat();
    for exponent in [&[1][..], &[0], &[2], &[], &[1, 0, 0]] {
        assert!(
            !is_accepted(&key(&n, exponent), "RS256", &identity),
            "{exponent:?}"
        );
        assert!(
            !is_accepted(&key(&n, exponent), "RS256", &good),
            "{exponent:?}"
        );
    }
}

#[test]
fn small_rsa_keys_are_not_used() {
    // openssl genrsa 1024, and what it signed.
    let (n, signature) = SMALL;
    let key = json!({"kty": "RSA", "n": encode_url(&hex(n)), "e": "AQAB"});
    assert!(decode("AQAB").is_some_and(|e| e == [1, 0, 1]));
    assert!(!is_accepted(&key, "RS256", &hex(signature)));
}

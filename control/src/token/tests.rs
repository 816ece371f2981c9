//! Tokens that are good, and all the ways in which they are not.

use std::path::PathBuf;

use super::*;

const NOW: u64 = 1_800_000_000;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let unique = format!("sallyport-token-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn web() -> Identity {
    Identity::new("cluster.local", "shop", "web").unwrap()
}

#[test]
fn a_token_says_who_its_holder_may_become() {
    let scratch = Scratch::new("good");
    let token = TokenKey::open(&scratch.0)
        .unwrap()
        .create(&web(), NOW, TTL_DEFAULT)
        .unwrap();
    // the key is kept: another process takes the token
    let claims = TokenKey::open(&scratch.0)
        .unwrap()
        .verify(&token, NOW + 10)
        .unwrap();
    assert_eq!(claims.identity, web());
    assert_eq!(claims.ends, NOW + 3_600);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(scratch.0.join(KEY_FILE))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn every_other_token_is_refused() {
    let (scratch, other) = (Scratch::new("bad"), Scratch::new("other"));
    let key = TokenKey::open(&scratch.0).unwrap();
    let good = json!({
        "iss": ISSUER, "aud": [AUDIENCE], "sub": web().to_string(),
        "nbf": NOW, "exp": NOW + 60, "jti": "1",
    });
    let es256 = json!({"alg": "ES256"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.sign(&es256, &claims).unwrap()
    };
    assert!(key.verify(&key.sign(&es256, &good).unwrap(), NOW).is_ok());
    let stranger = TokenKey::open(&other.0)
        .unwrap()
        .sign(&es256, &good)
        .unwrap();
    let none = key.sign(&json!({"alg": "none"}), &good).unwrap();
    let (text, _) = none.rsplit_once('.').unwrap();
    for (token, why) in [
        (String::new(), "not a JWT"),
        ("a.b.c".to_owned(), "not a JWT"),
        ("x".repeat(100_000), "too long"),
        (format!("{text}."), "not signed with ES256"),
        (none, "not signed with ES256"),
        (
            key.sign(&json!({"alg": "HS256"}), &good).unwrap(),
            "not signed with ES256",
        ),
        (stranger, "not signed by this"),
        (with("iss", json!("x")), "another issuer"),
        (with("aud", json!(["vault"])), "another audience"),
        (with("aud", json!("istio-ca-not")), "another audience"),
        (with("exp", json!(NOW)), "expired"),
        (with("exp", Value::Null), "no time"),
        (with("nbf", json!(NOW + 61)), "not good yet"),
        (with("sub", json!("web")), "names no workload"),
        (
            with("sub", json!("spiffe://cluster.local/ns/../sa/x")),
            "names no workload",
        ),
        (with("jti", Value::Null), "names no workload"),
    ] {
        let error = key.verify(&token, NOW).unwrap_err();
        assert!(error.0.contains(why), "{error}, not {why}");
    }
}

#[test]
fn a_token_lives_a_day_at_most() {
    let scratch = Scratch::new("long");
    let key = TokenKey::open(&scratch.0).unwrap();
    let token = key
        .create(&web(), NOW, Duration::from_secs(10 * 365 * 86_400))
        .unwrap();
    assert_eq!(key.verify(&token, NOW).unwrap().ends, NOW + 86_400);
}

#[test]
fn a_token_certifies_one_key() {
    let used = UsedTokens::default();
    let claims = |id: &str| Claims {
        identity: web(),
        id: id.to_owned(),
        ends: NOW + 60,
    };
    used.bind(&claims("1"), b"key", NOW).unwrap();
    used.bind(&claims("1"), b"key", NOW).unwrap();
    assert!(used.bind(&claims("1"), b"thief", NOW).is_err());
    used.bind(&claims("2"), b"thief", NOW).unwrap();
}

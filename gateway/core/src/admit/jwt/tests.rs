//! Every trick with tokens that needs no network, and what becomes of the good ones.

use super::*;
use crate::admit::jwks::{KeyStore, Misses};
use crate::admit::{Cleared, admit, base64url::encode_url};
use crate::call::{HeaderLines, Scheme};
use crate::plan::EditSink;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use sallyport_config::ir::{Origin, Snapshot};
use serde_json::{Value, json};

mod algorithms;
mod forgeries;

/// When tests take place.
const NOW: u64 = 1_800_000_000;

struct Lines(Vec<(String, String)>);

impl HeaderLines for Lines {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut lines = self.0.iter().filter(|(key, _)| key == name);
        lines.any(|(_, value)| visit(value.as_bytes()))
    }
    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.0.iter().filter(|(key, _)| key == name);
        lines.next().map(|(_, value)| value.as_bytes())
    }
}

impl EditSink for Lines {
    fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }
    fn remove_like(&mut self, name: &str) {
        self.0
            .retain(|(key, _)| key.replace('_', "-") != name.replace('_', "-"));
    }
    fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }
    fn add(&mut self, name: &str, value: &[u8]) {
        let value = String::from_utf8(value.to_vec()).unwrap();
        self.0.push((name.to_owned(), value));
    }
}

/// Signs with Ed25519, which is quick.
struct Issuer {
    pair: Ed25519KeyPair,
}

impl Issuer {
    fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Self { pair }
    }

    fn jwk(&self, id: Option<&str>) -> Value {
        let x = encode_url(self.pair.public_key().as_ref());
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        if let Some(id) = id {
            key["kid"] = id.into();
        }
        key
    }

    fn sign(&self, header: &str, payload: &str) -> String {
        let signed = [
            encode_url(header.as_bytes()),
            encode_url(payload.as_bytes()),
        ]
        .join(".");
        let signature = encode_url(self.pair.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }

    fn token(&self, payload: &Value) -> String {
        self.sign(r#"{"alg":"EdDSA","kid":"a"}"#, &payload.to_string())
    }
}

fn set(keys: &[Value]) -> Arc<str> {
    json!({ "keys": keys }).to_string().into()
}

fn rule(issuer: &str, keys: &[Value]) -> JwtRule {
    JwtRule {
        issuer: issuer.to_owned(),
        audiences: Vec::new(),
        keys: JwtKeys::Inline(set(keys)),
        from: vec![
            TokenPlace::Header {
                name: "authorization".to_owned(),
                prefix: "Bearer ".to_owned(),
            },
            TokenPlace::Param("access_token".to_owned()),
        ],
        forward: false,
        payload_header: None,
        claim_headers: Vec::new(),
        space_delimited: vec!["scope".to_owned()],
        required: false,
        origin: Origin {
            kind: "RequestAuthentication",
            namespace: "ns".into(),
            name: "r".into(),
            path: String::new(),
            location: String::new(),
        },
    }
}

fn tables(jwt: Vec<JwtRule>) -> Tables {
    Tables::build(Arc::new(Snapshot {
        policies: Policies {
            jwt,
            ..Policies::default()
        },
        ..Snapshot::default()
    }))
}

struct Outcome {
    status: u16,
    body: String,
    details: String,
    challenge: Option<String>,
    admitted: Admitted,
    /// Fields as routes and upstreams see them.
    fields: Vec<(String, String)>,
    query: Option<String>,
}

fn ask(tables: &Tables, lines: &[(&str, &str)], query: Option<&str>) -> Outcome {
    ask_with(
        tables,
        lines,
        query,
        "GET",
        &Context {
            unix_seconds: NOW,
            ..Context::default()
        },
    )
}

fn ask_with(
    tables: &Tables,
    lines: &[(&str, &str)],
    query: Option<&str>,
    method: &str,
    context: &Context<'_>,
) -> Outcome {
    let owned = lines
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut fields = Lines(owned.collect());
    let call = Call {
        scheme: Scheme::Http,
        method,
        authority: "a.test",
        path: "/p",
        query,
        headers: &fields,
        client: ([127, 0, 0, 1], 1).into(),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 80).into(),
        sni: None,
        identity: None,
    };
    match admit(tables, &call, context, &Cleared::nothing()) {
        Ok(admitted) => {
            let query = admitted.edits().query(query).map(str::to_owned);
            admitted.edits().apply(&mut fields);
            Outcome {
                status: 200,
                body: String::new(),
                details: String::new(),
                challenge: None,
                admitted,
                fields: fields.0,
                query,
            }
        }
        Err(reply) => {
            let mut challenges = reply.headers.iter();
            let challenge = challenges.find(|(name, _)| name == "www-authenticate");
            Outcome {
                status: reply.status,
                body: String::from_utf8(reply.body.to_vec()).unwrap(),
                details: reply.details.to_string(),
                challenge: challenge.map(|(_, value)| value.to_string()),
                admitted: Admitted::default(),
                fields: Vec::new(),
                query: None,
            }
        }
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Status and body for one token in the usual header.
fn judge(tables: &Tables, token: &str) -> (u16, String) {
    let outcome = ask(tables, &[("authorization", &bearer(token))], None);
    (outcome.status, outcome.body)
}

fn claims_of(outcome: &Outcome, name: &str) -> Vec<String> {
    let mut values = Vec::new();
    outcome.admitted.claims().any(&[name.to_owned()], |value| {
        values.push(value.to_owned());
        false
    });
    values
}

#[test]
fn a_good_token_says_who_calls_and_is_taken_out() {
    let issuer = Issuer::new(1);
    let tables = tables(vec![rule("i", &[issuer.jwk(Some("a"))])]);
    let token =
        issuer.token(&json!({"iss": "i", "sub": "s", "scope": "r w", "n": 1, "g": ["x", 2]}));
    let outcome = ask(
        &tables,
        &[("authorization", &bearer(&token)), ("x-a", "1")],
        Some("q=1"),
    );
    assert_eq!((outcome.status, &*outcome.body), (200, ""));
    assert_eq!(claims_of(&outcome, "sub"), ["s"]);
    assert_eq!(claims_of(&outcome, "scope"), ["r", "w"]);
    assert_eq!(claims_of(&outcome, "g"), ["x"]);
    assert!(claims_of(&outcome, "n").is_empty());
    assert_eq!(outcome.fields, [("x-a".to_owned(), "1".to_owned())]);
    assert_eq!(outcome.query.as_deref(), Some("q=1"));
    let query = format!("a=b&access_token={token}&c");
    let outcome = ask(&tables, &[], Some(&query));
    assert_eq!(
        (outcome.status, outcome.query.as_deref()),
        (200, Some("a=b&c"))
    );
    let outcome = ask(&tables, &[], Some(&format!("access_token={token}")));
    assert_eq!((outcome.status, outcome.query), (200, None));
}

#[test]
fn no_token_passes_and_claims_nothing() {
    let tables = tables(vec![rule("i", &[Issuer::new(1).jwk(None)])]);
    for lines in [
        vec![],
        vec![("authorization", "Basic eDp5")],
        // as Envoy: the scheme's name is compared byte by byte
        vec![("authorization", "bearer a.b.c")],
        vec![("x-other", "Bearer a.b.c")],
    ] {
        let outcome = ask(&tables, &lines, Some("x=1"));
        assert_eq!(outcome.status, 200, "{lines:?}");
        assert!(claims_of(&outcome, "sub").is_empty());
    }
}

#[test]
fn headers_of_tokens_have_no_tricks() {
    let issuer = Issuer::new(1);
    let tables = tables(vec![rule("i", &[issuer.jwk(Some("a"))])]);
    let payload = r#"{"iss":"i"}"#;
    let unknown = "Jwt header [alg] is not supported";
    let no_string = "Jwt header [alg] field is required and must be a string";
    let no_key = "Jwks doesn't have key to match kid or alg from Jwt";
    let jwk = issuer.jwk(None);
    for (header, want) in [
        (r#"{"alg":"EdDSA","kid":"a"}"#.to_owned(), ""),
        (r#"{"alg":"EdDSA"}"#.to_owned(), ""),
        (r#"{"alg":"none"}"#.to_owned(), unknown),
        (r#"{"alg":"None"}"#.to_owned(), unknown),
        (r#"{"alg":"NONE"}"#.to_owned(), unknown),
        (r#"{"alg":"nOnE"}"#.to_owned(), unknown),
        (r#"{"alg":"HS256"}"#.to_owned(), unknown),
        (r#"{"alg":"eddsa"}"#.to_owned(), unknown),
        (r#"{"alg":"RS256"}"#.to_owned(), no_key),
        (r#"{"alg":"ES256","kid":"a"}"#.to_owned(), no_key),
        (r#"{"kid":"a"}"#.to_owned(), no_string),
        (r#"{"alg":["EdDSA"]}"#.to_owned(), no_string),
        (r#"{"alg":"EdDSA","kid":"b"}"#.to_owned(), no_key),
        (r#"{"alg":"EdDSA","kid":"../../a"}"#.to_owned(), no_key),
        (r#"{"alg":"EdDSA","kid":"a' OR 1=1"}"#.to_owned(), no_key),
        (
            r#"{"alg":"EdDSA","kid":1}"#.to_owned(),
            "Jwt header [kid] field must be a string",
        ),
        (
            r#"{"alg":"EdDSA","alg":"EdDSA"}"#.to_owned(),
            "Jwt header is an invalid JSON",
        ),
        (r#"["EdDSA"]"#.to_owned(), "Jwt header is an invalid JSON"),
        (
            r#"{"alg":"EdDSA","crit":["x"],"x":1}"#.to_owned(),
            "Jwt header [crit] is not supported",
        ),
        (
            r#"{"alg":"EdDSA","b64":false}"#.to_owned(),
            "Jwt header [crit] is not supported",
        ),
        // keys that the token brings along are not looked at
        (
            json!({"alg": "EdDSA", "kid": "b", "jwk": jwk}).to_string(),
            no_key,
        ),
        (
            json!({"alg": "EdDSA", "kid": "b", "jku": "http://127.0.0.1:1/"}).to_string(),
            no_key,
        ),
    ] {
        let want = (if want.is_empty() { 200 } else { 401 }, want.to_owned());
        assert_eq!(
            judge(&tables, &issuer.sign(&header, payload)),
            want,
            "{header}"
        );
    }
}

#[test]
fn payloads_have_no_tricks() {
    let issuer = Issuer::new(1);
    let mut wanted = rule("i", &[issuer.jwk(Some("a"))]);
    wanted.audiences = vec!["aud1".to_owned(), "https://aud2".to_owned()];
    let tables = tables(vec![rule("j", &[issuer.jwk(Some("a"))]), wanted]);
    let deep = format!(
        r#"{{"iss":"j","a":{}{}}}"#,
        "[".repeat(3_000),
        "]".repeat(3_000)
    );
    let at = |name: &str, delta: i64| {
        json!({"iss": "j", name: i64::try_from(NOW).unwrap() + delta}).to_string()
    };
    let expiry = "Jwt payload [exp] field must be an integer or within valid range";
    let unknown = "Jwt issuer is not configured";
    let audience = "Audiences in Jwt are not allowed";
    let json = "Jwt payload is an invalid JSON";
    for (payload, want) in [
        (r#"{"iss":"j"}"#.to_owned(), ""),
        (at("exp", 30), ""),
        (at("exp", -30), ""),
        (at("exp", -120), "Jwt is expired"),
        (at("nbf", 30), ""),
        (at("nbf", 300), "Jwt not yet valid"),
        (r#"{"iss":"j","exp":"4102444800"}"#.to_owned(), expiry),
        (r#"{"iss":"j","exp":-1}"#.to_owned(), expiry),
        (r#"{"iss":"j","exp":1e30}"#.to_owned(), expiry),
        (
            r#"{"iss":"j","exp":1000000000000000000000000000000}"#.to_owned(),
            expiry,
        ),
        (r#"{"iss":"j","exp":null}"#.to_owned(), expiry),
        (r#"{"iss":"j","exp":4102444800.5}"#.to_owned(), ""),
        (r#"{"iss":"x"}"#.to_owned(), unknown),
        (r#"{"iss":"j/"}"#.to_owned(), unknown),
        (r#"{"sub":"s"}"#.to_owned(), unknown),
        (
            r#"{"iss":["j"]}"#.to_owned(),
            "Jwt payload [iss] field must be a string",
        ),
        (r#"{"iss":"j","iss":"j"}"#.to_owned(), json),
        (
            r#"{"iss":"j","sub":1}"#.to_owned(),
            "Jwt payload [sub] field must be a string",
        ),
        ("not json".to_owned(), json),
        (r#"["iss"]"#.to_owned(), json),
        (deep, json),
        (r#"{"iss":"i","aud":"aud1"}"#.to_owned(), ""),
        (r#"{"iss":"i","aud":["x","aud1"]}"#.to_owned(), ""),
        (r#"{"iss":"i","aud":"https://aud1/"}"#.to_owned(), ""),
        (r#"{"iss":"i","aud":"aud2"}"#.to_owned(), ""),
        (r#"{"iss":"i","aud":"aud"}"#.to_owned(), audience),
        (r#"{"iss":"i"}"#.to_owned(), audience),
        (
            r#"{"iss":"i","aud":1}"#.to_owned(),
            "Jwt payload [aud] field must be a string or string list",
        ),
    ] {
        let status = match want {
            "" => 200,
            text if text == audience => 403,
            _ => 401,
        };
        let token = issuer.sign(r#"{"alg":"EdDSA","kid":"a"}"#, &payload);
        assert_eq!(
            judge(&tables, &token),
            (status, want.to_owned()),
            "{payload:.60}"
        );
    }
}

#[test]
fn spellings_of_tokens_have_no_tricks() {
    let issuer = Issuer::new(1);
    let tables = tables(vec![rule("i", &[issuer.jwk(Some("a"))])]);
    let good = issuer.token(&json!({"iss": "i"}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let other = Issuer::new(2).token(&json!({"iss": "i"}));
    let other = other.rsplit_once('.').unwrap().1;
    let large = |size: usize| issuer.token(&json!({"iss": "i", "x": "x".repeat(size)}));
    for (token, status) in [
        (good.clone(), 200),
        (format!("{signed}."), 401),
        (signed.to_owned(), 401),
        (format!("{good}."), 401),
        (format!("{good}.{signature}"), 401),
        (format!("{good}="), 401),
        (format!("{header}=.{payload}.{signature}"), 401),
        (format!("{header}.{payload}.{other}"), 401),
        (format!("{header}. {payload}.{signature}"), 401),
        (format!("{header}\0.{payload}.{signature}"), 401),
        (format!("{good},{}", bearer(&good)), 401),
        (format!("{good} {good}"), 401),
        (good.replace('_', "/").replace('-', "+") + "/", 401),
        ("a.b.c".to_owned(), 401),
        ("..".to_owned(), 401),
        (String::new(), 401),
        (large(8_900), 200),
        (large(16_000), 401),
        (large(70_000), 401),
    ] {
        assert_eq!(judge(&tables, &token).0, status, "{token:.80}");
    }
}

#[test]
fn every_presented_token_must_be_good() {
    let issuer = Issuer::new(1);
    let tables = tables(vec![rule("i", &[issuer.jwk(Some("a"))])]);
    let good = issuer.token(&json!({"iss": "i"}));
    let bad = Issuer::new(2).token(&json!({"iss": "i"}));
    let (good_line, bad_line) = (bearer(&good), bearer(&bad));
    let good_query = format!("access_token={good}");
    let bad_query = format!("access_token={bad}");
    let name = "authorization";
    for (lines, query, status) in [
        (vec![(name, &*good_line)], Some(&good_query), 200),
        (vec![(name, &*good_line)], Some(&bad_query), 401),
        (vec![(name, &*bad_line)], Some(&good_query), 401),
        (vec![(name, &*good_line), (name, &*good_line)], None, 401),
        (vec![(name, &*good_line), (name, &*bad_line)], None, 401),
        (vec![(name, "Basic x"), (name, &*good_line)], None, 401),
        (vec![(name, "Basic x"), (name, "Basic y")], None, 200),
    ] {
        let outcome = ask(&tables, &lines, query.map(String::as_str));
        assert_eq!(outcome.status, status, "{lines:?} {query:?}");
    }
}

#[test]
fn places_prefixes_and_outputs_are_as_written() {
    let issuer = Issuer::new(1);
    let mut rule = rule("i", &[issuer.jwk(Some("a"))]);
    let header = |name: &str, prefix: &str| TokenPlace::Header {
        name: name.to_owned(),
        prefix: prefix.to_owned(),
    };
    rule.from = vec![
        header("x-token", "Token "),
        header("x-raw", ""),
        TokenPlace::Param("t".to_owned()),
        TokenPlace::Cookie("session".to_owned()),
    ];
    let path = |text: &str| text.split('.').map(str::to_owned).collect();
    rule.payload_header = Some("x-payload".to_owned());
    rule.claim_headers = [
        ("x-sub", "sub"),
        ("x-n", "o.n"),
        ("x-o", "o"),
        ("x-none", "none"),
    ]
    .map(|(name, claim)| (name.to_owned(), path(claim)))
    .to_vec();
    let tables = tables(vec![rule.clone()]);
    let token = issuer.token(&json!({"iss": "i", "sub": "s", "o": {"n": 1, "b": [true]}}));
    let with = format!("Token {token}");
    let cookie = format!("a=b; session={token}; c=d");
    for lines in [
        [("x-token", &*with)],
        [("x-raw", &*token)],
        [("cookie", &*cookie)],
    ] {
        let spoofed = [
            ("x-sub", "root"),
            ("x_sub", "root"),
            ("x-payload", "e30"),
            ("x-none", "1"),
        ];
        let outcome = ask(&tables, &[&lines[..], &spoofed].concat(), None);
        let field = |name: &str| {
            let values = outcome.fields.iter().filter(|(key, _)| key == name);
            values.map(|(_, value)| &**value).collect::<Vec<_>>()
        };
        assert_eq!(outcome.status, 200, "{lines:?}");
        assert_eq!(field("x-sub"), ["s"]);
        assert_eq!(field("x-n"), ["1"]);
        assert_eq!(field("x-o"), ["eyJuIjoxLCJiIjpbdHJ1ZV19"]);
        assert_eq!(field("x-payload"), [token.split('.').nth(1).unwrap()]);
        assert!(field("x_sub").is_empty() && field("x-none").is_empty());
        assert!(field("x-token").is_empty() && field("x-raw").is_empty());
    }
    // on an open route, too, what we say about a token is not the client's
    let outcome = ask(&tables, &[("x-sub", "root"), ("x_sub", "root")], None);
    assert_eq!((outcome.status, outcome.fields), (200, vec![]));
    // only these places
    assert_eq!(judge(&tables, "a.b.c").0, 200);
    rule.forward = true;
    let tables = self::tables(vec![rule]);
    let outcome = ask(&tables, &[("x-token", &with)], Some("t="));
    assert!(outcome.fields.contains(&("x-token".to_owned(), with)));
    assert_eq!(
        crate::admit::without_tokens(&tables, Some("a&t=x&b")),
        Some(Some("a&b".to_owned()))
    );
    assert_eq!(
        crate::admit::without_tokens(&tables, Some("t=x")),
        Some(None)
    );
    assert_eq!(crate::admit::without_tokens(&tables, Some("a=t")), None);
}

#[test]
fn denials_are_in_envoys_words() {
    let issuer = Issuer::new(1);
    let mut required = rule("i", &[issuer.jwk(Some("a"))]);
    required.required = true;
    let tables = tables(vec![required]);
    let expired = issuer.token(&json!({"iss": "i", "exp": 1}));
    let outcome = ask(&tables, &[("authorization", &bearer(&expired))], Some("x"));
    assert_eq!(outcome.details, "jwt_authn_access_denied{Jwt_is_expired}");
    let challenge = r#"Bearer realm="http://a.test/p", error="invalid_token""#;
    assert_eq!(outcome.challenge.as_deref(), Some(challenge));
    let outcome = ask(&tables, &[], None);
    assert_eq!((outcome.status, &*outcome.body), (401, "Jwt is missing"));
    assert_eq!(
        outcome.challenge.as_deref(),
        Some(r#"Bearer realm="http://a.test/p""#)
    );
    // a browser's preflight carries no token, and its own expired one is not looked at
    let context = Context {
        unix_seconds: NOW,
        ..Context::default()
    };
    let preflight = [
        ("origin", "http://b"),
        ("access-control-request-method", "GET"),
        ("authorization", &*bearer(&expired)),
    ];
    assert_eq!(
        ask_with(&tables, &preflight, None, "OPTIONS", &context).status,
        200
    );
    assert_eq!(
        ask_with(&tables, &preflight[1..], None, "OPTIONS", &context).status,
        401
    );
}

#[test]
fn keys_from_elsewhere_fail_closed_until_they_are_there() {
    let issuer = Issuer::new(1);
    let uri = "https://i/keys";
    let mut remote = rule("i", &[]);
    remote.keys = JwtKeys::Remote {
        uri: uri.to_owned(),
        timeout: sallyport_config::ir::Millis(5_000),
    };
    let tables = tables(vec![remote]);
    let line = bearer(&issuer.token(&json!({"iss": "i"})));
    let lines = [("authorization", &*line)];
    let outcome = ask(&tables, &lines, None);
    assert_eq!(
        (outcome.status, &*outcome.body),
        (401, "Jwks remote fetch is failed")
    );
    let mut store = KeyStore::default();
    let keys = KeySet::parse(&set(&[issuer.jwk(None)])).unwrap();
    store.insert(uri, Arc::new(keys));
    let cache = TokenCache::default();
    let context = Context {
        unix_seconds: NOW,
        keys: Some(&store),
        cache: Some(&cache),
        ..Context::default()
    };
    for _ in 0..2 {
        assert_eq!(ask_with(&tables, &lines, None, "GET", &context).status, 200);
        assert_eq!(cache.len(), 1);
    }
    // what was good with other keys is asked again
    let mut rotated = KeyStore::default();
    let keys = KeySet::parse(&set(&[Issuer::new(2).jwk(None)])).unwrap();
    rotated.insert(uri, Arc::new(keys));
    let misses = Misses::default();
    let context = Context {
        keys: Some(&rotated),
        misses: Some(&misses),
        ..context
    };
    for _ in 0..2 {
        let outcome = ask_with(&tables, &lines, None, "GET", &context);
        assert_eq!(
            (outcome.status, &*outcome.body),
            (401, "Jwt verification fails")
        );
        assert_eq!(cache.len(), 1, "what is not good is not kept");
    }
    assert_eq!(misses.take(), [uri.into()], "once, however often");
    assert!(misses.take().is_empty());
    for broken in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(KeySet::parse(broken).is_err(), "{broken}");
    }
}

//! Tokens, key sets and authorities of any bytes.

use std::sync::Arc;

use sallyport_config::ir::{JwtKeys, JwtRule, Origin, Policies, Snapshot, TokenPlace};

use super::check;
use crate::admit::{Cleared, Context, KeySet, TokenCache, admit, without_tokens};
use crate::authority;
use crate::call::{Call, HeaderLines, Scheme};
use crate::tables::Tables;

/// A field and a query, as a client sends them.
struct Line<'a>(&'a [u8]);

impl HeaderLines for Line<'_> {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        name == "authorization" && visit(self.0)
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        (name == "authorization").then_some(self.0)
    }
}

/// The public half of a key whose other half nobody has.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519",
"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"EC","crv":"P-256",
"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

fn tables() -> Tables {
    let rule = JwtRule {
        issuer: "i".to_owned(),
        audiences: Vec::new(),
        keys: JwtKeys::Inline(KEYS.into()),
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
        space_delimited: Vec::new(),
        required: true,
        origin: Origin {
            kind: "RequestAuthentication",
            namespace: "ns".into(),
            name: "r".into(),
            path: String::new(),
            location: String::new(),
        },
    };
    Tables::build(Arc::new(Snapshot {
        policies: Policies {
            jwt: vec![rule],
            ..Policies::default()
        },
        ..Snapshot::default()
    }))
}

/// Tokens in a field and in the query: never believed, for nobody can sign them, the same verdict
/// with and without a cache, and never left in what is logged.
pub fn fuzz_jwt_token(data: &[u8]) {
    let tables = tables();
    let (line, query) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => data.split_at(at),
        None => (data, &[][..]),
    };
    let query = str::from_utf8(query.get(1..).unwrap_or_default()).ok();
    let headers = Line(line);
    let call = Call {
        scheme: Scheme::Https,
        method: "GET",
        authority: "a.test",
        path: "/",
        query,
        headers: &headers,
        client: ([127, 0, 0, 1], 1).into(),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 443).into(),
        sni: None,
        identity: None,
    };
    let cache = TokenCache::default();
    let ask = |cache| {
        let context = Context {
            unix_seconds: 1_800_000_000,
            cache,
            ..Context::default()
        };
        let verdict = admit(&tables, &call, &context, &Cleared::nothing());
        verdict.map(|_| ()).map_err(|reply| reply.status)
    };
    let verdict = ask(None);
    check(
        matches!(verdict, Err(401 | 403)),
        "a token that nobody signed is good",
    );
    for _ in 0..2 {
        check(
            ask(Some(&cache)) == verdict,
            "the cache has another opinion",
        );
    }
    if let Some(Some(left)) = without_tokens(&tables, query) {
        check(
            without_tokens(&tables, Some(&left))
                .is_none_or(|again| again.as_deref() == Some(&left)),
            "a token is left in the query",
        );
    }
}

/// Key sets: read or refused, never with more keys than they have, and the same each time.
pub fn fuzz_jwks(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(set) = KeySet::parse(text) else {
        return;
    };
    check(set.len() <= data.len() / 2, "keys out of nowhere");
    check(
        KeySet::parse(text) == Ok(set),
        "another set the second time",
    );
}

/// Authorities: what is accepted is made of what was sent, compares with itself, and means the
/// same in another case.
pub fn fuzz_authority(data: &[u8]) {
    let Ok(parsed) = authority::parse(data) else {
        return;
    };
    check(
        data.starts_with(parsed.host),
        "the host is not what was sent",
    );
    let has_odd = parsed
        .host
        .iter()
        .any(|byte| !byte.is_ascii_graphic() || b"/?#@\\,% \"<>^`{|}".contains(byte));
    check(!has_odd, "a byte that no host has");
    for upper in [data.to_ascii_uppercase(), data.to_ascii_lowercase()] {
        let other = authority::parse(&upper);
        check(
            other.is_ok_and(|other| authority::same(parsed, other, 443)),
            "another host in another case",
        );
    }
    let mut written = parsed.host.to_vec();
    if let Some(port) = parsed.port {
        written.extend_from_slice(format!(":{port}").as_bytes());
    }
    check(
        authority::parse(&written) == Ok(parsed),
        "written again it is another one",
    );
}

//! Tokens and authorization policies.

use super::Work;
use super::routes::{call, snapshot};
use sallyport_core::admit::{Context, Inquiry, TokenCache, admit, inquire};
use sallyport_core::call::{Call, HeaderLines};
use sallyport_core::tables::Tables;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

/// Signed with RS256 by a key that nobody has any more; valid until 2100.
const TOKEN: &str = include_str!("token.jwt");
/// Its key.
const JWKS: &str = include_str!("jwks.json");
/// While the token is valid.
const UNIX_SECONDS: u64 = 1_800_000_000;

/// One `authorization` field.
struct Bearer(String);

impl Bearer {
    fn new() -> Self {
        Self(format!("Bearer {}", TOKEN.trim()))
    }
}

impl HeaderLines for Bearer {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        name == "authorization" && visit(self.0.as_bytes())
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        (name == "authorization").then_some(self.0.as_bytes())
    }
}

fn token_rules() -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: bench, namespace: istio-system}}
spec:
  jwtRules:
  - {{issuer: 'https://bench.example.com', jwks: '{}'}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: bench, namespace: istio-system}}
spec:
  rules:
  - from: [{{source: {{requestPrincipals: ['https://bench.example.com/*']}}}}]
",
        JWKS.trim()
    )
}

/// A token that was never seen: its signature is checked.
pub(super) fn jwt_cold() -> Work {
    tokens(None)
}

/// A token whose signature this worker has checked before.
pub(super) fn jwt_warm() -> Work {
    tokens(Some(TokenCache::default()))
}

fn tokens(cache: Option<TokenCache>) -> Work {
    let tables = Tables::build(Arc::new(snapshot("{prefix: /r/}", &token_rules())));
    let bearer = Bearer::new();
    Box::new(move || {
        let call = Call {
            headers: &bearer,
            ..call("h0.example.com", "/r/x")
        };
        let context = Context {
            unix_seconds: UNIX_SECONDS,
            keys: None,
            misses: None,
            cache: cache.as_ref(),
            ..Context::default()
        };
        pass(&tables, &call, &context);
    })
}

/// As many policies, of which one applies to the call.
pub(super) fn authorization(policies: usize) -> Work {
    let mut text = String::new();
    for number in 0..policies {
        let written = write!(
            text,
            "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p{number}, namespace: istio-system}}
spec:
  rules:
  - to: [{{operation: {{hosts: [h{number}.example.com], paths: [/r/*]}}}}]
    from: [{{source: {{ipBlocks: [127.0.0.0/8]}}}}]
"
        );
        assert!(written.is_ok());
    }
    let tables = Tables::build(Arc::new(snapshot("{prefix: /r/}", &text)));
    let host = format!("h{}.example.com", policies / 2);
    Box::new(move || pass(&tables, &call(&host, "/r/x"), &Context::default()))
}

fn pass(tables: &Tables, call: &Call<'_>, context: &Context<'_>) {
    let Ok(Inquiry::Nobody(cleared)) = inquire(tables, black_box(call)) else {
        unreachable!("nobody is there to ask");
    };
    let admitted = admit(tables, black_box(call), context, &cleared);
    assert!(black_box(admitted).is_ok(), "the call of a case is allowed");
}

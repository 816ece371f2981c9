//! Tokens and policies on real sockets: what a denied client is told, what an origin sees.

use sallyport_config::ir;

use super::support::{House, Origin, field, on_each_driver, origin, snapshot};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A public key, and `{"iss":"i","sub":"alice"}` signed with its other half, without expiry.
const JWKS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"Jq9p5SyrSiOVgFXXJCJFhXW6BrqDX8-FL5XQWgiX7sk"}]}"#;
const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJpIiwic3ViIjoiYWxpY2UifQ.\
    MC6BCZ5E05hS5RPDHR5mvQA2O5Asbp6_IQR-hzGmBGaJG3OY8dDSaKQ-R4007OVddmbQBPHxBWBt3MMq4VA3AA";

/// `/alice` is for alice, everything else for everybody; the origin is told who calls.
fn policies() -> ir::Policies {
    let path = |negated| ir::PolicyCondition {
        test: ir::PolicyTest::Path(vec![ir::PathPattern::Text(ir::TextMatch::Exact(
            "/alice".to_owned(),
        ))]),
        negated,
    };
    let alice = ir::PolicyCondition {
        test: ir::PolicyTest::RequestPrincipal(vec![ir::RequestPrincipal {
            issuer: ir::TextMatch::Exact("i".to_owned()),
            subject: ir::TextMatch::Exact("alice".to_owned()),
        }]),
        negated: false,
    };
    let rules = vec![
        ir::PolicyRule {
            to: vec![vec![path(true)]],
            ..ir::PolicyRule::default()
        },
        ir::PolicyRule {
            from: vec![vec![alice]],
            ..ir::PolicyRule::default()
        },
    ];
    ir::Policies {
        jwt: vec![ir::JwtRule {
            issuer: "i".to_owned(),
            audiences: Vec::new(),
            keys: ir::JwtKeys::Inline(JWKS.into()),
            from: vec![
                ir::TokenPlace::Header {
                    name: "authorization".to_owned(),
                    prefix: "Bearer ".to_owned(),
                },
                ir::TokenPlace::Param("access_token".to_owned()),
            ],
            forward: false,
            payload_header: None,
            claim_headers: vec![("x-caller".to_owned(), vec!["sub".to_owned()])],
            space_delimited: Vec::new(),
            required: false,
            origin: origin(),
        }],
        authorization: vec![ir::AuthorizationPolicy {
            action: ir::PolicyAction::Allow,
            dry_run: false,
            authorizer: None,
            rules,
            origin: origin(),
        }],
        authorizers: Vec::new(),
    }
}

#[test]
fn tokens_open_what_policies_close_and_do_not_go_on() {
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let house = House::open(
            driver,
            ir::Snapshot {
                policies: policies(),
                ..snapshot(upstream.address)
            },
        );
        let mut client = house.client();
        let mut ask = |target: &str, fields: &str| {
            let head = format!("GET {target} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n");
            client.ask(head.as_bytes())
        };
        assert_eq!(ask("/", "").status, 200);
        let denied = ask("/alice", "x-caller: alice\r\n");
        assert_eq!((denied.status, &*denied.body), (403, "RBAC: access denied"));
        let refused = ask("/", "authorization: Bearer a.b.c\r\n");
        assert_eq!(refused.status, 401);
        assert_eq!(
            field(&refused.head, "www-authenticate"),
            Some(r#"Bearer realm="http://a.example/", error="invalid_token""#)
        );
        let bearer = format!("authorization: Bearer {TOKEN}\r\nx-caller: root\r\n");
        assert_eq!(ask("/alice?q=1", &bearer).status, 200);
        assert_eq!(
            ask(&format!("/alice?access_token={TOKEN}&b"), "").status,
            200
        );
        assert_eq!(ask("/", "x-caller: root\r\n").status, 200);
        let heads = upstream.heads.lock().unwrap();
        let heads: Vec<&String> = heads.iter().flatten().collect();
        let seen: Vec<_> = heads
            .iter()
            .map(|head| {
                assert!(!head.contains("eyJ"), "{head}");
                let target = head.split(' ').nth(1).unwrap();
                (target, field(head, "x-caller"))
            })
            .collect();
        let expected = [
            ("/", None),
            ("/alice?q=1", Some("alice")),
            ("/alice?b", Some("alice")),
            ("/", None),
        ];
        assert_eq!(seen, expected);
    });
}

//! Tokens and policies on real sockets: what a denied client is told, what an origin sees.

use std::io::Write;
use std::net::TcpStream;

use sallyport_config::ir;

use super::support::{House, Lines, Origin, field, on_each_driver, origin, snapshot};
use super::tcp;
use crate::stats::Watched;

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

/// An action on what `test` is about; `dry` decides nothing.
fn watching(action: ir::PolicyAction, dry: bool, test: ir::PolicyTest) -> ir::AuthorizationPolicy {
    let condition = ir::PolicyCondition {
        test,
        negated: false,
    };
    ir::AuthorizationPolicy {
        action,
        dry_run: dry,
        authorizer: None,
        rules: vec![ir::PolicyRule {
            to: vec![vec![condition]],
            ..ir::PolicyRule::default()
        }],
        origin: origin(),
    }
}

fn guarded(snapshot: ir::Snapshot, all: Vec<ir::AuthorizationPolicy>) -> ir::Snapshot {
    ir::Snapshot {
        policies: ir::Policies {
            authorization: all,
            ..ir::Policies::default()
        },
        ..snapshot
    }
}

const SAID: &str = "%RESPONSE_CODE% %DYNAMIC_METADATA(envoy.common:access_log_hint)% \
    %DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_deny_shadow_engine_result)% \
    %DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_deny_shadow_effective_policy_id)% \
    %DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_allow_shadow_engine_result)%";

#[test]
fn audits_and_dry_runs_are_logged_and_counted_and_decide_nothing() {
    use ir::PolicyAction::{Allow, Audit, Deny};
    let path = |path: &str| {
        let pattern = ir::TextMatch::parse(path);
        ir::PolicyTest::Path(vec![ir::PathPattern::Text(pattern)])
    };
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let lines = Lines::new("watched");
        let mut snapshot = guarded(
            snapshot(upstream.address),
            vec![
                watching(Audit, false, path("/a*")),
                watching(Deny, false, path("/a/no")),
                watching(Deny, true, path("/a/dry")),
                watching(Allow, true, path("/a/yes")),
            ],
        );
        lines.write_to(&mut snapshot, SAID);
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        for (target, status) in [
            ("/a/yes", 200),
            ("/a/dry", 200),
            ("/b", 200),
            ("/a/no", 403),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nhost: a.example\r\n\r\n");
            assert_eq!(client.ask(head.as_bytes()).status, status, "{target}");
        }
        let rule = "ns[test]-policy[test]-rule[0]";
        let want = [
            "200 true allowed - allowed".to_owned(),
            format!("200 true denied {rule} denied"),
            "200 false allowed - denied".to_owned(),
            // who refuses is the last that is asked
            "403 true allowed - -".to_owned(),
        ];
        assert_eq!(lines.take(4), want);
        let want = Watched {
            audited: [1, 3],
            deny: [1, 3],
            allow: [2, 1],
        };
        assert_eq!(house.report().watched, want);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn audits_and_dry_runs_look_at_bytes_too() {
    use ir::PolicyAction::{Allow, Audit, Deny};
    let local = |block: &str| {
        let block = ir::IpBlock::parse(block).unwrap();
        ir::PolicyTest::Address(ir::AddressOf::Peer, vec![block])
    };
    on_each_driver(|driver| {
        let lines = Lines::new("watched-bytes");
        let mut snapshot = guarded(
            tcp::bytes(&[tcp::echo()]),
            vec![
                watching(Audit, false, local("127.0.0.0/8")),
                watching(Deny, true, local("127.0.0.0/8")),
                watching(Allow, true, local("10.0.0.0/8")),
            ],
        );
        lines.write_to(&mut snapshot, &SAID.replace("http.rbac", "network.rbac"));
        let house = House::open(driver, snapshot);
        let mut stream = TcpStream::connect(house.door).unwrap();
        stream.write_all(b"a").unwrap();
        drop(stream);
        let rule = "ns[test]-policy[test]-rule[0]";
        assert_eq!(lines.take(1), [format!("0 true denied {rule} denied")]);
        let want = Watched {
            audited: [0, 1],
            deny: [1, 0],
            allow: [1, 0],
        };
        assert_eq!(house.report().watched, want);
        assert_eq!(house.close(), 0);
    });
}

//! Policies that nearly always almost match.

use super::{HOSTS, PATHS, VALUES, origin};
use crate::agreement::dice::Bytes;
use sallyport_config::ir::*;

pub(super) fn policies(bytes: &mut Bytes<'_>) -> Policies {
    if bytes.chance(40) {
        some_policies(bytes)
    } else {
        Policies::default()
    }
}

pub(super) fn some_policies(bytes: &mut Bytes<'_>) -> Policies {
    let mut authorization: Vec<AuthorizationPolicy> = (0..=bytes.below(3))
        .map(|number| policy(number, bytes))
        .collect();
    authorization.sort_by_key(|policy| policy.action);
    Policies {
        jwt: Vec::new(),
        authorization,
        authorizers: vec![authorizer(bytes)],
    }
}

fn authorizer(bytes: &mut Bytes<'_>) -> Authorizer {
    Authorizer {
        name: "somebody".to_owned(),
        cluster: ClusterId(0),
        host: "somebody.test".to_owned(),
        timeout: Millis(1_000),
        fail_open: false,
        status_on_error: 403,
        body: None,
        protocol: match bytes.chance(50) {
            true => CheckProtocol::Grpc,
            false => CheckProtocol::Http(Box::default()),
        },
    }
}

fn policy(number: u8, bytes: &mut Bytes<'_>) -> AuthorizationPolicy {
    let action = match bytes.below(10) {
        0..=3 => PolicyAction::Allow,
        4..=7 => PolicyAction::Deny,
        8 => PolicyAction::Custom,
        _ => PolicyAction::Audit,
    };
    // much is allowed and little denied, or else routes would never be asked
    let least = u8::from(action == PolicyAction::Allow) * 2;
    AuthorizationPolicy {
        action,
        dry_run: bytes.chance(10),
        authorizer: (action == PolicyAction::Custom && bytes.chance(50)).then_some(AuthorizerId(0)),
        rules: (0..least + bytes.below(3)).map(|_| rule(bytes)).collect(),
        origin: Origin {
            name: format!("p{number}").into(),
            ..origin("spec".to_owned())
        },
    }
}

fn rule(bytes: &mut Bytes<'_>) -> PolicyRule {
    PolicyRule {
        from: bytes.maybe(30, |b| some(2, b, source)).unwrap_or_default(),
        to: bytes
            .maybe(70, |b| some(2, b, operation))
            .unwrap_or_default(),
        when: bytes
            .maybe(30, |b| b.some(2, |b| condition(b, attribute)))
            .unwrap_or_default(),
    }
}

fn some<T>(max: u8, bytes: &mut Bytes<'_>, make: fn(&mut Bytes<'_>) -> T) -> Vec<T> {
    (0..=bytes.below(max)).map(|_| make(bytes)).collect()
}

fn source(bytes: &mut Bytes<'_>) -> Conditions {
    some(2, bytes, |b| condition(b, caller))
}

fn operation(bytes: &mut Bytes<'_>) -> Conditions {
    some(2, bytes, |b| condition(b, request))
}

fn condition(bytes: &mut Bytes<'_>, test: fn(&mut Bytes<'_>) -> PolicyTest) -> PolicyCondition {
    PolicyCondition {
        test: test(bytes),
        negated: bytes.chance(30),
    }
}

fn texts(from: &[&'static str], bytes: &mut Bytes<'_>) -> Vec<TextMatch> {
    bytes.some(3, |bytes| text(from, bytes))
}

fn text(from: &[&'static str], bytes: &mut Bytes<'_>) -> TextMatch {
    let text = bytes.text(from);
    let half = text.floor_char_boundary(text.len() / 2);
    match bytes.below(6) {
        0 => TextMatch::Present,
        1 => TextMatch::Prefix(text.get(..half).unwrap_or_default().to_owned()),
        2 => TextMatch::Prefix(text),
        3 => TextMatch::Suffix(text.get(half..).unwrap_or_default().to_owned()),
        _ => TextMatch::Exact(text),
    }
}

fn caller(bytes: &mut Bytes<'_>) -> PolicyTest {
    match bytes.below(6) {
        0 => PolicyTest::Text(TextOf::Principal, texts(super::IDENTITIES, bytes)),
        1 => PolicyTest::Text(TextOf::Namespace, texts(&["a", "ab", "b", ""], bytes)),
        2 => PolicyTest::Text(
            TextOf::ServiceAccount,
            texts(&["a/x", "ab/x", "a/y"], bytes),
        ),
        3 => PolicyTest::Text(TextOf::TrustDomain, texts(&["td", "td2", "t"], bytes)),
        4 => {
            let of = bytes.pick(&[Some(AddressOf::Peer), Some(AddressOf::Client)]);
            let blocks = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "::/0", "127.0.0.1"];
            let blocks = bytes.some(2, |bytes| IpBlock::parse(bytes.pick(&blocks)));
            let blocks = blocks.into_iter().flatten().collect();
            PolicyTest::Address(of.unwrap_or(AddressOf::Local), blocks)
        }
        _ => PolicyTest::RequestPrincipal(bytes.some(2, |bytes| RequestPrincipal {
            issuer: text(VALUES, bytes),
            subject: text(VALUES, bytes),
        })),
    }
}

fn request(bytes: &mut Bytes<'_>) -> PolicyTest {
    match bytes.below(8) {
        0 | 1 => {
            let hosts = [
                "a.com", "b.a.com", "a.com:80", "[::1]", "[::1]:80", ".a.com", "a.com:",
            ];
            PolicyTest::Text(TextOf::Host, texts(&hosts, bytes))
        }
        2 => PolicyTest::Text(TextOf::Host, texts(HOSTS, bytes)),
        3 => PolicyTest::Text(TextOf::Method, texts(&["GET", "POST", "OPTIONS"], bytes)),
        4 => PolicyTest::Port(bytes.some(2, |bytes| bytes.pick(&[80, super::TLS_PORT]))),
        _ => PolicyTest::Path(bytes.some(2, path)),
    }
}

fn path(bytes: &mut Bytes<'_>) -> PathPattern {
    if bytes.chance(70) {
        return PathPattern::Text(text(PATHS, bytes));
    }
    let literal = |bytes: &mut Bytes<'_>| PathSegment::Literal(bytes.text(&["a", "b", "ab", ""]));
    let mut segments = some(2, bytes, |bytes| match bytes.below(3) {
        0 => PathSegment::One,
        _ => PathSegment::Literal(bytes.text(&["a", "b", "ab", ""])),
    });
    if bytes.chance(50) {
        segments.push(PathSegment::Any);
        segments.extend(bytes.some(1, literal));
    }
    PathPattern::Template(segments)
}

fn attribute(bytes: &mut Bytes<'_>) -> PolicyTest {
    match bytes.below(5) {
        0 => PolicyTest::Text(TextOf::Sni, texts(HOSTS, bytes)),
        1 => {
            let path = bytes.pick::<&[&str]>(&[&["sub"], &["a", "b"], &["iss"]]);
            let path = path.iter().map(|part| (*part).to_owned()).collect();
            PolicyTest::Text(TextOf::Claim(path), texts(VALUES, bytes))
        }
        2 => caller(bytes),
        _ => {
            let name = bytes.text(&["x-a", "x-b", "x-c", ":path", ":method", "host"]);
            PolicyTest::Text(TextOf::Header(name), texts(VALUES, bytes))
        }
    }
}

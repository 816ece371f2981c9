//! Policies as text.

use super::{Out, origin};
use crate::ir::*;
use sha2::{Digest, Sha256};

/// All policies, in the order in which they are asked.
pub(super) fn policies(out: &mut Out, policies: &Policies) {
    for rule in &policies.jwt {
        out.nested(&format!("jwt {}", rule.issuer), |out| jwt(out, rule));
    }
    for asked in &policies.authorizers {
        out.nested(&format!("authorizer {}", asked.name), |out| {
            authorizer(out, asked)
        });
    }
    for policy in &policies.authorization {
        let dry = if policy.dry_run { " dry_run" } else { "" };
        out.nested(&format!("authorization {:?}{dry}", policy.action), |out| {
            out.line(&origin(&policy.origin));
            if let Some(asked) = policy.authorizer.and_then(|id| policies.authorizer(id)) {
                out.line(&format!("asks {}", asked.name));
            }
            for (index, rule) in policy.rules.iter().enumerate() {
                out.nested(&format!("rule {index}"), |out| {
                    for (part, all) in [("from", &rule.from), ("to", &rule.to)] {
                        for conditions in all {
                            out.nested(part, |out| conditions.iter().for_each(|c| line(out, c)));
                        }
                    }
                    rule.when.iter().for_each(|c| line(out, c));
                });
            }
        });
    }
}

fn authorizer(out: &mut Out, asked: &Authorizer) {
    let open = if asked.fail_open { "open" } else { "closed" };
    out.line(&format!(
        "at cluster {} host {} timeout {}ms fails {open} status {}",
        asked.cluster.0, asked.host, asked.timeout.0, asked.status_on_error
    ));
    if let Some(CheckBody {
        bytes,
        partial,
        raw,
    }) = asked.body
    {
        out.line(&format!("body {bytes} partial {partial} raw {raw}"));
    }
    let CheckProtocol::Http(check) = &asked.protocol else {
        return out.line("grpc");
    };
    out.line(&format!("http prefix {:?}", check.path_prefix));
    for (name, value) in &check.add {
        out.line(&format!("adds {name}: {value}"));
    }
    for (what, names) in [
        ("shows", &check.include),
        ("to upstream", &check.to_upstream),
        ("on deny", &check.on_deny),
        ("on allow", &check.on_allow),
    ] {
        if !names.is_empty() {
            out.line(&format!("{what} {}", list(names)));
        }
    }
}

fn jwt(out: &mut Out, rule: &JwtRule) {
    out.line(&origin(&rule.origin));
    if !rule.audiences.is_empty() {
        out.line(&format!("audiences {}", rule.audiences.join(", ")));
    }
    match &rule.keys {
        JwtKeys::Inline(jwks) => {
            let digest = Sha256::digest(jwks.as_bytes());
            let head: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
            out.line(&format!("keys inline sha256:{head}"));
        }
        JwtKeys::Remote { uri, timeout } => {
            out.line(&format!("keys at {uri} timeout {}ms", timeout.0));
        }
        JwtKeys::Discovery { timeout } => {
            out.line(&format!("keys by discovery timeout {}ms", timeout.0));
        }
    }
    for place in &rule.from {
        out.line(&match place {
            TokenPlace::Header { name, prefix } => format!("from header {name} {prefix:?}"),
            TokenPlace::Param(name) => format!("from param {name}"),
            TokenPlace::Cookie(name) => format!("from cookie {name}"),
        });
    }
    if rule.forward {
        out.line("forward");
    }
    if rule.required {
        out.line("required");
    }
    if let Some(header) = &rule.payload_header {
        out.line(&format!("payload to {header}"));
    }
    for (header, claim) in &rule.claim_headers {
        out.line(&format!("claim [{}] to {header}", claim.join("][")));
    }
    out.line(&format!("lists {}", rule.space_delimited.join(", ")));
}

/// One condition.
pub(super) fn line(out: &mut Out, condition: &PolicyCondition) {
    let not = if condition.negated { "not " } else { "" };
    let (what, values) = match &condition.test {
        PolicyTest::Text(of, values) => (text_of(of), list(values)),
        PolicyTest::Path(patterns) => ("path".to_owned(), paths(patterns)),
        PolicyTest::RequestPrincipal(all) => {
            let pair = |p: &RequestPrincipal| format!("({}, {})", p.issuer, p.subject);
            let all: Vec<String> = all.iter().map(pair).collect();
            ("request principal".to_owned(), all.join(" or "))
        }
        PolicyTest::Address(of, blocks) => (format!("{of:?} address").to_lowercase(), list(blocks)),
        PolicyTest::Port(ports) => ("port".to_owned(), list(ports)),
    };
    let values = if values.is_empty() {
        "nothing"
    } else {
        &values
    };
    out.line(&format!("{not}{what} {values}"));
}

fn list<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    values.join(" or ")
}

fn text_of(of: &TextOf) -> String {
    match of {
        TextOf::Header(name) => format!("header {name}"),
        TextOf::Claim(path) => format!("claim [{}]", path.join("][")),
        TextOf::ServiceAccount => "service account".to_owned(),
        TextOf::TrustDomain => "trust domain".to_owned(),
        plain => format!("{plain:?}").to_lowercase(),
    }
}

fn paths(patterns: &[PathPattern]) -> String {
    let pattern = |pattern: &PathPattern| match pattern {
        PathPattern::Text(text) => text.to_string(),
        PathPattern::Template(segments) => {
            let segments = segments.iter().map(|segment| match segment {
                PathSegment::Literal(text) => format!("/{text}"),
                PathSegment::One => "/{*}".to_owned(),
                PathSegment::Any => "/{**}".to_owned(),
            });
            format!("template {}", segments.collect::<String>())
        }
    };
    let patterns: Vec<String> = patterns.iter().map(pattern).collect();
    patterns.join(" or ")
}

//! What an index may not change: order and number of headers, and how many policies there are.

use super::*;
use crate::call::{HeaderLines, NoHeaders, Scheme};
use sallyport_config::ir::{
    AuthorizationPolicy, Origin, PathPattern, PolicyCondition, PolicyTest, Snapshot, TextMatch,
    TextOf,
};
use std::sync::Arc;

struct Lines(Vec<(&'static str, &'static str)>);

impl HeaderLines for Lines {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut lines = self.0.iter().filter(|(key, _)| *key == name);
        lines.any(|(_, value)| visit(value.as_bytes()))
    }
    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.0.iter().filter(|(key, _)| *key == name);
        lines.next().map(|(_, value)| value.as_bytes())
    }
}

fn call<'a>(authority: &'a str, path: &'a str, headers: &'a dyn HeaderLines) -> Call<'a> {
    Call {
        scheme: Scheme::Http,
        method: "GET",
        authority,
        path,
        query: None,
        headers,
        client: ([127, 0, 0, 1], 1).into(),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 80).into(),
        sni: None,
        identity: None,
    }
}

fn policy(action: PolicyAction, name: &str, rules: Vec<PolicyRule>) -> AuthorizationPolicy {
    AuthorizationPolicy {
        action,
        dry_run: false,
        authorizer: None,
        rules,
        origin: Origin {
            kind: "AuthorizationPolicy",
            namespace: "ns".into(),
            name: name.into(),
            path: "spec".to_owned(),
            location: String::new(),
        },
    }
}

fn condition(test: PolicyTest) -> PolicyCondition {
    PolicyCondition {
        test,
        negated: false,
    }
}

fn tables(authorization: Vec<AuthorizationPolicy>) -> Tables {
    Tables::build(Arc::new(Snapshot {
        policies: Policies {
            authorization,
            ..Policies::default()
        },
        ..Snapshot::default()
    }))
}

fn verdict(tables: &Tables, call: &Call<'_>) -> Result<(), String> {
    let admitted = authorize(
        tables,
        call,
        &Admitted::default(),
        None,
        &mut Observed::default(),
    );
    admitted.map_err(|reply| reply.details.into_owned())
}

#[test]
fn the_verdict_does_not_depend_on_the_order_of_lines() {
    let header = |name: &str, value: &str| {
        let of = TextOf::Header(name.to_owned());
        condition(PolicyTest::Text(of, vec![TextMatch::parse(value)]))
    };
    let rule = PolicyRule {
        when: vec![header("x-a", "1"), header("x-b", "2*")],
        ..PolicyRule::default()
    };
    let tables = tables(vec![policy(PolicyAction::Deny, "p", vec![rule])]);
    for (lines, denied) in [
        (vec![("x-a", "1"), ("x-b", "2")], true),
        (vec![("x-b", "2"), ("x-a", "1")], true),
        (vec![("x-a", "0"), ("x-b", "2"), ("x-a", "1")], true),
        (vec![("x-a", "1"), ("x-b", "2"), ("x-a", "0")], true),
        (vec![("x-a", "1"), ("x-b", "1"), ("x-b", "23")], true),
        // what a list means is up to whoever reads it: lines are neither joined nor split
        (vec![("x-a", "0,1"), ("x-b", "2")], false),
        (vec![("x-a", "1")], false),
    ] {
        let headers = Lines(lines.clone());
        let got = verdict(&tables, &call("a", "/", &headers));
        assert_eq!(got.is_err(), denied, "{lines:?}");
    }
}

#[test]
fn of_a_thousand_policies_a_request_asks_its_own() {
    let paths = |number: usize| {
        let patterns = vec![
            PathPattern::Text(TextMatch::Exact(format!("/p{number}"))),
            PathPattern::Text(TextMatch::Prefix(format!("/p{number}/"))),
        ];
        condition(PolicyTest::Path(patterns))
    };
    let hosts = |number: usize| {
        let hosts = [format!("h{number}.test"), format!("h{number}.test:*")];
        let hosts = hosts.iter().map(|host| TextMatch::parse(host));
        condition(PolicyTest::Text(TextOf::Host, hosts.collect()))
    };
    let policies = (0..1_000).map(|number| {
        let to = if number % 2 == 0 {
            hosts(number)
        } else {
            paths(number)
        };
        let rule = PolicyRule {
            to: vec![vec![to]],
            ..PolicyRule::default()
        };
        policy(PolicyAction::Deny, &format!("p{number}"), vec![rule])
    });
    let tables = tables(policies.collect());
    let named = |number: usize| {
        let id = format!("ns[ns]-policy[p{number}]-rule[0]");
        Err(format!("rbac_access_denied_matched_policy[{id}]"))
    };
    for (authority, path, want) in [
        ("a", "/", Ok(())),
        ("h4.test", "/", named(4)),
        ("H4.TEST:80", "/x", named(4)),
        ("h4.test:", "/x", named(4)),
        ("h5.test", "/x", Ok(())),
        ("a", "/p5", named(5)),
        ("a", "/p5/x", named(5)),
        ("a", "/p5x", Ok(())),
        // the first of two that match
        ("h8.test", "/p5", named(5)),
        ("h4.test", "/p5", named(4)),
    ] {
        let call = call(authority, path, &NoHeaders);
        assert_eq!(verdict(&tables, &call), want, "{authority}{path}");
        let claims = Claims::default();
        let facts = Facts::new(&call, &claims);
        let asked: usize = tables
            .authorization()
            .deny
            .file
            .lists(&facts)
            .map(<[_]>::len)
            .sum();
        assert!(asked <= 3, "{authority}{path} asks {asked} rules");
    }
}

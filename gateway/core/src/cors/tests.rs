//! Preflights and actual requests of other origins.

use super::*;
use crate::call::{HeaderLines, Scheme};
use sallyport_config::ir::ValueMatch;

struct Lines(Vec<(&'static str, &'static str)>);

impl HeaderLines for Lines {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut lines = self.0.iter().filter(|(key, _)| *key == name);
        lines.any(|(_, value)| visit(value.as_bytes()))
    }
    fn first(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.as_bytes())
    }
}

fn policy(origin: ValueMatch) -> Cors {
    Cors {
        allow_origins: vec![origin],
        allow_methods: "GET,POST".to_owned(),
        allow_headers: String::new(),
        expose_headers: "x-b".to_owned(),
        max_age_seconds: Some(60),
        allow_credentials: true,
        forward_unmatched_preflights: true,
    }
}

/// The answer to a preflight as `status name=value …`, and the fields of a response.
fn outcome(cors: &Cors, method: &str, lines: &[(&'static str, &'static str)]) -> [String; 2] {
    let lines = Lines(lines.to_vec());
    let call = Call {
        scheme: Scheme::Https,
        method,
        authority: "a.com",
        path: "/",
        query: None,
        headers: &lines,
        client: ([127, 0, 0, 1], 1).into(),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 1).into(),
        sni: None,
        identity: None,
    };
    let rule = CorsRule::new(cors, &mut Patterns::default());
    let preflight = rule
        .preflight(cors, &call)
        .map_or_else(String::new, |reply| {
            let fields = reply
                .headers
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            format!("{}{}", reply.status, fields.collect::<String>())
        });
    let fields = rule.fields(cors, &call).map_or_else(String::new, |fields| {
        format!("{} {} {}", fields.origin, fields.credentials, fields.expose)
    });
    [preflight, fields]
}

const ORIGIN: (&str, &str) = ("origin", "http://a.com");
const ASKS: (&str, &str) = ("access-control-request-method", "DELETE");

#[test]
fn preflights_are_answered_for_origins_that_match() {
    let exact = policy(ValueMatch::Exact("http://a.com".to_owned()));
    let full = "200 access-control-allow-origin=http://a.com \
        access-control-allow-credentials=true access-control-allow-methods=GET,POST \
        access-control-max-age=60";
    let fields = "http://a.com true x-b";
    for (method, lines, want) in [
        ("OPTIONS", vec![ORIGIN, ASKS], [full, fields]),
        ("GET", vec![ORIGIN, ASKS], ["", fields]),
        ("OPTIONS", vec![ORIGIN], ["", fields]),
        ("OPTIONS", vec![ORIGIN, (ASKS.0, "")], ["", fields]),
        ("OPTIONS", vec![ASKS], ["", ""]),
        ("OPTIONS", vec![("origin", "http://b.com"), ASKS], ["", ""]),
        (
            "OPTIONS",
            vec![("origin", ""), ORIGIN, ASKS],
            [full, fields],
        ),
        (
            "OPTIONS",
            vec![("origin", "http://b.com"), ORIGIN, ASKS],
            ["", ""],
        ),
    ] {
        assert_eq!(outcome(&exact, method, &lines), want, "{method} {lines:?}");
    }
}

#[test]
fn an_unmatched_preflight_may_be_ignored_instead_of_forwarded() {
    let ignoring = Cors {
        forward_unmatched_preflights: false,
        ..policy(ValueMatch::Exact("null".to_owned()))
    };
    assert_eq!(outcome(&ignoring, "OPTIONS", &[ORIGIN, ASKS]), ["200", ""]);
}

#[test]
fn a_star_accepts_every_origin_and_names_the_one_that_asked() {
    for star in [
        ValueMatch::Exact("*".to_owned()),
        ValueMatch::Regex(".*".to_owned()),
        ValueMatch::Prefix(String::new()),
    ] {
        let [_, fields] = outcome(&policy(star), "GET", &[ORIGIN]);
        assert_eq!(fields, "http://a.com true x-b");
    }
}

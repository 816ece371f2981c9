//! The interpreter on small hand-made snapshots; the big tables are the golden calls.

use super::edit::{location, rewrite_path};
use super::*;

fn prefix(from: &str, to: &str) -> PathRewrite {
    PathRewrite::Prefix {
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

#[test]
fn a_rewrite_replaces_bytes_and_never_leaves_two_leading_slashes() {
    let regex = |pattern: &str, to: &str| PathRewrite::Regex {
        pattern: pattern.to_owned(),
        to: to.to_owned(),
    };
    for (rewrite, path, want) in [
        (prefix("/v3", "/"), "/v3/x", "/x"),
        (prefix("/v3", "/"), "/v3", "/"),
        (prefix("/v3", "/"), "/v3x", "/x"),
        (prefix("/v2/", "/"), "/v2/x/y?a=/v2/", "/x/y?a=/v2/"),
        (prefix("/v2/", "/new"), "/v2/x", "/newx"),
        (
            PathRewrite::Full("/new/path".to_owned()),
            "/foo?key=value",
            "/new/path?key=value",
        ),
        (
            regex("/user/([0-9]+)", r"/u?id=\1"),
            "/user/42?x",
            "/u?id=42?x",
        ),
        (regex("a(b)", r"\1\\\2"), "/ab/ab", r"/b\/b\"),
    ] {
        assert_eq!(rewrite_path(&rewrite, path), want, "{rewrite:?} on {path}");
    }
}

#[test]
fn a_location_keeps_what_the_rule_does_not_say() {
    use RedirectPort::{Default as NoPort, Keep, Number};
    let redirect =
        |path: Option<&str>, authority: Option<&str>, scheme: Option<&str>, port| Redirect {
            status: 301,
            path: path.map(|p| PathRewrite::Full(p.to_owned())),
            authority: authority.map(str::to_owned),
            scheme: scheme.map(str::to_owned),
            port,
        };
    for (rule, authority, want) in [
        (
            redirect(Some("/new"), Some("foo.com"), None, Keep),
            "b:85",
            "http://foo.com/new?k=v",
        ),
        (
            redirect(Some("/new?z"), None, None, Keep),
            "b:85",
            "http://b:85/new?z",
        ),
        (
            redirect(None, None, Some("https"), Number(80)),
            "host:81",
            "https://host:80/foo?k=v",
        ),
        (
            redirect(None, None, None, Number(85)),
            "b",
            "http://b:85/foo?k=v",
        ),
        (
            redirect(None, None, Some("https"), Keep),
            "b:80",
            "https://b/foo?k=v",
        ),
        (
            redirect(None, None, Some("https"), Keep),
            "b:8080",
            "https://b:8080/foo?k=v",
        ),
        (
            redirect(None, None, Some("https"), NoPort),
            "[::1]:8080",
            "https://[::1]/foo?k=v",
        ),
        (
            redirect(None, None, Some("https"), Number(443)),
            "b:80",
            "https://b/foo?k=v",
        ),
    ] {
        let call = Call {
            authority: authority.to_owned(),
            path: "/foo?k=v".to_owned(),
            ..Call::default()
        };
        assert_eq!(location(&rule, &call, "http"), want, "{rule:?}");
    }
}

#[test]
fn hosts_go_from_exact_over_longest_suffix_to_any() {
    let all = ["*", "*.com", "*.foo.com", "a.foo.com"].map(|p| (vec![HostPattern::parse(p)], p));
    for (host, want) in [
        ("a.foo.com", "a.foo.com"),
        ("b.foo.com", "*.foo.com"),
        ("x.b.foo.com", "*.foo.com"),
        ("foo.com", "*.com"),
        ("foo.com.", "*"),
        ("org", "*"),
    ] {
        assert_eq!(
            most_specific(all.clone().into_iter(), host),
            Some(want),
            "{host}"
        );
    }
}

#[test]
fn the_port_of_an_authority_is_not_part_of_the_host() {
    for (authority, want) in [
        ("A.Foo.com:8080", "a.foo.com"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("b", "b"),
    ] {
        assert_eq!(host_of(authority), want);
    }
}

#[test]
fn weights_share_the_die() {
    let members = [("a", 50), ("b", 30), ("c", 20)];
    for (die, want) in [
        (0, "a"),
        (49, "a"),
        (50, "b"),
        (79, "b"),
        (80, "c"),
        (99, "c"),
        (100, "a"),
    ] {
        assert_eq!(pick(&members, |m| m.1, die).map(|m| m.0), Some(want));
    }
    assert_eq!(pick(&[("a", 0)], |m| m.1, 7), None);
}

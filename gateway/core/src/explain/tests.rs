//! Explanations name the rule that matched, and why the others did not.

use super::*;
use crate::call::NoHeaders;
use crate::tables::ListenerIdx;
use crate::tables::tests::{prefix, route, world};
use sallyport_config::ir::*;

fn call<'a>(authority: &'a str, path: &'a str) -> Call<'a> {
    Call {
        scheme: Scheme::Http,
        method: "GET",
        authority,
        path,
        query: None,
        headers: &NoHeaders,
        client: ([127, 0, 0, 1], 1).into(),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 80).into(),
        sni: None,
        identity: None,
    }
}

fn explained(tables: &Tables, authority: &str, path: &str) -> String {
    let at = Where {
        listener: ListenerIdx(0),
        chain: None,
    };
    explain(tables, at, &call(authority, path)).to_string()
}

#[test]
fn each_rule_says_why_it_lost() {
    let mut second = route(prefix("/"));
    second.name = "second".to_owned();
    second.origin.path = "spec.http[1]".to_owned();
    second.origin.location = "shop.yaml:12".to_owned();
    second.matcher.headers.push(HeaderMatch {
        name: "x-user".to_owned(),
        value: ValueMatch::Exact("jason".to_owned()),
        invert: false,
    });
    let tables = world(&[
        (&["*", "*.com"], vec![]),
        (
            &["shop.com"],
            vec![route(prefix("/v2/")), second, route(PathMatch::Any)],
        ),
    ]);
    assert_eq!(
        explained(&tables, "Shop.com:8080", "/other"),
        "\
listener 0.0.0.0_80
* host shop.com: matches shop.com
  host *.com: shop.com is more specific
  host *: shop.com is more specific
  VirtualService ns/vs spec.http[0]: uri prefix /v2/ does not match /other
  VirtualService ns/vs spec.http[1] \"second\" (shop.yaml:12): header x-user exact \"jason\" does not match nothing
* VirtualService ns/vs spec.http[0]: all conditions hold
=> forwarded to outbound|80||s0
"
    );
}

#[test]
fn an_unknown_host_is_told_which_hosts_there_are() {
    let tables = world(&[(&["shop.com", "*.shop.com"], vec![])]);
    assert_eq!(
        explained(&tables, "shop.org", "/"),
        "\
listener 0.0.0.0_80
  host shop.com: does not match shop.org
  host *.shop.com: does not match shop.org
=> answered 404 NR: no host or no rule matches
"
    );
}

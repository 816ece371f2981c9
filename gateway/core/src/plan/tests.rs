//! Plans: which cluster, which rewrite, which copies.

use super::*;
use crate::call::{NoHeaders, Scheme};
use crate::template::CallFacts;
use sallyport_config::template;

/// Writes down what it is told.
#[derive(Default)]
struct Script(Vec<String>);

impl EditSink for Script {
    fn remove(&mut self, name: &str) {
        self.0.push(format!("-{name}"));
    }
    fn set(&mut self, name: &str, value: &[u8]) {
        self.0
            .push(format!("{name}={}", String::from_utf8_lossy(value)));
    }
    fn add(&mut self, name: &str, value: &[u8]) {
        self.0
            .push(format!("{name}+={}", String::from_utf8_lossy(value)));
    }
}

/// `-name`, `name=value`, `name+=value`
fn edits(lines: &[&str]) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    for line in lines {
        if let Some(name) = line.strip_prefix('-') {
            edits.remove.push(name.to_owned());
        } else if let Some((name, value)) = line.split_once('=') {
            let append = name.ends_with('+');
            edits.write.push(HeaderWrite {
                name: name.trim_end_matches('+').to_owned(),
                value: template::parse(value).unwrap(),
                append,
            });
        }
    }
    edits
}

fn rendered(levels: [&[Edit]; 2]) -> Vec<String> {
    let call = Call {
        scheme: Scheme::Http,
        method: "GET",
        authority: "a.com",
        path: "/p",
        query: None,
        headers: &NoHeaders,
        client: ([10, 0, 0, 1], 1).into(),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 1).into(),
        sni: None,
        identity: None,
    };
    let facts = CallFacts {
        call: &call,
        protocol: "HTTP/1.1",
        start_us: 0,
        route: "",
    };
    let [destination, route] = levels;
    let mut script = Script::default();
    Edits::new(destination, route).apply(&facts, &mut Vec::new(), &mut script);
    script.0
}

#[test]
fn each_level_removes_then_sets_then_adds() {
    let destination = edits(&["b+=2", "a=1", "-c"]);
    let route = edits(&[
        "a=3",
        "-d",
        "client=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    ]);
    let levels = [
        Edit::request(&destination, &HeaderEdits::default()),
        Edit::request(&route, &destination),
    ];
    let [destination, route] = &levels;
    assert_eq!(
        rendered([destination, route]),
        ["-c", "a=1", "b+=2", "-d", "a=3", "client=10.0.0.1"]
    );
}

#[test]
fn a_value_that_comes_out_empty_writes_nothing() {
    let level = Edit::response(&edits(&[
        "a=",
        "b=%REQ(x)%",
        "c=[%REQ(x)%]",
        "d+=%UPSTREAM_HOST%",
    ]));
    assert_eq!(rendered([&level, &[]]), ["c=[]"]);
}

#[test]
fn request_values_see_what_the_rules_did_before() {
    for (destination, route, want) in [
        (&["x=1"][..], &["y=%REQ(x)%"][..], "y=1"),
        (&["x=123"], &["y=%REQ(x):2%"], "y=12"),
        (&["-:path"], &["y=%REQ(:path?:method)%"], "y=GET"),
        (&["-x", "x+=1", "x+=2"], &["y=%REQ(X)%"], "y=1"),
        (&["x="], &["y=%REQ(x?:path)%"], "y=/p"),
        (&[], &["-:method", "y=%REQ(:path?:method)%"], "y=/p"),
        (&[], &["-:path", "y=%REQ(none?:path)%", "z=1"], "z=1"),
    ] {
        let destination = edits(destination);
        let level = Edit::request(&edits(route), &destination);
        let written = rendered([&level, &[]]);
        let written: Vec<_> = written
            .iter()
            .filter(|line| !line.starts_with('-'))
            .collect();
        assert_eq!(written, [want], "{destination:?} then {route:?}");
    }
}

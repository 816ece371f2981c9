//! `sallyctl analyze`.

use crate::support::{files, sallyctl};

const GOOD: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
";

const SLOW: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop.example.com
  trafficPolicy:
    connectionPool:
      tcp: {connectTimeout: 30ms}
";

const BAD: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  http:
    - redirect: {uri: /new}
      route: [{destination: {host: shop.example.com}}]
";

#[test]
fn good_files_are_silent() {
    let dir = files(&[
        ("a.yaml", GOOD),
        ("not-yaml.txt", "{{{"),
        (".hidden.yaml", "{{{"),
    ]);
    let ended = sallyctl(&["analyze", dir.path()]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
    assert_eq!(
        ended.stderr,
        "nothing to complain about in 1 object of 1 file\n"
    );
}

#[test]
fn findings_of_all_files_come_at_once_with_their_places() {
    let dir = files(&[
        ("a.yaml", GOOD),
        ("deep/b.yml", SLOW),
        ("deep/er/c.json", BAD),
    ]);
    let ended = sallyctl(&["analyze", dir.path(), "-o", "short"]);
    let expected = format!(
        "{0}/deep/b.yml:8:29: warning[SP0201]: a connect timeout of 30ms fails on the first lost packet, and often across zones (use 1s or more; the default is 10s)\n\
         {0}/deep/er/c.json:7:17: error[IST0106]: a rule cannot have both `route` and `redirect` (keep one of them, or write two rules with different matches)\n",
        dir.path()
    );
    assert_eq!(ended.stdout, expected);
    assert_eq!(ended.code, 1);
}

#[test]
fn the_threshold_decides_about_the_exit_code() {
    let dir = files(&[("a.yaml", GOOD), ("b.yaml", SLOW)]);
    for (threshold, code) in [("error", 0), ("warning", 1), ("info", 1)] {
        let ended = sallyctl(&["check", dir.path(), "--failure-threshold", threshold]);
        assert_eq!(ended.code, code, "{threshold}");
    }
}

#[test]
fn findings_can_be_suppressed() {
    let dir = files(&[("a.yaml", GOOD), ("b.yaml", SLOW)]);
    for (suppress, silent) in [
        ("SP0201", true),
        ("sp0201=DestinationRule default/shop", true),
        ("SP0201=DestinationRule default/*", true),
        ("SP0201=DestinationRule other/*", false),
        ("SP0202", false),
    ] {
        let ended = sallyctl(&["analyze", dir.path(), "-o", "short", "--suppress", suppress]);
        assert_eq!(
            ended.stdout.is_empty(),
            silent,
            "{suppress}: {}",
            ended.stdout
        );
    }
    for wrong in ["SP9999", "SP0201=shop"] {
        assert_eq!(
            sallyctl(&["analyze", dir.path(), "--suppress", wrong]).code,
            2,
            "{wrong}"
        );
    }
}

#[test]
fn every_output_is_what_its_reader_takes() {
    let dir = files(&[("a.yaml", GOOD), ("b.yaml", SLOW)]);
    let output = |name| sallyctl(&["analyze", dir.path(), "-o", name]).stdout;
    let json: serde_json::Value = serde_json::from_str(&output("json")).unwrap();
    assert_eq!(json[0]["code"], "SP0201");
    let sarif: serde_json::Value = serde_json::from_str(&output("sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(output("yaml").contains("- code: \"SP0201\"\n"));
    assert!(output("github").starts_with("::warning "));
    assert!(output("human").contains("tcp: {connectTimeout: 30ms}"));
}

#[test]
fn what_cannot_be_read_is_not_called_clean() {
    let ended = sallyctl(&["analyze", "/does/not/exist"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("/does/not/exist"), "{}", ended.stderr);
    let dir = files(&[("a.yaml", "kind: [")]);
    let ended = sallyctl(&["analyze", dir.path(), "-o", "short"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("error[SP0001]"), "{}", ended.stdout);
}

#[test]
fn codes_can_be_listed() {
    let list = sallyctl(&["analyze", "-L"]);
    assert_eq!(list.code, 0);
    assert!(
        list.stdout.lines().any(|l| l.starts_with("IST0101  error")),
        "{}",
        list.stdout
    );
}

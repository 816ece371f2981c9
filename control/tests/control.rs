//! `sallyctl` and `sallyport-control`, the real programs, on small directories: what they print, how
//! they exit, and what clients are told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "control/agents.rs"]
mod agents;
#[path = "control/analyze.rs"]
mod analyze;
#[path = "control/certify.rs"]
mod certify;
#[path = "control/child.rs"]
mod child;
#[path = "control/corpora.rs"]
mod corpora;
#[path = "control/edges.rs"]
mod edges;
#[path = "control/envoy.rs"]
mod envoy;
#[path = "control/explain.rs"]
mod explain;
#[path = "control/families.rs"]
mod families;
#[path = "control/golden.rs"]
mod golden;
#[path = "control/issuers.rs"]
mod issuers;
#[path = "control/mesh.rs"]
mod mesh;
#[path = "control/process.rs"]
mod process;
#[path = "control/registered.rs"]
mod registered;
#[path = "control/rotation.rs"]
mod rotation;
#[path = "control/sidecars.rs"]
mod sidecars;
#[path = "control/streams.rs"]
mod streams;
#[path = "control/support.rs"]
mod support;
#[path = "control/together.rs"]
mod together;

use support::{files, sallyctl};

#[test]
fn usage_errors_exit_2_and_help_exits_0() {
    for line in [
        &["nonsense"][..],
        &["analyze"],
        &["explain", "GET"],
        &["explain-code", "SP9999"],
        &["routes"],
    ] {
        let ended = sallyctl(line);
        assert_eq!(ended.code, 2, "{line:?}: {}", ended.stderr);
        assert!(!ended.stderr.is_empty(), "{line:?} says nothing");
    }
    for line in [
        &["--help"][..],
        &["analyze", "--help"],
        &["--version"],
        &["version"],
    ] {
        assert_eq!(sallyctl(line).code, 0, "{line:?}");
    }
    assert!(sallyctl(&["version"]).stdout.starts_with("sallyctl 0."));
}

#[test]
fn a_code_has_a_page_in_any_letter_case() {
    let page = sallyctl(&["explain-code", "ist0101"]);
    assert_eq!(page.code, 0);
    assert!(
        page.stdout
            .starts_with("# IST0101 ReferencedResourceNotFound (error)\n")
    );
    assert!(page.stdout.contains("## Fix\n"));
}

#[test]
fn completion_scripts_name_the_commands() {
    let script = sallyctl(&["completion", "bash"]);
    assert_eq!(script.code, 0);
    for command in ["analyze", "explain-code", "endpoints"] {
        assert!(script.stdout.contains(command), "{command}");
    }
}

#[test]
fn views_show_what_the_files_became() {
    let dir = files(&[("gateway.yaml", explain::SHOP)]);
    let view = |name| {
        let ended = sallyctl(&[name, "--config", dir.path()]);
        assert_eq!(ended.code, 0, "{name}: {}", ended.stderr);
        ended.stdout
    };
    let routes = view("routes");
    assert!(routes.starts_with("ROUTES"), "{routes}");
    assert!(routes.contains("shop.example.com  /v2*"), "{routes}");
    assert!(
        routes.contains("VirtualService default/shop spec.http[0]"),
        "{routes}"
    );
    let listeners = view("listeners");
    assert!(
        listeners.lines().nth(1).is_some_and(|l| l.contains("80")),
        "{listeners}"
    );
    let clusters = view("clusters");
    assert!(
        clusters.contains("shop-v2.default.svc.cluster.local"),
        "{clusters}"
    );
    let endpoints = view("endpoints");
    assert!(endpoints.contains("10.0.0.2:8080"), "{endpoints}");
    let named = explain::SHOP.replace("STATIC\n  endpoints: [{address: 10.0.0.2}]", "DNS");
    let dir = files(&[("gateway.yaml", &named)]);
    let endpoints = sallyctl(&["endpoints", "--config", dir.path()]).stdout;
    let name = "shop-v2.default.svc.cluster.local:8080";
    assert!(endpoints.contains(name), "{endpoints}");
}

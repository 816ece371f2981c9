//! Agents with real Envoys: a host joins the mesh with one command, and keeps what it has.

use std::os::unix::fs::PermissionsExt as _;

use crate::child::{eventually, signal};
use crate::mesh::{App, Door, Join, Net, window};
use crate::process::Control;

/// An Envoy at the edge, and how it is called.
fn edge(net: &Net) -> (Join, Door) {
    let join = Join::new("istio-system", "edge", net.ip(1));
    let join = join.with(&["--gateway", "--labels", "istio=ingressgateway"]);
    (join, Door::new(net.at(10, 8080), "shop.example.com"))
}

#[test]
fn an_envoy_serves_what_the_directory_says_and_goes_on_alone() {
    let (net, one, two) = (Net::new(), App::start("one"), App::start("two"));
    let listen = net.at(10, 8080);
    let control = Control::start(&[("mesh/a.yaml", &window(listen, &one))]);
    let (join, door) = edge(&net);
    let _agent = join.start(&control);
    door.until_by("one");
    let synced = |page: &str| page.contains("/sa/edge") && !page.contains("STALE");
    let page = control.wait("/debug/syncz", synced);
    assert!(
        page.contains("SYNCED") && page.contains("\"delta\""),
        "{page}"
    );
    // an edit reaches it, a broken one changes nothing
    control.write("a.yaml", &window(listen, &two));
    door.until_by("two");
    control.write("b.yaml", "kind: [broken\n");
    control.wait("/debug/configz", |page| page.contains("b.yaml"));
    // without the control process it serves on
    drop(control);
    for _ in 0..20 {
        assert_eq!(door.get("/").unwrap().by(), "two");
    }
}

#[test]
fn a_workload_joins_once_and_comes_back_without_a_token() {
    let (net, app) = (Net::new(), App::start("web"));
    let control = Control::start(&[("mesh/a.yaml", &window(net.at(10, 8080), &app))]);
    let join = Join::new("shop", "web", net.ip(1)).serving(8080, app.address);
    let mut agent = join.start(&control);
    agent.ready();
    let named = |page: &str| page.contains("spiffe://cluster.local/ns/shop/sa/web");
    control.wait("/debug/syncz", named);
    // what is kept is its owner's only
    let mode = |name: &str| {
        let kept = std::fs::metadata(agent.scratch.path(name)).unwrap();
        kept.permissions().mode() & 0o777
    };
    assert_eq!((mode("state/identity.pem"), mode("run")), (0o600, 0o700));
    // asked to stop, it ends its Envoy and itself
    signal(&agent.child, "TERM");
    let ended = eventually("the agent ends", || agent.child.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
    let alone = |page: &str| page.contains("\"totalClients\": 0");
    control.wait("/debug/connections", alone);
    // the certificate that it kept gets it the next one; the token is gone
    agent.scratch.write("token", "gone");
    let again = agent.again(&control);
    again.ready();
    let issued = "\ncitadel_server_success_cert_issuance_count 2\n";
    control.wait("/metrics", |page| page.contains(issued));
}

#[test]
fn a_restart_with_a_broken_file_takes_nothing_away() {
    let (net, one, two) = (Net::new(), App::start("one"), App::start("two"));
    let listen = net.at(10, 8080);
    let mut control = Control::start(&[("mesh/a.yaml", &window(listen, &one))]);
    let (join, door) = edge(&net);
    let _agent = join.start(&control);
    door.until_by("one");
    control.kill();
    control.write("a.yaml", "kind: [broken\n");
    control.restart();
    // the Envoy comes back and is given what was good, which it has
    let back = |page: &str| page.contains("/sa/edge") && page.contains("lds");
    control.wait("/debug/syncz", back);
    for _ in 0..20 {
        assert_eq!(door.get("/").unwrap().by(), "one");
    }
    control.write("a.yaml", &window(listen, &two));
    door.until_by("two");
}

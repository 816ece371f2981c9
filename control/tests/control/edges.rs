//! Our gateway as a client of the control process: both are real programs.

use std::os::unix::fs::PermissionsExt as _;

use crate::child::eventually;
use crate::mesh::{App, Door, Edge, Mesh, Net, window};
use crate::process::Control;
use crate::support::sallyctl;

#[test]
fn our_gateway_serves_what_the_directory_says_and_goes_on_alone() {
    let (net, one, two) = (Net::new(), App::start("one"), App::start("two"));
    let listen = net.at(10, 8080);
    let mut control = Control::start(&[("mesh/a.yaml", &window(listen, &one))]);
    let edge = Edge::plain(&control);
    assert!(edge.ready.contains(&listen.to_string()), "{}", edge.ready);
    let door = Door::new(listen, "shop.example.com");
    let serves = |name: &str| assert_eq!(door.get("/").unwrap().by(), name);
    door.until_by("one");
    // it serves before its verdict has come back
    let told = |page: &str| page.contains("router~") && page.contains("SYNCED");
    let settled = |page: &str| page.contains("\"config\"") && !page.contains("STALE");
    control.wait("/debug/syncz", |page| told(page) && settled(page));
    // an edit reaches it, a broken one changes nothing
    control.write("a.yaml", &window(listen, &two));
    door.until_by("two");
    control.write("b.yaml", "kind: [broken\n");
    control.wait("/debug/configz", |page| page.contains("b.yaml"));
    serves("two");
    // without the control process it serves on, also after a restart
    control.kill();
    edge.until("/control", |page| page.contains("\"connected\": false"));
    serves("two");
    let edge = edge.again();
    // the kernel may take a moment to free its port
    door.until_by("two");
    // the control process comes back with something else, and without one file
    control.write("a.yaml", &window(listen, &one));
    control.restart();
    door.until_by("one");
    assert_eq!(edge.page("/control").matches("\"refused\": 0").count(), 1);
}

/// Where a rule of the mesh is narrowed to some paths.
const ALL: &str = "  - route:\n    - {destination: {host: shop.default.svc.cluster.local, subset: v1}, weight: 70}";
const SOME: &str = "  - match: [{uri: {prefix: /load}}]\n    route:\n    - {destination: {host: shop.default.svc.cluster.local, subset: v1}, weight: 70}";

#[test]
fn a_member_of_the_mesh_keeps_its_identity_and_its_secrets() {
    let mut mesh = Mesh::new();
    let (_shop, edge) = (mesh.shop(), mesh.edge("ingress"));
    let door = mesh.public();
    door.until("/load", Some(200));
    assert_eq!(mesh.stranger(1).get("/"), None, "nobody else is heard");
    let name = "spiffe://cluster.local/ns/istio-system/sa/ingress";
    edge.until("/control", |page| page.contains(name));
    let kept = std::fs::metadata(edge.scratch.path("state/identity/identity.pem")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    let monitoring = format!("http://{}", mesh.control.monitoring);
    let wanted = ["router", "-", "-", "-", "-", "-", "SYNCED", name];
    eventually("its row in proxy-status", || {
        let said = sallyctl(&["proxy-status", "ingressgateway", "--control", &monitoring]).stdout;
        let row: Vec<&str> = said.lines().nth(1)?.split_whitespace().collect();
        (row.get(1..)? == wanted).then_some(())
    });
    // a change of a VirtualService arrives
    mesh.edit(ALL, SOME);
    door.until("/elsewhere", Some(404));
    // restarted without anybody to ask: configuration, Secret and identity are kept
    mesh.control.kill();
    std::fs::remove_file(edge.scratch.path("token")).unwrap();
    let edge = edge.again();
    door.until("/load", Some(200));
    assert_eq!(door.status("/elsewhere"), Some(404), "{}", edge.log());
}

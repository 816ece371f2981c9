//! A whole mesh from one directory: the control process, our gateways at both edges, real Envoys
//! beside workloads, and what users do with it.

use crate::mesh::{BUYER, Load, Mesh, THIEF};

#[test]
fn sidecars_call_each_other_by_the_rules_of_the_shop() {
    let mesh = Mesh::new();
    let (shop, _buyer, _thief) = (mesh.shop(), mesh.caller(BUYER), mesh.caller(THIEF));
    let door = mesh.shop_from(BUYER);
    door.until_by("v1");
    door.until_by("v2");
    let two = door.get_with("/", "x-version: v2\r\n").unwrap();
    assert_eq!(two.by(), "v2");
    // the shop knows who buys
    let buyer = "URI=spiffe://cluster.local/ns/default/sa/buyer";
    assert!(two.body.contains(buyer), "{two:?}");
    let hundred = (0..100).filter(|_| door.get("/").unwrap().by() == "v1");
    // 70 to 30: further from it than that is a chance of one in 10^6
    let v1 = hundred.count();
    assert!((47..93).contains(&v1), "{v1} of 100");
    assert_eq!(door.status("/broken"), Some(418), "an injected fault");
    assert_eq!(door.status("/slow"), Some(504), "a timeout");
    mesh.shop_from(THIEF).until("/", Some(403));
    // who may not try again is told; who may does not see it
    let app = &shop.apps[0];
    app.fail_next(1);
    assert_eq!(door.status("/once"), Some(503));
    app.fail_next(2);
    let before = app.requests();
    assert_eq!(door.status("/flaky"), Some(200));
    assert_eq!(app.requests() - before, 3, "two failures and an answer");
}

#[test]
fn the_public_comes_by_https_and_an_identity_of_the_mesh() {
    let mesh = Mesh::new();
    let (_shop, edge, _buyer) = (mesh.shop(), mesh.edge("ingress"), mesh.caller(BUYER));
    let door = mesh.public();
    door.until("/", Some(200));
    let answer = door.get_with("/", "x-version: v2\r\n").unwrap();
    assert_eq!(answer.by(), "v2", "{}", edge.log());
    let ingress = "URI=spiffe://cluster.local/ns/istio-system/sa/ingress";
    assert!(answer.body.contains(ingress), "{answer:?}");
    assert_eq!(door.status("/broken"), Some(418));
    // what the gateway may not, workloads may
    assert_eq!(door.status("/staff"), Some(403));
    let staff = mesh.shop_from(BUYER);
    staff.until("/staff", Some(200));
    assert_eq!(mesh.stranger(1).get("/"), None, "STRICT hears no cleartext");
}

#[test]
fn what_leaves_the_mesh_is_registered_and_goes_by_the_egress_gateway() {
    let mesh = Mesh::new();
    let (api, _other, edge) = (mesh.api(), mesh.other(), mesh.edge("egress"));
    let (_buyer, _thief) = (mesh.caller(BUYER), mesh.caller(THIEF));
    let door = mesh.outside_from(BUYER, "api.ext.test");
    // the server outside speaks nothing but TLS, which the workload does not
    door.until_by("api");
    let thief = mesh.outside_from(THIEF, "api.ext.test");
    let before = api.requests();
    thief.until("/", Some(403));
    assert_eq!(api.requests(), before, "{}", edge.log());
    // what its Sidecar does not list is blocked, and what nobody registered
    let other = |who| mesh.outside_from(who, "other.ext.test");
    other(THIEF).until_by("other");
    assert_eq!(other(BUYER).status("/"), Some(502));
    let nowhere = mesh.outside_from(BUYER, "nowhere.test");
    assert_eq!(nowhere.status("/"), Some(502));
}

#[test]
fn strict_mutual_tls_comes_under_load_without_a_failure() {
    let mut mesh = Mesh::new();
    mesh.edit("mode: STRICT", "mode: PERMISSIVE");
    let (_shop, _edge, _buyer) = (mesh.shop(), mesh.edge("ingress"), mesh.caller(BUYER));
    let doors = [mesh.shop_from(BUYER), mesh.public()];
    doors.iter().for_each(|door| door.until("/", Some(200)));
    let strangers = [mesh.stranger(1), mesh.stranger(2)];
    // they are heard, as nobody whom the policy knows
    strangers.iter().for_each(|door| door.until("/", Some(403)));
    let load = Load::start(&doors);
    load.pass(50);
    for _ in 0..3 {
        mesh.edit("mode: PERMISSIVE", "mode: STRICT");
        strangers.iter().for_each(|door| door.until("/", None));
        load.pass(50);
        mesh.edit("mode: STRICT", "mode: PERMISSIVE");
        strangers.iter().for_each(|door| door.until("/", Some(403)));
    }
    load.end();
}

/// Calls of each client while the control process is away; a long absence is tried by hand with
/// `SALLYPORT_AWAY_CALLS`.
fn calls() -> usize {
    let said = std::env::var("SALLYPORT_AWAY_CALLS").ok();
    said.and_then(|calls| calls.parse().ok()).unwrap_or(100)
}

#[test]
fn a_mesh_serves_on_whatever_becomes_of_its_control_process() {
    let mut mesh = Mesh::new();
    let (_api, _shop, _buyer) = (mesh.api(), mesh.shop(), mesh.caller(BUYER));
    let edges = [mesh.edge("ingress"), mesh.edge("egress")];
    let api = mesh.outside_from(BUYER, "api.ext.test");
    let doors = [mesh.shop_from(BUYER), mesh.public(), api];
    doors.iter().for_each(|door| door.until("/", Some(200)));
    let load = Load::start(&doors);
    mesh.control.kill();
    load.pass(calls());
    // it comes back with broken files, and knows what was good
    mesh.spoil("kind: [broken\n");
    mesh.control.restart();
    let streams = "\"totalClients\": 5";
    mesh.control
        .wait("/debug/connections", |page| page.contains(streams));
    edges.iter().for_each(|edge| edge.hears());
    load.pass(calls());
    mesh.control.kill();
    load.pass(calls());
    // it comes back with nothing, and knows nothing
    mesh.spoil("");
    mesh.control.forget();
    mesh.control.restart();
    mesh.control.wait("/metrics", |page| !page.is_empty());
    load.pass(calls());
    // the files are repaired, and say something new
    mesh.edit("prefix: /broken", "prefix: /better");
    mesh.repair();
    for door in &doors[..2] {
        door.until("/better", Some(418));
    }
    let calls = load.end();
    eprintln!("{calls} calls, none failed");
}

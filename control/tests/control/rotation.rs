//! Certificates of a whole mesh are renewed, and its root is replaced, while everybody calls.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sallyport_control::ca::Authority;

use crate::child::{Scratch, eventually};
use crate::mesh::{Agent, BUYER, Edge, Load, Mesh};

/// Everybody renews this often.
const ROUNDS: usize = 40;
/// Who does: two versions of the shop, the buyer, and our gateways at both edges.
const MEMBERS: usize = 5;

/// Everybody who has a certificate.
struct Members {
    agents: Vec<(Agent, BTreeSet<String>)>,
    edges: Vec<Edge>,
}

impl Members {
    /// All ask for a new certificate, and have it in use when this ends.
    fn renew(&mut self) {
        let had: Vec<u64> = self.edges.iter().map(certificates).collect();
        self.edges.iter().for_each(Edge::renew);
        self.agents.iter().for_each(|(agent, _)| agent.renew());
        for (agent, seen) in &mut self.agents {
            eventually("a certificate that was not seen before", || {
                let now = serials(&agent.page("/certs"));
                now.into_iter().find(|serial| seen.insert(serial.clone()))
            });
        }
        for (edge, had) in self.edges.iter().zip(had) {
            let more = |_: &str| certificates(edge) > had;
            edge.until("/control", more);
        }
    }

    /// Waits until every Envoy trusts these roots.
    fn trust(&self, roots: &str) {
        let encoded = STANDARD.encode(roots);
        let path = "/config_dump?resource=dynamic_active_secrets";
        for (agent, _) in &self.agents {
            agent.until(path, |page| page.contains(&encoded));
        }
    }
}

/// Serial numbers of the certificates that an Envoy uses.
fn serials(page: &str) -> Vec<String> {
    let page: serde_json::Value = serde_json::from_str(page).unwrap_or_default();
    let all = page["certificates"].as_array().cloned().unwrap_or_default();
    let chains = all.iter().filter_map(|c| c["cert_chain"].as_array());
    let serials = chains.flatten().filter_map(|c| c["serial_number"].as_str());
    serials.map(str::to_owned).collect()
}

/// Certificates that a gateway has used.
fn certificates(edge: &Edge) -> u64 {
    let page: serde_json::Value = serde_json::from_str(&edge.page("/control")).unwrap();
    page["control"]["certificates"].as_u64().unwrap()
}

#[test]
fn two_hundred_renewals_and_another_root_fail_no_call() {
    let mesh = Mesh::new();
    let (_api, shop) = (mesh.api(), mesh.shop());
    let agents = shop.sidecars.into_iter().chain([mesh.caller(BUYER)]);
    let mut members = Members {
        edges: vec![mesh.edge("ingress"), mesh.edge("egress")],
        agents: agents.map(|agent| (agent, BTreeSet::new())).collect(),
    };
    let api = mesh.outside_from(BUYER, "api.ext.test");
    let doors = [mesh.shop_from(BUYER), mesh.public(), api];
    doors.iter().for_each(|door| door.until("/", Some(200)));
    for (agent, seen) in &mut members.agents {
        seen.extend(serials(&agent.page("/certs")));
    }
    let load = Load::start(&doors);
    let next = Scratch::new("next");
    let authority = Authority::open(next.path("").as_ref(), "cluster.local").unwrap();
    let place = |name: &str| format!("{}/{name}", mesh.control.ca_dir());
    let old = fs::read_to_string(place("root-cert.pem")).unwrap();
    let both = format!("{old}{}", authority.roots());
    let mut reloads = 0;
    let mut reload = || {
        mesh.control.reload();
        reloads += 1;
        let line = format!("\nsallyport_control_ca_reloads_total {reloads}\n");
        mesh.control.wait("/metrics", |page| page.contains(&line));
    };
    for round in 0..ROUNDS {
        match round {
            // first everybody is told of the new root, then it signs, then the old one goes
            10 => fs::write(place("root-cert.pem"), &both).unwrap(),
            20 => {
                for name in ["ca-cert.pem", "ca-key.pem"] {
                    fs::copy(next.path(name), place(name)).unwrap();
                }
            }
            30 => fs::write(place("root-cert.pem"), authority.roots()).unwrap(),
            _ => {}
        }
        if matches!(round, 10 | 20 | 30) {
            reload();
        }
        members.renew();
        if round == 10 {
            members.trust(&both);
        }
    }
    members.trust(authority.roots());
    load.pass(20);
    load.end();
    let issued = mesh.control.wait("/metrics", |_| true);
    let name = "\ncitadel_server_success_cert_issuance_count ";
    let count = issued
        .split(name)
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let count: usize = count.unwrap().parse().unwrap();
    assert!(count >= (ROUNDS + 1) * MEMBERS, "{count} certificates");
}

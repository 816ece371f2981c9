//! Meshes that run: a control process on a directory, agents with real Envoys, our gateways at the
//! edges, applications, and whoever calls them. A test says who is there, and what they do.

#[path = "mesh/agent.rs"]
mod agent;
#[path = "mesh/app.rs"]
mod app;
#[path = "mesh/door.rs"]
mod door;
#[path = "mesh/edge.rs"]
mod edge;
#[path = "mesh/load.rs"]
mod load;
#[path = "mesh/net.rs"]
mod net;
#[path = "mesh/public.rs"]
mod public;

pub(crate) use agent::{Agent, Join};
pub(crate) use app::App;
pub(crate) use door::Door;
pub(crate) use edge::Edge;
pub(crate) use load::Load;
pub(crate) use net::Net;

use std::net::SocketAddr;

use crate::child::Scratch;
use crate::process::Control;
use public::Public;

/// The files of the mesh, as people write them.
const FILES: [(&str, &str); 4] = [
    ("services.yaml", include_str!("../mesh/services.yaml")),
    ("ingress.yaml", include_str!("../mesh/ingress.yaml")),
    ("egress.yaml", include_str!("../mesh/egress.yaml")),
    ("policies.yaml", include_str!("../mesh/policies.yaml")),
];

/// The shop, as workloads call it.
pub(crate) const SHOP: &str = "shop.default.svc.cluster.local";
/// Who calls: the last part of the address.
pub(crate) const BUYER: u8 = 3;
pub(crate) const THIEF: u8 = 4;
/// The edges.
const INGRESS: u8 = 10;
/// Outside: a server without TLS, and one that speaks nothing else.
const OTHER: u8 = 90;
const API: u8 = 91;
/// Ports that workloads call.
const SOLD: u16 = 9080;
const OUTSIDE: u16 = 9081;
/// Ports that are served.
const INBOUND: u16 = 8080;
const HTTPS: u16 = 8443;

/// A control process on the files, and the addresses that they speak of.
pub(crate) struct Mesh {
    pub(crate) control: Control,
    net: Net,
    public: Public,
    _root: Scratch,
    files: Vec<(&'static str, String)>,
}

/// Two versions of the shop, each behind a sidecar.
pub(crate) struct Shop {
    pub(crate) apps: [App; 2],
    pub(crate) sidecars: [Agent; 2],
}

impl Mesh {
    /// Nobody has joined yet. STRICT mutual TLS.
    pub(crate) fn new() -> Self {
        let (net, public, scratch) = (Net::new(), Public::new(), Scratch::new("mesh"));
        let root = scratch.write("public.pem", &public.root);
        let shop = public.named("shop.example.com");
        let line = |pem: &str| pem.replace('\n', "\\n");
        let fill = |text: &str| {
            text.replace("NET.", &format!("{}.", net.prefix()))
                .replace("PUBLIC_ROOT", &root)
                .replace("SHOP_CHAIN", &line(&shop.chain))
                .replace("SHOP_KEY", &line(&shop.key))
                .replace("mode: MODE", "mode: STRICT")
        };
        let files = FILES.map(|(name, text)| (name, fill(text)));
        let paths = files.each_ref().map(|(name, _)| format!("mesh/{name}"));
        let paired = paths.iter().zip(&files);
        let list: Vec<_> = paired.map(|(p, (_, text))| (&**p, &**text)).collect();
        Self {
            control: Control::start(&list),
            files: files.into(),
            net,
            public,
            _root: scratch,
        }
    }

    /// Replaces a text in all files that have it.
    pub(crate) fn edit(&mut self, from: &str, to: &str) {
        let mut found = false;
        for (name, text) in self
            .files
            .iter_mut()
            .filter(|(_, text)| text.contains(from))
        {
            *text = text.replace(from, to);
            self.control.write(name, text);
            found = true;
        }
        assert!(found, "no file says {from}");
    }

    /// Writes all files as something else.
    pub(crate) fn spoil(&self, text: &str) {
        self.files
            .iter()
            .for_each(|(name, _)| self.control.write(name, text));
    }

    /// Writes all files as they were.
    pub(crate) fn repair(&self) {
        self.files
            .iter()
            .for_each(|(name, text)| self.control.write(name, text));
    }

    /// Both versions of the shop.
    pub(crate) fn shop(&self) -> Shop {
        let apps = [App::start("v1"), App::start("v2")];
        let sidecar = |(host, app): (u8, &App)| {
            let labels = format!("version=v{host}");
            let join = Join::new("default", "shop", self.net.ip(host));
            let join = join
                .serving(INBOUND, app.address)
                .with(&["--labels", &labels]);
            join.start(&self.control)
        };
        let sidecars = [(1, &apps[0]), (2, &apps[1])].map(sidecar);
        Shop { apps, sidecars }
    }

    /// A workload that only calls.
    pub(crate) fn caller(&self, host: u8) -> Agent {
        let account = if host == BUYER { "buyer" } else { "thief" };
        let join = Join::new("default", account, self.net.ip(host));
        join.start(&self.control)
    }

    /// Our gateway, `ingress` or `egress`.
    pub(crate) fn edge(&self, role: &str) -> Edge {
        Edge::member(&self.control, role)
    }

    /// A server outside, which speaks TLS.
    pub(crate) fn api(&self) -> App {
        let tls = self.public.server("api.ext.test");
        App::at(self.net.at(API, HTTPS), "api", Some(tls))
    }

    /// A server outside, which does not.
    pub(crate) fn other(&self) -> App {
        App::at(self.net.at(OTHER, INBOUND), "other", None)
    }

    /// The shop, as a workload calls it.
    pub(crate) fn shop_from(&self, host: u8) -> Door {
        Door::new(self.net.at(host, SOLD), SHOP)
    }

    /// A host outside, as a workload calls it.
    pub(crate) fn outside_from(&self, host: u8, name: &str) -> Door {
        Door::new(self.net.at(host, OUTSIDE), name)
    }

    /// The shop, as the public calls it.
    pub(crate) fn public(&self) -> Door {
        let door = Door::new(self.net.at(INGRESS, HTTPS), "shop.example.com");
        door.tls(self.public.client())
    }

    /// A version of the shop, as one calls it who is not of the mesh.
    pub(crate) fn stranger(&self, version: u8) -> Door {
        Door::new(self.net.at(version, INBOUND), SHOP)
    }
}

/// A gateway in cleartext to one server.
pub(crate) fn window(listen: SocketAddr, app: &App) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {}, name: http, protocol: HTTP}}
    bind: {}
    hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: istio-system}}
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http:
  - route: [{{destination: {{host: shop.internal, port: {{number: 80}}}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: istio-system}}
spec:
  hosts: [shop.internal]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: {}, ports: {{http: {}}}}}]
",
        listen.port(),
        listen.ip(),
        app.address.ip(),
        app.address.port()
    )
}

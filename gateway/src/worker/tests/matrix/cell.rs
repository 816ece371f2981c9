//! One cell of the matrix: a gateway between a client's wire and an origin's.

use std::sync::Arc;
use std::time::Duration;

use sallyport_config::ir;
use tokio::runtime::Runtime;

use super::super::support::{House, Lines, snapshot};
use super::super::tls::{self, pair};
use super::super::upstream_tls::{Authority, Pair, SHOP};
use super::client::Client;
use super::origin::Origin;
use crate::rt::DriverChoice;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    H1,
    H2,
    H3,
}

impl Wire {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::H1 => "HTTP/1.1",
            Self::H2 => "HTTP/2",
            Self::H3 => "HTTP/3",
        }
    }
}

/// One combination of wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) client: Wire,
    pub(super) origin: Wire,
    /// On both sides; HTTP/3 has it in any case.
    pub(super) tls: bool,
}

impl Cell {
    /// All that there are.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let wires = [Wire::H1, Wire::H2, Wire::H3];
        wires.into_iter().flat_map(|client| {
            let origins = [Wire::H1, Wire::H2].into_iter();
            origins.flat_map(move |origin| {
                [false, true].map(|tls| Self {
                    client,
                    origin,
                    tls,
                })
            })
        })
    }

    /// As the table names it.
    pub(super) fn name(self) -> String {
        let (client, origin) = (self.client.name(), self.origin.name());
        let tls = match (self.client, self.tls) {
            (Wire::H3, false) => "origin plain",
            (Wire::H3, true) => "origin TLS",
            (_, false) => "plain",
            (_, true) => "TLS",
        };
        format!("{client} → {origin}, {tls}")
    }

    fn client_tls(self) -> bool {
        self.tls || self.client == Wire::H3
    }
}

/// A gateway with its origins, and a client.
pub(super) struct Bench {
    pub(super) cell: Cell,
    pub(super) house: House,
    pub(super) origin: Origin,
    /// Where copies go.
    pub(super) shadow: Origin,
    pub(super) client: Client,
    /// What the client runs on.
    pub(super) runtime: Arc<Runtime>,
    pub(super) lines: Lines,
}

/// Certificates of all cells: they take longer to make than a cell takes to run.
pub(super) struct Secrets {
    gateway: tls::Pair,
    authority: Authority,
    origin: Pair,
}

impl Secrets {
    pub(super) fn new() -> Self {
        let authority = Authority::new();
        Self {
            gateway: pair("a.example"),
            origin: authority.identity(SHOP),
            authority,
        }
    }
}

impl Bench {
    pub(super) fn open(cell: Cell, driver: DriverChoice, secrets: &Secrets) -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = Arc::new(runtime.enable_all().build().unwrap());
        let secret = cell.tls.then_some(&secrets.origin);
        let origin = Origin::start(cell.origin, secret);
        let shadow = Origin::start(cell.origin, secret);
        let mut snapshot = if cell.client_tls() {
            tls::secured(origin.address, &[("a.example", &secrets.gateway)])
        } else {
            snapshot(origin.address)
        };
        if let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind {
            let alpn = ["h2", "http/1.1"].map(str::to_owned);
            chains[0].tls.as_mut().unwrap().alpn = alpn.into();
        }
        let cluster = &mut snapshot.clusters[0];
        if cell.origin == Wire::H2 {
            cluster.protocol = ir::UpstreamProtocol::Http2;
        }
        if cell.tls {
            cluster.tls = ir::UpstreamTls::Always(Arc::new(to_origin(&secrets.authority)));
        }
        let mut copies = cluster.clone();
        copies.name = "outbound|80||shadow".to_owned();
        copies.endpoints[0].address = shadow.address;
        snapshot.clusters.push(copies);
        add_routes(&mut snapshot);
        let lines = Lines::new("matrix");
        let format = "%PROTOCOL% %UPSTREAM_PROTOCOL% %RESPONSE_CODE% %REQ(:PATH)%";
        lines.write_to(&mut snapshot, format);
        let house = House::open(driver, snapshot);
        Self {
            client: Client::new(cell, house.door, &secrets.gateway, &runtime),
            runtime,
            cell,
            house,
            origin,
            shadow,
            lines,
        }
    }

    /// Ends everything that was begun, and sees that nothing is left of it.
    pub(super) fn close(self) {
        let Self {
            house,
            origin,
            shadow,
            client,
            ..
        } = self;
        drop((client, origin, shadow));
        house.report_when(|report| {
            let clients = report.listeners.values().map(|listener| listener.active());
            let upstreams = report.upstreams.values().map(|upstream| upstream.active());
            report.in_flight == 0 && clients.chain(upstreams).sum::<u64>() == 0
        });
        assert_eq!(
            house.drain(Duration::from_secs(5)),
            0,
            "connections were cut"
        );
    }
}

fn to_origin(authority: &Authority) -> ir::ClientTls {
    ir::ClientTls {
        mode: ir::ClientTlsMode::Simple,
        certificate: None,
        roots: ir::Roots::Given(ir::Bundle::Inline(Arc::clone(&authority.root))),
        crl: None,
        sni: ir::ServerName::Fixed("up.example".to_owned()),
        names: ir::PeerNames::ServerName,
    }
}

/// `/retry` is tried again, `/copy` is copied, everything else goes its plain way.
fn add_routes(snapshot: &mut ir::Snapshot) {
    let host = &mut snapshot.route_tables[0].hosts[0];
    let plain = host.routes[0].clone();
    let at = |path: &str, change: fn(&mut ir::Forward)| {
        let mut route = plain.clone();
        route.matcher.path = ir::PathMatch::Prefix {
            prefix: path.to_owned(),
            ignore_case: false,
        };
        if let ir::Action::Forward(forward) = &mut route.action {
            change(forward);
        }
        route
    };
    let retried = at("/retry", |forward| {
        forward.retry.attempts = 2;
        forward.retry.on.five_xx = true;
    });
    let copied = at("/copy", |forward| {
        forward.mirrors = vec![ir::Mirror {
            cluster: ir::ClusterRef::Known(ir::ClusterId(1)),
            share: ir::Ppm::ALL,
        }];
    });
    host.routes = vec![retried, copied, plain.clone()].into();
}

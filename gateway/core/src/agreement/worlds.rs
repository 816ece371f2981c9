//! Snapshots in which everything overlaps with everything.

use super::dice::Bytes;
use sallyport_config::ir::*;
use std::sync::Arc;

mod actions;
mod limits;
mod matchers;
mod policies;

/// Port of the TLS listener; the cleartext one is 80.
pub(super) const TLS_PORT: u16 = 443;

pub(super) const HOSTS: &[&str] = &[
    "a.com",
    "b.a.com",
    "*.a.com",
    "*.b.a.com",
    "*",
    "c.com",
    "*.com",
    "x.b.a.com",
    "[::1]",
    "*a.com",
];

pub(super) const PATHS: &[&str] = &[
    "/", "/a", "/a/", "/a/b", "/ab", "/A", "/a/b/c", "//", "/a//b", "/%2F", "/1", "*", "/abc",
];

pub(super) const VALUES: &[&str] = &["", "x", "xy", "y", "X", "x y", "1", "é"];

/// Identities without `spiffe://`.
pub(super) const IDENTITIES: &[&str] =
    &["td/ns/a/sa/x", "td2/ns/ab/sa/x", "td/ns/a/sa/y", "td", ""];

/// Clusters that exist; a route may name one more.
const CLUSTERS: u8 = 3;

pub(super) fn snapshot(bytes: &mut Bytes<'_>) -> Snapshot {
    let lists: Vec<Arc<[Route]>> = (0..=bytes.below(3)).map(|_| routes(bytes)).collect();
    let route_tables: Vec<_> = (0..=bytes.below(3))
        .map(|number| table(number, &lists, bytes))
        .collect();
    let tables = u8::try_from(route_tables.len()).unwrap_or(1);
    Snapshot {
        settings: Settings {
            trusted_hops: bytes.below(2).into(),
            ..Settings::default()
        },
        listeners: vec![
            listener(80, ListenerKind::Plain(service(tables, bytes))),
            listener(TLS_PORT, ListenerKind::Tls(chains(tables, bytes))),
        ],
        route_tables,
        clusters: (0..CLUSTERS).map(cluster).collect(),
        policies: policies::policies(bytes),
        certificates: (0..2).map(|number| certificate(number, bytes)).collect(),
        limits: limits::limits(bytes),
    }
}

/// One cleartext listener that answers whatever policies let pass.
pub(super) fn guarded(bytes: &mut Bytes<'_>) -> Snapshot {
    let answer = Route {
        name: String::new(),
        origin: origin("spec.http[0]".to_owned()),
        matcher: Matcher::default(),
        action: Action::Direct(DirectResponse {
            status: 200,
            body: Arc::from([]),
        }),
        headers: HeaderOps::default(),
        fault: None,
        cors: None,
    };
    let all = VirtualHost {
        domains: vec![HostPattern::Any],
        https_redirect: None,
        routes: Arc::from([answer]),
    };
    let service = Service::Http(HttpService {
        routes: RouteTableId(0),
        server_port: 80,
        grpc_web: false,
        http3: false,
        early_data: false,
    });
    let chain = FilterChain {
        name: "https".to_owned(),
        sni: Vec::new(),
        mesh_only: false,
        tls: Some(ServerTls {
            mode: ServerTlsMode::Simple,
            certificates: vec![CertificateId(0)],
            client_ca: None,
            client_crl: None,
            pins: Vec::new(),
            subject_alt_names: Vec::new(),
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            cipher_suites: Vec::new(),
            alpn: Vec::new(),
        }),
        service: service.clone(),
        origin: origin("spec.servers[0]".to_owned()),
    };
    Snapshot {
        listeners: vec![
            listener(80, ListenerKind::Plain(service)),
            listener(TLS_PORT, ListenerKind::Tls(vec![chain])),
        ],
        certificates: vec![Certificate {
            source: CertificateSource::Files {
                chain: "c".to_owned(),
                key: "k".to_owned(),
            },
            ..certificate(0, bytes)
        }],
        route_tables: vec![RouteTable {
            name: "all".to_owned(),
            hosts: vec![all],
        }],
        policies: policies::some_policies(bytes),
        ..Snapshot::default()
    }
}

fn routes(bytes: &mut Bytes<'_>) -> Arc<[Route]> {
    let count = if bytes.chance(5) {
        30
    } else {
        1 + bytes.below(8)
    };
    (0..count).map(|number| route(number, bytes)).collect()
}

fn route(number: u8, bytes: &mut Bytes<'_>) -> Route {
    let matcher = matchers::matcher(bytes);
    Route {
        name: bytes
            .maybe(70, |_| format!("r{number}"))
            .unwrap_or_default(),
        origin: origin(format!("spec.http[{number}]")),
        action: actions::action(&matcher.path, bytes),
        matcher,
        headers: actions::header_ops(&["x-a", "x-b", "x-new"], bytes),
        fault: bytes.maybe(20, actions::fault),
        cors: bytes.maybe(40, actions::cors),
    }
}

fn table(number: u8, lists: &[Arc<[Route]>], bytes: &mut Bytes<'_>) -> RouteTable {
    let mut left: Vec<HostPattern> = HOSTS.iter().map(|host| HostPattern::parse(host)).collect();
    let hosts = (0..=bytes.below(4)).map(|_| {
        let domains = (0..=bytes.below(2)).filter_map(|_| {
            let n = u8::try_from(left.len()).unwrap_or(u8::MAX);
            let at = usize::from(bytes.below(n));
            (at < left.len()).then(|| left.remove(at))
        });
        let domains = domains.collect();
        let list = usize::from(bytes.below(u8::try_from(lists.len()).unwrap_or(1)));
        VirtualHost {
            domains,
            https_redirect: bytes.maybe(15, |bytes| bytes.pick(&[301, 308])),
            routes: lists.get(list).cloned().unwrap_or_default(),
        }
    });
    RouteTable {
        name: format!("table.{number}"),
        hosts: hosts.collect(),
    }
}

fn listener(port: u16, kind: ListenerKind) -> Listener {
    Listener {
        name: format!("0.0.0.0_{port}"),
        bind: Bind::Default,
        port,
        kind,
    }
}

fn chains(tables: u8, bytes: &mut Bytes<'_>) -> Vec<FilterChain> {
    let count = if bytes.chance(3) {
        0
    } else {
        1 + bytes.below(4)
    };
    let chain = |_| {
        let tls = bytes.maybe(95, server_tls);
        FilterChain {
            name: "https".to_owned(),
            sni: bytes.some(2, |bytes| HostPattern::parse(bytes.pick(HOSTS))),
            mesh_only: tls.is_none() && bytes.chance(30),
            // bytes that stay encrypted cannot be HTTP
            service: match &tls {
                Some(_) => service(tables, bytes),
                None => tcp(),
            },
            tls,
            origin: origin("spec.servers[0]".to_owned()),
        }
    };
    (0..count).map(chain).collect()
}

fn server_tls(bytes: &mut Bytes<'_>) -> ServerTls {
    ServerTls {
        mode: bytes
            .maybe(15, |_| ServerTlsMode::Mutual)
            .unwrap_or(ServerTlsMode::Simple),
        certificates: if bytes.chance(3) {
            Vec::new()
        } else {
            vec![CertificateId(bytes.pick(&[0, 0, 0, 1, 1, 2]))]
        },
        client_ca: None,
        client_crl: None,
        pins: Vec::new(),
        subject_alt_names: Vec::new(),
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        cipher_suites: Vec::new(),
        alpn: Vec::new(),
    }
}

fn service(tables: u8, bytes: &mut Bytes<'_>) -> Service {
    match bytes.below(20) {
        19 => Service::Close,
        18 => tcp(),
        _ => Service::Http(HttpService {
            // now and then a table that does not exist
            routes: RouteTableId(
                bytes
                    .maybe(97, |b| b.below(tables))
                    .unwrap_or(tables)
                    .into(),
            ),
            server_port: 443,
            grpc_web: false,
            http3: false,
            early_data: false,
        }),
    }
}

fn tcp() -> Service {
    Service::Tcp(TcpService {
        tunnel: None,
        targets: vec![
            (TcpTarget::Cluster(ClusterId(0)), 1),
            (TcpTarget::Missing("none".to_owned()), 1),
        ],
        idle_timeout: None,
        max_duration: None,
        origin: origin("spec.tcp[0]".to_owned()),
    })
}

fn certificate(number: u8, bytes: &mut Bytes<'_>) -> Certificate {
    let source = CertificateSource::Files {
        chain: "c".to_owned(),
        key: "k".to_owned(),
    };
    Certificate {
        name: format!("kubernetes://{number}"),
        source: bytes
            .maybe(4, |_| CertificateSource::Missing)
            .unwrap_or(source),
        staple: None,
        origin: origin("spec.servers[0].tls".to_owned()),
    }
}

fn cluster(number: u8) -> Cluster {
    let host = format!("s{number}.default.svc.cluster.local");
    Cluster {
        name: format!("outbound|80||{host}"),
        host,
        ..Cluster::default()
    }
}

fn origin(path: String) -> Origin {
    Origin {
        kind: "VirtualService",
        namespace: Arc::from("ns"),
        name: Arc::from("vs"),
        path,
        location: String::new(),
    }
}

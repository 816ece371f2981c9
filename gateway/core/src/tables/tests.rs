//! Small snapshots for tests, and the questions that are asked of whole tables.

use super::*;
use crate::admit::Admitted;
use crate::call::{NoHeaders, Scheme};
use crate::decide::{Decision, decide};
use sallyport_config::ir::*;
use sallyport_config::model::Dice;

/// `uri.prefix`
pub(crate) fn prefix(prefix: &str) -> PathMatch {
    PathMatch::Prefix {
        prefix: prefix.to_owned(),
        ignore_case: false,
    }
}

fn origin(kind: &'static str, path: &str) -> Origin {
    Origin {
        kind,
        namespace: Arc::from("ns"),
        name: Arc::from("vs"),
        path: path.to_owned(),
        location: String::new(),
    }
}

/// A rule that forwards to the first cluster.
pub(crate) fn route(path: PathMatch) -> Route {
    let target = Target {
        cluster: ClusterRef::Known(ClusterId(0)),
        weight: 1,
        headers: HeaderOps::default(),
        authority: None,
    };
    Route {
        name: String::new(),
        origin: origin("VirtualService", "spec.http[0]"),
        matcher: Matcher {
            path,
            ..Matcher::default()
        },
        action: Action::Forward(Box::new(Forward {
            targets: vec![target],
            rewrite: Rewrite::default(),
            timeout: None,
            retry: Retry::default(),
            mirrors: Vec::new(),
        })),
        headers: HeaderOps::default(),
        fault: None,
        cors: None,
    }
}

fn table(hosts: &[(&[&str], Vec<Route>)]) -> RouteTable {
    let hosts = hosts.iter().map(|(domains, routes)| VirtualHost {
        domains: domains
            .iter()
            .map(|domain| HostPattern::parse(domain))
            .collect(),
        https_redirect: None,
        routes: routes.clone().into(),
    });
    RouteTable {
        name: "http.80".to_owned(),
        hosts: hosts.collect(),
    }
}

fn http(table: u32) -> Service {
    Service::Http(HttpService {
        routes: RouteTableId(table),
        server_port: 80,
        grpc_web: false,
        http3: false,
        early_data: false,
    })
}

fn listener(port: u16, kind: ListenerKind) -> Listener {
    Listener {
        name: format!("0.0.0.0_{port}"),
        bind: Bind::Default,
        port,
        kind,
    }
}

fn cluster(name: &str) -> Cluster {
    Cluster {
        name: format!("outbound|80||{name}"),
        host: name.to_owned(),
        ..Cluster::default()
    }
}

/// One cleartext listener on port 80 with these hosts.
pub(crate) fn world(hosts: &[(&[&str], Vec<Route>)]) -> Tables {
    Tables::build(Arc::new(Snapshot {
        listeners: vec![listener(80, ListenerKind::Plain(http(0)))],
        route_tables: vec![table(hosts)],
        clusters: vec![cluster("s0")],
        ..Snapshot::default()
    }))
}

/// A TLS server: its names, its certificate, its table.
fn chain(names: &[&str], certificate: u32, table: u32) -> FilterChain {
    FilterChain {
        name: names.join(","),
        sni: names.iter().map(|name| HostPattern::parse(name)).collect(),
        mesh_only: false,
        tls: Some(ServerTls {
            mode: ServerTlsMode::Simple,
            certificates: vec![CertificateId(certificate)],
            client_ca: None,
            client_crl: None,
            pins: Vec::new(),
            subject_alt_names: Vec::new(),
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            cipher_suites: Vec::new(),
            alpn: Vec::new(),
        }),
        service: http(table),
        origin: origin("Gateway", "spec.servers[0]"),
    }
}

fn call<'a>(authority: &'a str, path: &'a str) -> Call<'a> {
    Call {
        scheme: Scheme::Https,
        method: "GET",
        authority,
        path,
        query: None,
        headers: &NoHeaders,
        client: ([127, 0, 0, 1], 1).into(),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 443).into(),
        sni: None,
        identity: None,
    }
}

/// Status of the answer; 200 when forwarded.
fn status(tables: &Tables, at: Where, call: &Call<'_>) -> u16 {
    match decide(tables, at, call, &Admitted::default(), &Dice::default()) {
        Decision::Forward(_) => 200,
        Decision::Reply(answer) => answer.reply.status,
    }
}

#[test]
fn tables_may_be_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Tables>();
}

#[test]
fn a_connection_answers_for_what_its_handshake_would_cover() {
    let same: &[&str] = &["b.com"];
    let tables = Tables::build(Arc::new(Snapshot {
        listeners: vec![listener(
            443,
            ListenerKind::Tls(vec![
                chain(&["a.com"], 0, 0),
                chain(same, 0, 1),
                chain(&["c.com", "*.c.com"], 1, 2),
            ]),
        )],
        route_tables: [["a.com"], ["b.com"], ["*"]]
            .map(|host| table(&[(&host, vec![route(PathMatch::Any)])]))
            .into(),
        clusters: vec![cluster("s0")],
        ..Snapshot::default()
    }));
    let listener = ListenerIdx(0);
    assert_eq!(tables.chain(listener, Some("x.org")), None);
    assert_eq!(tables.chain(listener, None), None);
    for (sni, authority, want, why) in [
        ("a.com", "A.com:443", 200, "its own"),
        (
            "a.com",
            "b.com",
            200,
            "another server with the same certificate and policy",
        ),
        ("a.com", "c.com", 421, "another certificate"),
        ("a.com", "x.c.com", 421, "another certificate, by suffix"),
        ("x.c.com", "c.com", 200, "another name of the same server"),
        ("a.com", "x.org", 404, "nobody's"),
    ] {
        let at = Where {
            listener,
            chain: tables.chain(listener, Some(sni)),
        };
        assert!(at.chain.is_some());
        let have = status(&tables, at, &call(authority, "/"));
        assert_eq!(have, want, "{sni} asks for {authority}: {why}");
    }
}

#[test]
fn connections_find_their_listener_again_by_name() {
    let tables = world(&[]);
    assert_eq!(tables.listener_named("0.0.0.0_80"), Some(ListenerIdx(0)));
    assert_eq!(tables.listener_named("0.0.0.0_81"), None);
}

#[test]
fn the_first_rule_wins_among_ten_thousand() {
    let mut routes: Vec<Route> = (0..10_000)
        .map(|number| route(prefix(&format!("/p{number}/"))))
        .collect();
    let mut broad = route(prefix("/p77"));
    broad.action = Action::Direct(DirectResponse {
        status: 299,
        body: Arc::from(&b""[..]),
    });
    routes.insert(5_000, broad);
    let tables = world(&[(&["*"], routes)]);
    let at = Where {
        listener: ListenerIdx(0),
        chain: None,
    };
    for (path, want) in [
        ("/p77/x", 200),
        ("/p7777/x", 299),
        ("/p77", 299),
        ("/p9999/", 200),
        ("/q", 404),
    ] {
        assert_eq!(status(&tables, at, &call("any", path)), want, "{path}");
    }
}

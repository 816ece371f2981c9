//! `sallyctl listeners`, `routes`, `clusters`, `endpoints`: what a configuration became, as
//! tables.

use sallyport_config::ir::{
    Action, Bind, ClusterRef, HostPattern, ListenerKind, PathMatch, Route, Service, Snapshot,
};

use super::args::ViewArgs;
use super::{Outcome, Trouble, admin, offline, say, table};

/// Which table.
#[derive(Debug, Clone, Copy)]
pub(super) enum View {
    /// Sockets and filter chains.
    Listeners,
    /// Hosts and rules.
    Routes,
    /// Upstreams.
    Clusters,
    /// Their endpoints.
    Endpoints,
}

/// Runs the command. A running gateway answers with its own text.
pub(super) fn run(view: View, args: &ViewArgs, out: &mut Vec<u8>) -> Result<Outcome, Trouble> {
    let Some(base) = &args.source.admin else {
        let snapshot = offline::snapshot(&args.source.config, &args.identity)?;
        say(out, &text(view, &snapshot));
        return Ok(Outcome::Clean);
    };
    let path = match view {
        View::Listeners => "/listeners",
        View::Routes => "/config_dump",
        View::Clusters | View::Endpoints => "/clusters",
    };
    match admin::get(base, path)? {
        (200, body) => {
            say(out, &body);
            Ok(Outcome::Clean)
        }
        (status, body) => Err(Trouble::new(format!(
            "{base}{path} answers {status}: {}",
            body.trim()
        ))),
    }
}

fn text(view: View, snapshot: &Snapshot) -> String {
    match view {
        View::Listeners => table::render(
            &["LISTENER", "BIND", "PORT", "SERVER NAMES", "TLS", "SERVES"],
            listeners(snapshot),
        ),
        View::Routes => table::render(
            &["ROUTES", "HOSTS", "MATCH", "ACTION", "ORIGIN"],
            routes(snapshot),
        ),
        View::Clusters => table::render(
            &["HOST", "PORT", "SUBSET", "PROTOCOL", "ENDPOINTS"],
            clusters(snapshot),
        ),
        View::Endpoints => table::render(
            &["ENDPOINT", "WEIGHT", "LOCALITY", "CLUSTER"],
            endpoints(snapshot),
        ),
    }
}

fn listeners(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for listener in &snapshot.listeners {
        let bind = match &listener.bind {
            Bind::Default => "*".to_owned(),
            Bind::Ip(ip) => ip.to_string(),
            Bind::Unix(path) => path.clone(),
        };
        let row = |names: String, tls: String, service: &Service| {
            vec![
                listener.name.clone(),
                bind.clone(),
                listener.port.to_string(),
                names,
                tls,
                serves(snapshot, service),
            ]
        };
        match &listener.kind {
            ListenerKind::Plain(service) => rows.push(row("-".to_owned(), "-".to_owned(), service)),
            ListenerKind::Tls(chains) => rows.extend(chains.iter().map(|chain| {
                let tls = chain.tls.as_ref().map_or_else(
                    || "passthrough".to_owned(),
                    |t| format!("{:?}", t.mode).to_lowercase(),
                );
                row(patterns(&chain.sni), tls, &chain.service)
            })),
        }
    }
    rows
}

fn serves(snapshot: &Snapshot, service: &Service) -> String {
    match service {
        Service::Http(http) => {
            let index = usize::try_from(http.routes.0).unwrap_or(usize::MAX);
            format!(
                "http, routes {}",
                snapshot
                    .route_tables
                    .get(index)
                    .map_or("?", |t| t.name.as_str())
            )
        }
        Service::Tcp(tcp) => format!("tcp, {} destinations", tcp.targets.len()),
        Service::Close => "nothing".to_owned(),
    }
}

fn patterns(list: &[HostPattern]) -> String {
    if list.is_empty() {
        "*".to_owned()
    } else {
        list.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    }
}

fn routes(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for table in &snapshot.route_tables {
        for host in &table.hosts {
            let domains = patterns(&host.domains);
            if let Some(status) = host.https_redirect {
                rows.push(vec![
                    table.name.clone(),
                    domains,
                    "*".to_owned(),
                    format!("{status} to https"),
                    String::new(),
                ]);
                continue;
            }
            for route in host.routes.iter() {
                rows.push(vec![
                    table.name.clone(),
                    domains.clone(),
                    conditions(route),
                    action(snapshot, route),
                    route.origin.to_string(),
                ]);
            }
        }
    }
    rows
}

fn conditions(route: &Route) -> String {
    let mut parts = vec![match &route.matcher.path {
        PathMatch::Any => "*".to_owned(),
        PathMatch::Exact { path, .. } => path.clone(),
        PathMatch::Prefix { prefix, .. } => format!("{prefix}*"),
        PathMatch::Regex(regex) => format!("~{regex}"),
    }];
    let more = [
        (usize::from(route.matcher.method.is_some()), "method"),
        (usize::from(route.matcher.authority.is_some()), "authority"),
        (usize::from(route.matcher.scheme.is_some()), "scheme"),
        (route.matcher.headers.len(), "headers"),
        (route.matcher.query.len(), "query"),
        (route.matcher.claims.len(), "claims"),
    ];
    parts.extend(more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| {
        if *n == 1 {
            format!("+{what}")
        } else {
            format!("+{n} {what}")
        }
    }));
    parts.join(" ")
}

fn action(snapshot: &Snapshot, route: &Route) -> String {
    match &route.action {
        Action::Forward(forward) => {
            let one = |target: &sallyport_config::ir::Target| match &target.cluster {
                ClusterRef::Known(id) => cluster_name(snapshot, id.0),
                ClusterRef::Missing(name) => format!("{name} (missing)"),
            };
            match forward.targets.as_slice() {
                [only] => one(only),
                many => many
                    .iter()
                    .map(|t| format!("{}: {}", t.weight, one(t)))
                    .collect::<Vec<_>>()
                    .join(", "),
            }
        }
        Action::Redirect(_) => "redirect".to_owned(),
        Action::Direct(response) => format!("answer {}", response.status),
        Action::Fail { status, why } => format!("fail {status}: {why}"),
    }
}

fn cluster_name(snapshot: &Snapshot, id: u32) -> String {
    let index = usize::try_from(id).unwrap_or(usize::MAX);
    snapshot.clusters.get(index).map_or_else(
        || "?".to_owned(),
        |c| {
            if c.subset.is_empty() {
                format!("{}:{}", c.host, c.port)
            } else {
                format!("{}:{} ({})", c.host, c.port, c.subset)
            }
        },
    )
}

fn clusters(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let row = |c: &sallyport_config::ir::Cluster| {
        let subset = if c.subset.is_empty() {
            "-".to_owned()
        } else {
            c.subset.clone()
        };
        vec![
            c.host.clone(),
            c.port.to_string(),
            subset,
            format!("{:?}", c.protocol).to_lowercase(),
            (c.endpoints.len() + c.discovery.names().len()).to_string(),
        ]
    };
    snapshot.clusters.iter().map(row).collect()
}

fn endpoints(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for cluster in &snapshot.clusters {
        let written = cluster.endpoints.iter();
        let written = written.map(|endpoint| (endpoint.place(), endpoint));
        // What a gateway asks DNS for, as it asks.
        let named = cluster.discovery.names().iter().map(|named| {
            let port = named.like.address.port();
            (format!("{}:{port}", named.name), &named.like)
        });
        for (place, endpoint) in written.chain(named) {
            let locality = match endpoint.locality.as_str() {
                "" => "-",
                locality => locality,
            };
            rows.push(vec![
                place,
                endpoint.weight.to_string(),
                locality.to_owned(),
                cluster.name.clone(),
            ]);
        }
    }
    rows
}

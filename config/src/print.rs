//! A snapshot as text: one fact a line, stable, readable. For goldens and config dumps.
//!
//! Keys never show: a key is `[redacted]`, a certificate chain is named by the beginning of its
//! SHA-256, so that a rotation is visible and the content is not.

mod limit;
mod policy;
mod route;
mod traffic;

use crate::ir::*;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Lines with indentation.
#[derive(Debug, Default)]
struct Out {
    text: String,
    depth: usize,
}

impl Out {
    fn line(&mut self, line: &str) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn nested(&mut self, line: &str, inside: impl FnOnce(&mut Self)) {
        self.line(line);
        self.depth += 1;
        inside(self);
        self.depth -= 1;
    }
}

/// The whole snapshot.
#[must_use]
pub fn snapshot(snapshot: &Snapshot) -> String {
    let mut out = Out::default();
    settings(&mut out, &snapshot.settings);
    policy::policies(&mut out, &snapshot.policies);
    limit::limits(&mut out, &snapshot.limits);
    for l in &snapshot.listeners {
        listener(&mut out, snapshot, l);
    }
    for table in &snapshot.route_tables {
        route::table(&mut out, snapshot, table);
    }
    for c in &snapshot.clusters {
        cluster(&mut out, snapshot, c);
    }
    for c in &snapshot.certificates {
        certificate(&mut out, c);
    }
    out.text
}

fn millis(value: Option<Millis>) -> String {
    value.map_or_else(|| "none".to_owned(), |m| format!("{}ms", m.0))
}

fn limit(value: Option<u32>) -> String {
    value.map_or_else(|| "none".to_owned(), |v| v.to_string())
}

/// Only what differs from the defaults: the defaults are in [`Settings::default`].
fn settings(out: &mut Out, settings: &Settings) {
    let default = Settings::default();
    if *settings == default {
        return out.line("settings default");
    }
    out.nested("settings", |out| {
        let mut differs = |name: &str, now: String, default: String| {
            if now != default {
                out.line(&format!("{name} {now}"));
            }
        };
        macro_rules! plain {
            ($($field:ident),*) => {$(
                differs(stringify!($field), format!("{:?}", settings.$field), format!("{:?}", default.$field));
            )*};
        }
        plain!(path_normalization, trusted_hops, forward_client_cert, proxy_protocol, server_header);
        plain!(attempt_count, request_id, debug_headers, x_forwarded_host, x_forwarded_port);
        differs("drain", millis(Some(settings.drain)), millis(Some(default.drain)));
        plain!(trust_domain);
        differs("trace_sampling", format!("{}ppm", settings.trace_sampling.0), format!("{}ppm", default.trace_sampling.0));
        plain!(http10);
        differs("dns_refresh", millis(Some(settings.dns_refresh)), millis(Some(default.dns_refresh)));
        if settings.connection != default.connection {
            out.nested("connection", |out| connection(out, &settings.connection));
        }
        if let Some(log) = &settings.access_log {
            access_log(out, log);
        }
    });
}

fn connection(out: &mut Out, c: &ConnectionSettings) {
    let times = [
        ("idle_timeout", c.idle_timeout),
        ("request_headers_timeout", c.request_headers_timeout),
        ("request_timeout", c.request_timeout),
        ("stream_idle_timeout", c.stream_idle_timeout),
        ("max_connection_duration", c.max_connection_duration),
        ("max_stream_duration", c.max_stream_duration),
    ];
    for (name, value) in times {
        out.line(&format!("{name} {}", millis(value)));
    }
    let limits = [
        ("max_concurrent_streams", c.max_concurrent_streams),
        ("initial_stream_window", c.initial_stream_window),
        ("initial_connection_window", c.initial_connection_window),
        ("buffer_limit", c.buffer_limit),
        ("listener_connection_limit", c.listener_connection_limit),
        ("global_connection_limit", c.global_connection_limit),
    ];
    for (name, value) in limits {
        out.line(&format!("{name} {}", limit(value)));
    }
    out.line(&format!("underscores {:?}", c.underscores));
    out.line(&format!("merge_slashes {}", c.merge_slashes));
    out.line(&format!("escaped_slashes {:?}", c.escaped_slashes));
}

fn access_log(out: &mut Out, log: &AccessLog) {
    match &log.format {
        LogFormat::Text(format) => {
            out.nested(&format!("access_log {} text", log.path), |out| {
                out.line(&format!("{format:?}"))
            });
        }
        LogFormat::Json(members) => out.nested(&format!("access_log {} json", log.path), |out| {
            for (name, value) in members {
                out.line(&format!("{name:?}: {value:?}"));
            }
        }),
    }
}

fn listener(out: &mut Out, snapshot: &Snapshot, listener: &Listener) {
    let bind = match &listener.bind {
        Bind::Default => "default".to_owned(),
        Bind::Ip(ip) => ip.to_string(),
        Bind::Unix(path) => format!("unix:{path}"),
    };
    let head = format!(
        "listener {} bind {bind} port {}",
        listener.name, listener.port
    );
    match &listener.kind {
        ListenerKind::Plain(inside) => out.nested(&head, |out| service(out, snapshot, inside)),
        ListenerKind::Tls(chains) => out.nested(&format!("{head} tls"), |out| {
            for chain in chains {
                out.nested(&format!("chain {}", chain.name), |out| {
                    filter_chain(out, snapshot, chain)
                });
            }
        }),
    }
}

fn filter_chain(out: &mut Out, snapshot: &Snapshot, chain: &FilterChain) {
    out.line(&origin(&chain.origin));
    let clients = if chain.mesh_only { " of the mesh" } else { "" };
    out.line(&format!("sni {}{clients}", list(&chain.sni, "any")));
    match &chain.tls {
        None => out.line("tls passthrough"),
        Some(tls) => server_tls(out, snapshot, tls),
    }
    service(out, snapshot, &chain.service);
}

fn server_tls(out: &mut Out, snapshot: &Snapshot, tls: &ServerTls) {
    let versions = format!("{:?}..{:?}", tls.min_version, tls.max_version);
    out.nested(
        &format!(
            "tls {:?} {versions} alpn {}",
            tls.mode,
            list(&tls.alpn, "none")
        ),
        |out| {
            for id in &tls.certificates {
                let found = usize::try_from(id.0)
                    .ok()
                    .and_then(|i| snapshot.certificates.get(i));
                out.line(&format!(
                    "certificate {}",
                    found.map_or("?", |c| c.name.as_str())
                ));
            }
            if let Some(ca) = &tls.client_ca {
                out.line(&format!("client_ca {}", bundle(ca)));
            }
            if let Some(crl) = &tls.client_crl {
                out.line(&format!("client_crl {}", bundle(crl)));
            }
            for pin in &tls.pins {
                let (what, digest) = match pin {
                    Pin::Key(digest) => ("key", digest),
                    Pin::Certificate(digest) => ("certificate", digest),
                };
                out.line(&format!("pin {what} {}", hex(digest)));
            }
            if !tls.subject_alt_names.is_empty() {
                out.line(&format!(
                    "subject_alt_names {}",
                    list(&tls.subject_alt_names, "")
                ));
            }
            if !tls.cipher_suites.is_empty() {
                out.line(&format!("cipher_suites {}", list(&tls.cipher_suites, "")));
            }
        },
    );
}

fn service(out: &mut Out, snapshot: &Snapshot, service: &Service) {
    match service {
        Service::Close => out.line("close"),
        Service::Http(http) => {
            let table = usize::try_from(http.routes.0)
                .ok()
                .and_then(|i| snapshot.route_tables.get(i));
            let name = table.map_or("?", |t| t.name.as_str());
            let web = if http.grpc_web { " grpc-web" } else { "" };
            let quic = match (http.http3, http.early_data) {
                (false, _) => "",
                (true, false) => " http3",
                (true, true) => " http3 early-data",
            };
            out.line(&format!(
                "http routes {name} server_port {}{web}{quic}",
                http.server_port
            ));
        }
        Service::Tcp(tcp) => out.nested(
            &format!("tcp idle_timeout {}", millis(tcp.idle_timeout)),
            |out| {
                out.line(&origin(&tcp.origin));
                if tcp.max_duration.is_some() {
                    out.line(&format!("max_duration {}", millis(tcp.max_duration)));
                }
                if let Some(tunnel) = &tcp.tunnel {
                    let method = match tunnel.method {
                        TunnelMethod::Connect => "",
                        TunnelMethod::Post => " by POST",
                    };
                    out.line(&format!("tunnel to {}{method}", tunnel.target));
                }
                for (target, weight) in &tcp.targets {
                    let name = match target {
                        TcpTarget::Cluster(id) => cluster_name(snapshot, *id).to_owned(),
                        TcpTarget::Missing(name) => format!("missing {name}"),
                    };
                    out.line(&format!("target {name} weight {weight}"));
                }
            },
        ),
    }
}

fn cluster_name(snapshot: &Snapshot, id: ClusterId) -> &str {
    let found = usize::try_from(id.0)
        .ok()
        .and_then(|i| snapshot.clusters.get(i));
    found.map_or("?", |c| c.name.as_str())
}

fn cluster(out: &mut Out, snapshot: &Snapshot, cluster: &Cluster) {
    out.nested(&format!("cluster {}", cluster.name), |out| {
        out.line(&format!(
            "service {}/{}",
            cluster.service_namespace, cluster.service_name
        ));
        let tls = match &cluster.tls {
            UpstreamTls::Plain => "plain".to_owned(),
            UpstreamTls::Always(tls) => format!("{:?}", tls.mode),
            UpstreamTls::ByEndpoint(tls) => format!("{:?} by endpoint", tls.mode),
            UpstreamTls::Refused(why) => format!("refused: {why}"),
        };
        out.line(&format!(
            "protocol {:?} balance {} tls {tls}",
            cluster.protocol,
            traffic::balance(&cluster.balance)
        ));
        out.line(&format!(
            "connect_timeout {} idle_timeout {} max_requests_per_connection {}",
            millis(Some(cluster.connect_timeout)),
            millis(cluster.idle_timeout),
            cluster.max_requests_per_connection
        ));
        if let Some(tls) = cluster.tls.client() {
            client_tls(out, snapshot, tls);
        }
        traffic::traffic(out, &cluster.traffic);
        for e in &cluster.endpoints {
            let scheme = e.socket.as_ref().map_or("", |_| "unix:");
            endpoint(out, &format!("{scheme}{}", e.place()), e);
        }
        match &cluster.discovery {
            Discovery::Static => {}
            Discovery::StrictDns(_) => out.line("all addresses of"),
            Discovery::LogicalDns(_) => out.line("one address of"),
            Discovery::OnDemand { domain, like } => {
                let port = like.address.port();
                out.line(&format!("the request's host under {domain}, port {port}"));
            }
        }
        out.depth += 1;
        for e in cluster.discovery.names() {
            let port = e.like.address.port();
            endpoint(out, &format!("{}:{port}", e.name), &e.like);
        }
        out.depth -= 1;
    });
}

fn endpoint(out: &mut Out, place: &str, endpoint: &Endpoint) {
    let locality = match endpoint.locality.as_str() {
        "" => "-",
        locality => locality,
    };
    let mtls = if endpoint.mtls { " mtls" } else { "" };
    let priority = match endpoint.priority {
        0 => String::new(),
        later => format!(" priority {later}"),
    };
    out.line(&format!(
        "endpoint {place} weight {} locality {locality} workload {}{mtls}{priority}",
        endpoint.weight, endpoint.workload
    ));
}

fn client_tls(out: &mut Out, snapshot: &Snapshot, tls: &ClientTls) {
    if let Some(id) = tls.certificate {
        let index = usize::try_from(id.0).ok();
        let found = index.and_then(|i| snapshot.certificates.get(i));
        let name = found.map_or("?", |c| c.name.as_str());
        out.line(&format!("shows {name}"));
    }
    let sni = match &tls.sni {
        ServerName::Fixed(name) => name,
        ServerName::Authority => "authority",
    };
    out.line(&format!("sni {sni}"));
    let roots = match &tls.roots {
        Roots::System => "system".to_owned(),
        Roots::Given(given) => bundle(given),
        Roots::Unchecked => "unchecked".to_owned(),
    };
    let names = match &tls.names {
        PeerNames::Any => "any".to_owned(),
        PeerNames::ServerName => "the server name".to_owned(),
        PeerNames::OneOf(names) => list(names, ""),
    };
    out.line(&format!("believes {roots} as {names}"));
    if let Some(crl) = &tls.crl {
        out.line(&format!("crl {}", bundle(crl)));
    }
}

fn bundle(bundle: &Bundle) -> String {
    match bundle {
        Bundle::Inline(bytes) => format!("sha256:{}", digest(bytes)),
        Bundle::File(path) => format!("file {path}"),
        Bundle::Workload => "workload".to_owned(),
        Bundle::Missing(why) => format!("missing: {why}"),
    }
}

fn certificate(out: &mut Out, certificate: &Certificate) {
    out.nested(&format!("certificate {}", certificate.name), |out| {
        out.line(&origin(&certificate.origin));
        match &certificate.source {
            CertificateSource::Missing => out.line("missing"),
            CertificateSource::Workload => out.line("workload"),
            CertificateSource::Files { chain, key } => out.line(&format!("files {chain} {key}")),
            CertificateSource::Inline { chain, .. } => {
                out.line(&format!("chain sha256:{} key [redacted]", digest(chain)));
            }
        }
        if let Some(staple) = &certificate.staple {
            out.line(&format!("staple sha256:{}", digest(staple)));
        }
    });
}

fn origin(origin: &Origin) -> String {
    if origin.location.is_empty() {
        format!("from {origin}")
    } else {
        format!("from {origin} at {}", origin.location)
    }
}

fn list<T: std::fmt::Display>(items: &[T], none: &str) -> String {
    if items.is_empty() {
        return none.to_owned();
    }
    items
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Bytes of a digest that are shown: enough to tell two contents apart.
const SHOWN_DIGEST: usize = 6;

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    hex(digest.get(..SHOWN_DIGEST).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

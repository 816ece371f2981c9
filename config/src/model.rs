//! What *should* happen to a call: a naive interpreter of a [`crate::ir::Snapshot`].
//!
//! The oracle. It is short and obviously right, and it is slow: linear scans, fresh strings,
//! regexes compiled on every use. Golden cases run against it, against the gateway's tables, and
//! against a real Envoy. Order: chain by SNI, limits, policies, host, httpsRedirect, route, limits of
//! routes, fault, CORS, action. Tokens are not its business: it is told what a verified one claims.

mod call;
mod edit;
mod filters;
mod limit;
mod matching;
mod policy;
#[cfg(test)]
mod tests;

pub use call::*;

use crate::ir::*;
use edit::{edit_request, edit_response, location, rewrite_path};
use filters::{aborted, cors_fields, preflight};
use matching::applies;

/// What should happen to `call` under `snapshot`.
#[must_use]
pub fn decide(snapshot: &Snapshot, call: &Call) -> Verdict {
    let Some(listener) = snapshot.listeners.iter().find(|l| l.port == call.port) else {
        return Verdict::Refused;
    };
    match (&listener.kind, &call.sni) {
        (ListenerKind::Plain(Service::Http(_)), None)
            if let Some(denied) = denied(snapshot, call) =>
        {
            denied
        }
        (ListenerKind::Plain(service), None) => serve(snapshot, call, service, false),
        (ListenerKind::Tls(chains), Some(sni)) => handshake(snapshot, call, chains, sni),
        // cleartext on a TLS port, or a handshake on a cleartext one
        _ => Verdict::Closed,
    }
}

/// What policies that decide nothing say of a call that reaches a service. Who is over a limit is
/// refused before they are asked.
#[must_use]
pub fn observe(snapshot: &Snapshot, call: &Call) -> Observed {
    if limit::refused(&snapshot.limits, call, LimitStage::First, None).is_some() {
        return Observed::default();
    }
    policy::observed(&snapshot.policies, call)
}

/// As [`observe`], of a connection that carries bytes.
#[must_use]
pub fn observe_connection(snapshot: &Snapshot, call: &Call) -> Observed {
    policy::observed(&policy::on_connection(&snapshot.policies), call)
}

/// TLS: the chain by server name; then the authority has to belong to the same certificate.
fn handshake(snapshot: &Snapshot, call: &Call, chains: &[FilterChain], sni: &str) -> Verdict {
    let Some(chain) = chain_for(chains, &sni.to_ascii_lowercase()) else {
        return Verdict::Closed;
    };
    let of_mesh = |name: &String| MESH_ALPN.contains(&name.as_str());
    if chain.mesh_only && !call.alpn.iter().any(of_mesh) {
        return Verdict::Closed;
    }
    let Some(tls) = &chain.tls else {
        return serve(snapshot, call, &chain.service, true);
    };
    let usable = |id: &CertificateId| {
        certificate(snapshot, *id).is_some_and(|c| c.source != CertificateSource::Missing)
    };
    if tls.mode != ServerTlsMode::IstioMutual && !tls.certificates.iter().any(usable) {
        return Verdict::NoCertificate;
    }
    let Service::Http(_) = chain.service else {
        return serve(snapshot, call, &chain.service, true);
    };
    if let Some(denied) = denied(snapshot, call) {
        return denied;
    }
    // RFC 9110 §15.5.20: a request for a host of another chain is served only if that chain
    // would have shaken hands in the same way
    match chain_for(chains, &host_of(&call.authority)) {
        Some(other) if other.tls != chain.tls => Verdict::Misdirected,
        Some(other) if !matches!(other.service, Service::Http(_)) => Verdict::Misdirected,
        Some(other) => serve(snapshot, call, &other.service, true),
        None => serve(snapshot, call, &chain.service, true),
    }
}

/// What refuses a call before its route is known.
fn denied(snapshot: &Snapshot, call: &Call) -> Option<Verdict> {
    let spent = limit::refused(&snapshot.limits, call, LimitStage::First, None);
    spent.or_else(|| policy::denied(&snapshot.policies, call))
}

fn certificate(snapshot: &Snapshot, id: CertificateId) -> Option<&Certificate> {
    snapshot.certificates.get(usize::try_from(id.0).ok()?)
}

/// The chain with the most specific server name; a chain without names takes the rest.
fn chain_for<'s>(chains: &'s [FilterChain], name: &str) -> Option<&'s FilterChain> {
    let any = [HostPattern::Any];
    let names = |chain: &'s FilterChain| match chain.sni.as_slice() {
        [] => any.to_vec(),
        names => names.to_vec(),
    };
    most_specific(chains.iter().map(|c| (names(c), c)), name)
}

/// Exact beats suffix, a longer suffix beats a shorter one, `*` comes last.
fn most_specific<T>(all: impl Iterator<Item = (Vec<HostPattern>, T)>, host: &str) -> Option<T> {
    let rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(_) => usize::MAX,
        HostPattern::Suffix(suffix) => suffix.len(),
        HostPattern::Any => 0,
    };
    let mut best: Option<(usize, T)> = None;
    for (patterns, value) in all {
        let found = patterns.iter().filter(|p| p.matches(host)).map(rank).max();
        if let Some(rank) = found
            && best.as_ref().is_none_or(|(r, _)| rank > *r)
        {
            best = Some((rank, value));
        }
    }
    best.map(|(_, value)| value)
}

/// Authority without port, in lower case.
fn host_of(authority: &str) -> String {
    edit::split_port(authority).0.to_ascii_lowercase()
}

fn serve(snapshot: &Snapshot, call: &Call, service: &Service, tls: bool) -> Verdict {
    match service {
        Service::Close => Verdict::Closed,
        Service::Tcp(_) if policy::refused(&snapshot.policies, call) => Verdict::Closed,
        Service::Tcp(tcp) => match pick(&tcp.targets, |t| t.1, call.dice.target) {
            Some((TcpTarget::Cluster(id), _)) => {
                cluster(snapshot, *id).map_or(Verdict::Closed, |c| Verdict::Tcp(c.name.clone()))
            }
            _ => Verdict::Closed,
        },
        Service::Http(http) => usize::try_from(http.routes.0)
            .ok()
            .and_then(|i| snapshot.route_tables.get(i))
            .map_or(Verdict::NoRoute, |table| {
                request(snapshot, call, table, tls)
            }),
    }
}

fn cluster(snapshot: &Snapshot, id: ClusterId) -> Option<&Cluster> {
    snapshot.clusters.get(usize::try_from(id.0).ok()?)
}

/// The member on which the die falls, each as wide as its weight.
fn pick<T>(members: &[T], weight: impl Fn(&T) -> u32, die: u64) -> Option<&T> {
    let sum: u64 = members.iter().map(|m| u64::from(weight(m))).sum();
    let mut rest = die.checked_rem(sum)?;
    members.iter().find(|m| {
        let width = u64::from(weight(m));
        let hit = rest < width;
        rest = rest.saturating_sub(width);
        hit
    })
}

/// `http` or `https`: the connection's, unless a trusted proxy says otherwise.
fn scheme(settings: &Settings, call: &Call, tls: bool) -> String {
    let told = call.headers.iter().rfind(|(n, _)| n == "x-forwarded-proto");
    match told {
        Some((_, v)) if settings.trusted_hops > 0 && (v == "http" || v == "https") => v.clone(),
        _ if tls => "https".to_owned(),
        _ => "http".to_owned(),
    }
}

fn request(snapshot: &Snapshot, call: &Call, table: &RouteTable, tls: bool) -> Verdict {
    let hosts = table.hosts.iter().map(|h| (h.domains.clone(), h));
    let Some(host) = most_specific(hosts, &host_of(&call.authority)) else {
        return Verdict::NoRoute;
    };
    let scheme = scheme(&snapshot.settings, call, tls);
    if let Some(status) = host.https_redirect
        && scheme != "https"
    {
        let location = format!("https://{}{}", call.authority, call.path);
        return Verdict::Redirect {
            route: String::new(),
            status,
            location,
        };
    }
    let Some(route) = host
        .routes
        .iter()
        .find(|r| applies(&r.matcher, call, &scheme))
    else {
        return Verdict::NoRoute;
    };
    let limits = &snapshot.limits;
    if let Some(spent) = limit::refused(limits, call, LimitStage::Routed, Some(route)) {
        return spent;
    }
    if let Some(status) = aborted(route, call) {
        return direct(route, status, b"fault filter abort", "fault_filter_abort");
    }
    if let Some(fields) = preflight(route, call) {
        return Verdict::Preflight(fields);
    }
    match &route.action {
        Action::Fail { status, .. } => direct(route, *status, b"", "route_broken"),
        Action::Direct(answer) => direct(route, answer.status, &answer.body, "direct_response"),
        Action::Redirect(redirect) => Verdict::Redirect {
            route: route.name.clone(),
            status: redirect.status,
            location: location(redirect, call, &scheme),
        },
        Action::Forward(forward) => forward_to(snapshot, call, route, forward),
    }
}

fn direct(route: &Route, status: u16, body: &[u8], details: &'static str) -> Verdict {
    Verdict::Direct {
        route: route.name.clone(),
        status,
        body: body.to_vec(),
        details,
    }
}

fn forward_to(snapshot: &Snapshot, call: &Call, route: &Route, forward: &Forward) -> Verdict {
    // one destination: its weight means nothing
    let target = match forward.targets.as_slice() {
        [only] => Some(only),
        several => pick(several, |t| t.weight, call.dice.target),
    };
    let Some(target) = target else {
        return direct(route, 500, b"", "route_broken");
    };
    let name = |reference: &ClusterRef| match reference {
        ClusterRef::Known(id) => cluster(snapshot, *id).map(|c| c.name.clone()),
        ClusterRef::Missing(_) => None,
    };
    let known = name(&target.cluster);
    let mirrors = forward
        .mirrors
        .iter()
        .filter(|m| m.share.hit(call.dice.mirror));
    let delay = route.fault.as_ref().and_then(|f| f.delay.as_ref());
    let mut headers = call.headers.clone();
    edit_request(&mut headers, call, &target.headers.request);
    edit_request(&mut headers, call, &route.headers.request);
    // the route's authority beats the destination's
    let authority = forward
        .rewrite
        .authority
        .as_ref()
        .or(target.authority.as_ref());
    if authority.is_some() {
        edit::set(&mut headers, "x-envoy-original-host", &call.authority);
    }
    let path = forward
        .rewrite
        .path
        .as_ref()
        .map(|rewrite| rewrite_path(rewrite, &call.path));
    if path.is_some() {
        edit::set(&mut headers, "x-envoy-original-path", &call.path);
    }
    let mut response = edit_response(call, &target.headers.response);
    response.extend(edit_response(call, &route.headers.response));
    response.extend(
        route
            .cors
            .as_ref()
            .map_or_else(Vec::new, |c| cors_fields(c, call)),
    );
    Verdict::Forward(Box::new(Forwarded {
        route: route.name.clone(),
        origin: route.origin.to_string(),
        known: known.is_some(),
        cluster: known.unwrap_or_else(|| match &target.cluster {
            ClusterRef::Missing(name) => name.clone(),
            ClusterRef::Known(_) => String::new(),
        }),
        delay: delay
            .filter(|d| d.share.hit(call.dice.delay))
            .map_or(0, |d| d.duration.0),
        authority: authority.unwrap_or(&call.authority).clone(),
        path: path.unwrap_or_else(|| call.path.clone()),
        headers,
        response,
        timeout: forward.timeout.map_or(0, |t| t.0),
        attempts: forward.retry.attempts,
        mirrors: mirrors.filter_map(|m| name(&m.cluster)).collect(),
    }))
}

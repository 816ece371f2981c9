//! A decision in the model's words.

use super::meter::Still;
use crate::admit::{
    Admitted, Claims, Cleared, Inquiry, admit_connection, authorize, inquire_connection,
};
use crate::call::{Call, HeaderLines, Scheme};
use crate::client_hello::ClientHello;
use crate::decide::{Answer, Decision, Where, decide, find};
use crate::plan::{EditSink, Plan};
use crate::reply::Reply;
use crate::tables::{ListenerIdx, Tables};
use crate::tcp;
use crate::template::{Facts, Field, Value, call_value};
use sallyport_config::ir::{
    CertificateSource, ClusterRef, ListenerKind, MESH_ALPN, ServerTls, ServerTlsMode, Service,
    Snapshot, TcpService,
};
use sallyport_config::model::{self, Forwarded, Observed, Verdict};
use std::net::SocketAddr;
use std::ops::ControlFlow;

/// What the tables make of a call, from the socket on, as [`model::decide`] would say it.
#[must_use]
pub fn verdict(tables: &Tables, call: &model::Call) -> Verdict {
    judge(tables, call, &mut None)
}

/// As [`verdict`], and what policies say of the call that decide nothing, if it comes as far as they.
pub(super) fn judge(
    tables: &Tables,
    call: &model::Call,
    observed: &mut Option<Observed>,
) -> Verdict {
    let snapshot = tables.snapshot();
    let mut listeners = (0..).zip(&snapshot.listeners);
    let Some((index, listener)) = listeners.find(|(_, listener)| listener.port == call.port) else {
        return Verdict::Refused;
    };
    let listener_idx = ListenerIdx(index);
    let tls = matches!(listener.kind, ListenerKind::Tls(_));
    let chain = match (&call.sni, tls) {
        (None, false) => None,
        (Some(sni), true) => match tables.chain_for(listener_idx, &hello(call, sni)) {
            Some(chain) => Some(chain),
            None => return Verdict::Closed,
        },
        _ => return Verdict::Closed,
    };
    let terminates = chain
        .and_then(|chain| tables.filter_chain(listener_idx, chain)?.tls.as_ref())
        .filter(|tls| tls.mode != ServerTlsMode::IstioMutual);
    if terminates.is_some_and(|tls| !has_certificate(snapshot, tls)) {
        return Verdict::NoCertificate;
    }
    let at = Where {
        listener: listener_idx,
        chain,
    };
    match tables.service(at) {
        Some(Service::Http(_)) => {
            request(tables, at, call, tls, observed.insert(Observed::default()))
        }
        Some(Service::Tcp(tcp)) => {
            connection(tables, call, tcp, observed.insert(Observed::default()))
        }
        Some(Service::Close) | None => Verdict::Closed,
    }
}

fn hello(call: &model::Call, sni: &str) -> ClientHello {
    ClientHello {
        sni: Some(sni.into()),
        of_mesh: call.alpn.iter().any(|name| MESH_ALPN.contains(&&**name)),
    }
}

fn has_certificate(snapshot: &Snapshot, tls: &ServerTls) -> bool {
    tls.certificates.iter().any(|id| {
        let certificate = usize::try_from(id.0)
            .ok()
            .and_then(|at| snapshot.certificates.get(at));
        certificate.is_some_and(|found| found.source != CertificateSource::Missing)
    })
}

fn connection(
    tables: &Tables,
    call: &model::Call,
    service: &TcpService,
    observed: &mut Observed,
) -> Verdict {
    let lines = Lines(&[]);
    let borrowed = Call {
        method: "",
        authority: "",
        path: "",
        query: None,
        ..borrowed(call, &lines, Scheme::Http)
    };
    match inquire_connection(tables, &borrowed) {
        Ok(Inquiry::Ask(_)) if call.refused.is_some() => return Verdict::Closed,
        Ok(_) => {}
        Err(_) => return Verdict::Closed,
    }
    let cleared = Cleared::nothing();
    let Ok(admitted) = admit_connection(tables, &borrowed, &cleared, observed) else {
        return Verdict::Closed;
    };
    match tcp::choose(tables, service, &admitted, call.dice.target) {
        Ok((_, cluster)) => Verdict::Tcp(cluster.name.clone()),
        Err(_) => Verdict::Closed,
    }
}

fn borrowed<'a>(call: &'a model::Call, lines: &'a Lines<'a>, scheme: Scheme) -> Call<'a> {
    let (path, query) = match call.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (call.path.as_str(), None),
    };
    Call {
        scheme,
        method: &call.method,
        authority: &call.authority,
        path,
        query,
        headers: lines,
        client: SocketAddr::new(call.client(), 1),
        peer: SocketAddr::new(call.peer(), 1),
        local: SocketAddr::new(call.local(), call.port),
        sni: call.sni.as_deref(),
        identity: call.identity.as_deref(),
    }
}

fn request(
    tables: &Tables,
    at: Where,
    call: &model::Call,
    tls: bool,
    observed: &mut Observed,
) -> Verdict {
    let lines = Lines(&call.headers);
    let borrowed = borrowed(call, &lines, scheme(tables.snapshot(), call, tls));
    let admitted = Admitted::with_claims(Claims::new(call.claims.clone()));
    let mut meter = Still::new(tables);
    if let Err(reply) = meter.first(tables, &borrowed, call.spent) {
        return denied(*reply);
    }
    if let Err(reply) = authorize(tables, &borrowed, &admitted, call.refused, observed) {
        return denied(*reply);
    }
    let found = match find(tables, at, &borrowed, &admitted) {
        ControlFlow::Continue(found) => Some(found),
        ControlFlow::Break(_) => None,
    };
    if let Some(found) = found
        && let Err(reply) = meter.routed(tables, found, &borrowed, &admitted, call.spent)
    {
        return denied(*reply);
    }
    match decide(tables, at, &borrowed, &admitted, &call.dice) {
        Decision::Reply(answer) => answered(answer),
        Decision::Forward(plan) => {
            Verdict::Forward(Box::new(forwarded(tables, &plan, &borrowed, call)))
        }
    }
}

fn denied(reply: Reply<'_>) -> Verdict {
    Verdict::Denied {
        status: reply.status,
        details: reply.details.into_owned(),
    }
}

/// A trusted hop may say that the client came over TLS, or not.
fn scheme(snapshot: &Snapshot, call: &model::Call, tls: bool) -> Scheme {
    let mut told = call.headers.iter().rev();
    let told = told.find(|(name, _)| name == "x-forwarded-proto");
    match told.filter(|_| snapshot.settings.trusted_hops > 0) {
        Some((_, proto)) if proto == "https" => Scheme::Https,
        Some((_, proto)) if proto == "http" => Scheme::Http,
        _ if tls => Scheme::Https,
        _ => Scheme::Http,
    }
}

fn answered(answer: Answer<'_>) -> Verdict {
    let reply = answer.reply;
    let route = answer.route.map(|route| route.name.clone());
    let route = route.unwrap_or_default();
    let field = |name: &str| {
        let mut fields = reply.headers.iter();
        fields
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone().into_owned())
    };
    let details = match &*reply.details {
        "misdirected_request" => return Verdict::Misdirected,
        "route_not_found" => return Verdict::NoRoute,
        "cors_response" => {
            let fields = reply.headers.into_iter();
            let owned = fields.map(|(name, value)| (name.into_owned(), value.into_owned()));
            return Verdict::Preflight(owned.collect());
        }
        "fault_filter_abort" => "fault_filter_abort",
        "route_broken" => "route_broken",
        _ => "direct_response",
    };
    let status = reply.status;
    if let Some(location) = field("location") {
        return Verdict::Redirect {
            route,
            status,
            location,
        };
    }
    let body = match field("grpc-message") {
        // for people only, and in the gateway's own words
        _ if details == "route_broken" => Vec::new(),
        Some(message) => message.into_bytes(),
        None => reply.body.into_owned(),
    };
    Verdict::Direct {
        route,
        status,
        body,
        details,
    }
}

fn forwarded(
    tables: &Tables,
    plan: &Plan<'_>,
    borrowed: &Call<'_>,
    call: &model::Call,
) -> Forwarded {
    let facts = RequestOnly(borrowed);
    let mut scratch = Vec::new();
    let mut request = Fields(call.headers.clone());
    plan.edit_request(borrowed, &facts, &mut scratch, &mut request);
    let mut response = Script(Vec::new());
    plan.edit_response(&facts, &mut scratch, &mut response);
    let mut path = Vec::new();
    plan.path.write(borrowed.path, borrowed.query, &mut path);
    let known = match plan.cluster {
        ClusterRef::Known(id) => tables.cluster(*id),
        ClusterRef::Missing(_) => None,
    };
    let mirrors = plan.mirrors.iter();
    Forwarded {
        route: plan.route.name.clone(),
        origin: plan.route.origin.to_string(),
        cluster: match (known, plan.cluster) {
            (Some(cluster), _) => cluster.name.clone(),
            (None, ClusterRef::Missing(name)) => name.clone(),
            (None, ClusterRef::Known(_)) => String::new(),
        },
        known: known.is_some(),
        delay: plan.delay.map_or(0, |delay| delay.0),
        authority: plan.authority.unwrap_or(borrowed.authority).to_owned(),
        path: text(&path),
        headers: request.0,
        response: response.0,
        timeout: plan.timeout.map_or(0, |timeout| timeout.0),
        attempts: plan.retry.attempts,
        mirrors: mirrors
            .filter_map(|id| tables.cluster(*id).map(|cluster| cluster.name.clone()))
            .collect(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fields in order, names in lower case.
struct Lines<'a>(&'a [(String, String)]);

impl HeaderLines for Lines<'_> {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut lines = self.0.iter().filter(|(key, _)| key == name);
        lines.any(|(_, value)| visit(value.as_bytes()))
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.0.iter().filter(|(key, _)| key == name);
        lines.next().map(|(_, value)| value.as_bytes())
    }
}

/// Knows what the client sent and nothing else, as the model does.
struct RequestOnly<'a>(&'a Call<'a>);

impl Facts for RequestOnly<'_> {
    fn request(&self, name: &str) -> Value<'_> {
        call_value(self.0, name)
    }
    fn response(&self, _: &str) -> Value<'_> {
        Value::Missing
    }
    fn trailer(&self, _: &str) -> Value<'_> {
        Value::Missing
    }
    fn start_us(&self) -> Option<u64> {
        None
    }
    fn field(&self, _: Field) -> Value<'_> {
        Value::Missing
    }
}

/// Applies edits to fields.
struct Fields(Vec<(String, String)>);

impl EditSink for Fields {
    fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }
    fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }
    fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_owned(), text(value)));
    }
}

/// Writes edits down.
struct Script(Vec<String>);

impl EditSink for Script {
    fn remove(&mut self, name: &str) {
        self.0.push(format!("-{name}"));
    }
    fn set(&mut self, name: &str, value: &[u8]) {
        self.0.push(format!("{name}={}", text(value)));
    }
    fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push(format!("{name}+={}", text(value)));
    }
}

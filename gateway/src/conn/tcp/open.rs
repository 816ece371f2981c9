//! From a client's connection to an upstream's: policies, weights, endpoints, tries.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};

use sallyport_config::ir::{
    Cluster, ClusterId, Discovery, Millis, Service, TcpService, Tunnel, UpstreamProtocol, Wire,
};
use sallyport_core::admit::{Cleared, Inquiry, admit_connection, inquire_connection};
use sallyport_core::balance::{Key, Wanted};
use sallyport_core::call::{Call, NoHeaders};
use sallyport_core::discovery::host_under;
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::outlier::Verdict;
use sallyport_core::proxy_protocol::Ends;
use sallyport_core::quota::What;
use sallyport_core::tcp::{CONNECT_TRIES_MAX, choose};

use super::far::Far;
use super::{Conn, End, Limits, tunnel};
use crate::conn::Link;
use crate::conn::exchange::{Asker, ask_about_bytes};
use crate::rt::Alarm;
use crate::stats::tcp::labels;
use crate::upstream::{Errand, Lease, Upstream, connect_failure, h2 as shared};
use crate::worker::{Active, Worker};

/// Where a connection goes.
struct Destination {
    upstream: Rc<Upstream>,
    /// Host of the service.
    host: Box<str>,
    /// Ends of the client's connection.
    ends: Ends,
    connect_timeout: Millis,
    limits: Limits,
    /// Of the client's address, if the cluster hashes that.
    hash: Option<u64>,
    /// Workload of each endpoint, for the counters.
    workloads: Box<[Box<str>]>,
    /// The host that the client names, if the cluster leaves that to it.
    named: Option<Named>,
    /// How the endpoint, a proxy, shall carry the bytes on.
    tunnel: Option<Through>,
}

/// A tunnel through an endpoint.
struct Through {
    tunnel: Tunnel,
    /// The cluster, where it speaks HTTP/2 and the tunnel is a stream of a connection that is shared.
    streams: Option<(Rc<Active>, ClusterId)>,
}

/// A connection to an upstream.
pub(super) struct Opened {
    pub(super) far: Far,
    /// How long it may last.
    pub(super) limits: Limits,
    /// What the upstream said already.
    pub(super) early: Vec<u8>,
}

impl Destination {
    fn errand(&self) -> Errand<'_> {
        Errand {
            wire: match &self.tunnel {
                Some(Through {
                    streams: Some(_), ..
                }) => Wire::Http2,
                Some(_) => Wire::Http1,
                None => Wire::Tcp,
            },
            authority: &self.host,
            ends: Some(&self.ends),
        }
    }
}

/// A host that is to be looked up.
struct Named {
    active: Rc<Active>,
    cluster: ClusterId,
    host: String,
}

/// A connection waits this long for the addresses of its host.
const LOOKUP_WITHIN: Millis = Millis(5_000);

/// Finds an upstream, and connects to it.
pub(super) async fn open(conn: &mut Conn) -> Result<Opened, End> {
    // The generation is let go of before the first byte goes through.
    let mut to = destination(conn).await?;
    if let Some(named) = to.named.take() {
        look_up(conn, &mut to, named).await?;
    }
    let mut tried: Vec<u32> = Vec::new();
    let mut last: Failure = FailureKind::NoHealthyUpstream.into();
    while conn.note.attempts < CONNECT_TRIES_MAX {
        let endpoint = {
            let mut rng = conn.worker.rng.borrow_mut();
            let wanted = Wanted {
                hash: to.hash,
                avoid: &tried,
                elsewhere: false,
                now: conn.worker.timers.now(),
            };
            to.upstream.pick(wanted, &mut rng)
        };
        let Some(endpoint) = endpoint.filter(|endpoint| !tried.contains(endpoint)) else {
            break;
        };
        conn.note.attempts += 1;
        let index = usize::try_from(endpoint).unwrap_or(usize::MAX);
        let workload = to.workloads.get(index).cloned();
        conn.note.workload = workload.unwrap_or_default();
        match connect(conn, &to, endpoint).await? {
            Ok((far, early)) => {
                let well = Verdict::Status(200);
                to.upstream.note(endpoint, well, &conn.worker.commons);
                conn.note.upstream = Some(far.address());
                conn.note.upstream_socket = far.socket();
                conn.note.upstream_local = far.local();
                conn.note.principals = far.principals();
                return Ok(Opened {
                    far,
                    limits: to.limits,
                    early,
                });
            }
            Err(failure) if failure.kind == FailureKind::Overflow => {
                let mut stats = conn.worker.stats.borrow_mut();
                stats.upstream_overflow(&conn.note.labels.cluster, What::Connections);
                return Err(End::Failed(failure));
            }
            Err(failure) => {
                let mut stats = conn.worker.stats.borrow_mut();
                stats.upstream_failed(&conn.note.labels.cluster);
                drop(stats);
                let broken = Verdict::Broken;
                to.upstream.note(endpoint, broken, &conn.worker.commons);
                tried.push(endpoint);
                last = failure;
            }
        }
    }
    Err(End::Failed(last))
}

fn failed(kind: FailureKind) -> End {
    End::Failed(kind.into())
}

async fn destination(conn: &mut Conn) -> Result<Destination, End> {
    let active = conn.worker.active();
    let tables = &active.generation.tables;
    let place = conn.link.place(&active.generation);
    match place.and_then(|place| tables.service(place)) {
        Some(Service::Tcp(service)) => {
            let cleared = clear(conn, &active).await?;
            find(conn, &active, service, &cleared)
        }
        _ => Err(failed(FailureKind::NoRoute)),
    }
}

/// The connection as policies see it.
fn seen(link: &Link) -> Call<'_> {
    Call {
        scheme: link.scheme(),
        method: "",
        authority: "",
        path: "",
        query: None,
        headers: &NoHeaders,
        client: link.ends.source,
        peer: link.peer,
        local: link.local,
        sni: link.sni(),
        identity: link.identity(),
    }
}

/// Has whoever must be asked before all policies look at the connection.
async fn clear(conn: &mut Conn, active: &Active) -> Result<Cleared, End> {
    let tables = &active.generation.tables;
    let call = seen(&conn.link);
    let question = match inquire_connection(tables, &call).map_err(End::Denied)? {
        Inquiry::Nobody(cleared) => return Ok(cleared),
        Inquiry::Ask(question) => question,
    };
    let message = question.grpc_connection(&call);
    let found = active.upstream(&conn.worker, question.authorizer().cluster);
    let asked = ask_about_bytes(conn, question, message, found).await;
    asked.map_err(|denial| match denial {
        Some(denial) => End::Unauthorized(denial.details.into_owned()),
        None => End::ClientGone,
    })
}

fn find(
    conn: &mut Conn,
    active: &Rc<Active>,
    service: &TcpService,
    cleared: &Cleared,
) -> Result<Destination, End> {
    let tables = &active.generation.tables;
    let call = seen(&conn.link);
    let admitted = admit_connection(tables, &call, cleared, &mut conn.note.observed);
    conn.worker.stats.borrow_mut().observed(&conn.note.observed);
    let admitted = admitted.map_err(End::Denied)?;
    let die = conn.worker.rng.borrow_mut().next_u64();
    let (id, _) = choose(tables, service, &admitted, die).map_err(End::Failed)?;
    let upstream = active.upstream(&conn.worker, id);
    let (cluster, upstream) = upstream.ok_or_else(|| failed(FailureKind::MissingCluster))?;
    conn.note.labels = labels(Some(cluster));
    let named = match &cluster.discovery {
        Discovery::OnDemand { domain, .. } => {
            let host = host_under(conn.link.sni().unwrap_or_default(), domain);
            Some(Named {
                active: Rc::clone(active),
                cluster: id,
                host: host.ok_or_else(|| failed(FailureKind::HostRefused))?,
            })
        }
        _ => None,
    };
    let workloads = cluster.endpoints.iter();
    Ok(Destination {
        named,
        tunnel: service.tunnel.as_ref().map(|tunnel| Through {
            tunnel: tunnel.clone(),
            streams: (cluster.protocol == UpstreamProtocol::Http2).then(|| (Rc::clone(active), id)),
        }),
        upstream: Rc::clone(upstream),
        host: cluster.host.as_str().into(),
        ends: conn.link.ends,
        connect_timeout: cluster.connect_timeout,
        limits: Limits {
            idle: service.idle_timeout,
            age: service.max_duration,
        },
        hash: Key::of_address(&cluster.balance, conn.link.peer.ip()),
        workloads: workloads.map(|e| e.workload.as_str().into()).collect(),
    })
}

/// Completes a destination with the addresses of the host that the client names.
async fn look_up(conn: &mut Conn, to: &mut Destination, named: Named) -> Result<(), End> {
    let worker = Rc::clone(&conn.worker);
    conn.alarm.set(Some(worker.timers.now() + LOOKUP_WITHIN));
    let found = poll_fn(|context| {
        if let Poll::Ready(found) = worker.look_up(&named.host, context) {
            return Poll::Ready(found.map_err(failed));
        }
        if conn.poll_early(context).is_ready() {
            return Poll::Ready(Err(End::ClientGone));
        }
        let alarm = conn.alarm.poll(context);
        alarm.map(|()| Err(failed(FailureKind::HostUnknown)))
    });
    let addresses = found.await?;
    let Named {
        active,
        cluster,
        host,
    } = named;
    if let Some(target) = active.target(&worker, cluster, &host, &addresses) {
        let workloads = target.cluster.endpoints.iter();
        to.workloads = workloads.map(|e| e.workload.as_str().into()).collect();
        to.upstream = Rc::clone(&target.upstream);
        to.host = host.into();
    }
    Ok(())
}

/// One try, within the cluster's time. What the client sends meanwhile is kept, one buffer of it.
async fn connect(
    conn: &mut Conn,
    to: &Destination,
    endpoint: u32,
) -> Result<Result<(Far, Vec<u8>), Failure>, End> {
    let worker = Rc::clone(&conn.worker);
    let limit = worker.timers.now() + to.connect_timeout;
    conn.alarm.set(Some(limit));
    let mut connecting = Box::pin(reach(&worker, to, endpoint));
    poll_fn(|context| {
        if let Poll::Ready(result) = connecting.as_mut().poll(context) {
            return Poll::Ready(Ok(result));
        }
        if conn.poll_early(context).is_ready() {
            return Poll::Ready(Err(End::ClientGone));
        }
        let alarm = conn.alarm.poll(context);
        alarm.map(|()| Ok(Err(FailureKind::ConnectTimeout.into())))
    })
    .await
}

/// Connects, and digs a tunnel where one is asked for; with what came out of it already.
async fn reach(
    worker: &Rc<Worker>,
    to: &Destination,
    endpoint: u32,
) -> Result<(Far, Vec<u8>), Failure> {
    if let Some(through) = &to.tunnel
        && let Some((active, id)) = &through.streams
    {
        let cluster = active.generation.cluster(*id);
        let cluster = cluster.ok_or(FailureKind::MissingCluster)?;
        let far = share(worker, to, cluster, endpoint, &through.tunnel).await?;
        return Ok((far, Vec::new()));
    }
    let connected = Lease::connect(worker, &to.upstream, endpoint, to.errand()).await;
    let lease = connected.map_err(|error| connect_failure(&error))?;
    match &to.tunnel {
        Some(through) => tunnel::dig(lease, &through.tunnel).await,
        None => Ok((Far::Straight(Box::new(lease)), Vec::new())),
    }
}

/// A tunnel that is a stream. A connection that was there before may have died unseen: then one
/// more try is made, on a fresh one.
async fn share(
    worker: &Rc<Worker>,
    to: &Destination,
    cluster: &Cluster,
    endpoint: u32,
    tunnel: &Tunnel,
) -> Result<Far, Failure> {
    let mut fresh = false;
    loop {
        let (upstream, errand) = (&to.upstream, to.errand());
        let lease = shared::Lease::obtain(worker, upstream, cluster, endpoint, errand, fresh).await;
        let lease = lease.and_then(shared::Lease::admit);
        let lease = lease.map_err(|error| connect_failure(&error))?;
        let reused = lease.is_reused();
        let dug = tunnel::dig_stream(lease, tunnel).await;
        let died = matches!(&dug, Err(failure) if failure.kind == FailureKind::UpstreamClosed);
        if fresh || !(reused && died) {
            return dug;
        }
        fresh = true;
    }
}

impl Asker for Conn {
    fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_early(context)
    }
}

impl Conn {
    /// Reads what the client sends before there is an upstream; ready when the client is gone.
    fn poll_early(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.client.is_reading() {
            if !self.early.is_empty() || self.client_ended {
                return Poll::Pending;
            }
            self.client.start_read(None);
        }
        let Poll::Ready((result, buffer)) = self.client.poll_read(context) else {
            return Poll::Pending;
        };
        match result {
            Ok(0) => {
                self.client_ended = true;
                self.worker.buffers.give(buffer);
                Poll::Pending
            }
            Ok(_) => {
                self.early = buffer;
                Poll::Pending
            }
            Err(_) => Poll::Ready(()),
        }
    }
}

//! The streams that are open: what operators ask about.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::caller::Caller;
use crate::proxy::Proxy;
use crate::resources::{Resources, TypeUrl};
use crate::session::{Protocol, Session, Status};

/// An open stream.
#[derive(Debug)]
pub(super) struct Client {
    /// Number of the stream.
    pub(super) number: u64,
    /// Who is served.
    pub(super) proxy: Proxy,
    /// Who that was proven to be.
    pub(super) caller: Caller,
    /// Where it is, if it came over the network.
    pub(super) peer: Option<SocketAddr>,
    protocol: Protocol,
    since: SystemTime,
    /// Written by the stream after each exchange, read by operators.
    state: Mutex<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    types: Vec<Status>,
    target: Arc<Resources>,
}

impl Client {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how the session stands.
    pub(super) fn note(&self, session: &Session) {
        let state = State {
            types: session.status().collect(),
            target: Arc::clone(session.target()),
        };
        *self.state() = state;
    }

    /// What it is to have.
    pub(super) fn target(&self) -> Arc<Resources> {
        Arc::clone(&self.state().target)
    }

    /// How it stands, for `syncz`.
    fn sync(&self) -> Value {
        let state = self.state().clone();
        let mut row = json!({
            "proxy": self.proxy.id,
            "proxy_type": if self.proxy.id.starts_with("router") { "router" } else { "sidecar" },
            "namespace": self.proxy.namespace,
            "identity": self.caller.to_string(),
            "protocol": if self.protocol == Protocol::Delta { "delta" } else { "sotw" },
        });
        for status in state.types {
            let how = match (&status.error, status.sent == status.accepted) {
                (Some(_), _) => "ERROR",
                (None, _) if status.sent == 0 => "NOT SENT",
                (None, true) => "SYNCED",
                (None, false) => "STALE",
            };
            let standing = json!({
                "status": how,
                "sent": status.sent,
                "acked": status.accepted,
                "subscribed": status.names,
                "available": state.target.count(status.ty),
                "rejected": status.refusals,
                "error": status.error.as_deref(),
            });
            if let Some(row) = row.as_object_mut() {
                row.insert(status.ty.short().to_owned(), standing);
            }
        }
        row
    }

    fn connection(&self) -> Value {
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH);
        json!({
            "connectionId": format!("{}-{}", self.proxy.id, self.number),
            "connectedAt": since.unwrap_or_default().as_secs(),
            "address": self.peer.map(|peer| peer.to_string()),
        })
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Streams come and go on every thread of the runtime.
    open: Mutex<(u64, BTreeMap<u64, Arc<Client>>)>,
}

/// An entry that goes with its stream.
pub(super) struct Entry {
    clients: Arc<Clients>,
    pub(super) client: Arc<Client>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.clients.open().1.remove(&self.client.number);
    }
}

impl Clients {
    fn open(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Arc<Client>>)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a stream.
    pub(super) fn enter(
        self: &Arc<Self>,
        proxy: Proxy,
        caller: Caller,
        peer: Option<SocketAddr>,
        protocol: Protocol,
    ) -> Entry {
        let mut open = self.open();
        open.0 += 1;
        let client = Arc::new(Client {
            number: open.0,
            proxy,
            caller,
            peer,
            protocol,
            since: SystemTime::now(),
            state: Mutex::default(),
        });
        open.1.insert(client.number, Arc::clone(&client));
        Entry {
            clients: Arc::clone(self),
            client,
        }
    }

    /// All of them, in the order in which they came.
    pub(super) fn all(&self) -> Vec<Arc<Client>> {
        self.open().1.values().map(Arc::clone).collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.open().1.len()
    }

    /// How every one stands with each type.
    pub(super) fn sync(&self) -> Value {
        self.all().iter().map(|client| client.sync()).collect()
    }

    /// Which ones there are.
    pub(super) fn connections(&self) -> Value {
        let all = self.all();
        let rows: Vec<Value> = all.iter().map(|client| client.connection()).collect();
        json!({ "totalClients": rows.len(), "clients": rows })
    }

    /// How many refuse each type, in the order of [`TypeUrl::ALL`].
    pub(super) fn rejecting(&self) -> [usize; TypeUrl::ALL.len()] {
        let all = self.all();
        TypeUrl::ALL.map(|ty| {
            let refuses = |status: &Status| status.ty == ty && status.error.is_some();
            let clients = all.iter();
            clients
                .filter(|c| c.state().types.iter().any(refuses))
                .count()
        })
    }
}

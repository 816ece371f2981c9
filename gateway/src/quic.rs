//! QUIC towards clients: one endpoint for each worker and UDP address, beside the TCP listener of
//! the same port.
//!
//! The kernel chooses a worker by the packet's addresses, which change when a client moves or its
//! NAT forgets it. So a connection id says which worker its connection lives on, and a packet that
//! came to another one is passed on through a bounded queue ([`relay`]).

mod bind;
mod cid;
mod config;
mod connection;
mod endpoint;
mod once;
mod relay;
mod socket;

use std::rc::Rc;

pub(crate) use bind::{Door, bind};
pub(crate) use config::Configs;
pub(crate) use connection::{Connection, ReadEnd};
#[cfg(test)]
pub(crate) use endpoint::RETRY_ABOVE;
pub(crate) use endpoint::serve;
pub(crate) use once::sessions;

/// Who takes connections in.
pub(crate) trait Host {
    /// Whether another connection may come.
    fn has_room(&self) -> bool;

    /// Takes a connection in, whose handshake has begun.
    fn welcome(&self, connection: Rc<Connection>);
}

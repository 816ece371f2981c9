//! Addresses of the loopback network that nobody else has: ports on them can be written into
//! configuration before anything listens.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where whoever has a network listens, so that nobody else takes it.
const HELD: u16 = 15_999;
/// Networks that are tried.
const NETWORKS: u32 = 100 * 256;

/// `127.a.b.0/24`, for as long as the value lives.
pub(crate) struct Net {
    prefix: String,
    _held: TcpListener,
}

impl Net {
    pub(crate) fn new() -> Self {
        // applications of a test before may still be in its network
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let first = std::process::id().wrapping_mul(101);
        let mut free = (0..NETWORKS).filter_map(|_| {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = first.wrapping_add(step) % NETWORKS;
            let prefix = format!("127.{}.{}", 100 + number / 256, number % 256);
            let held = TcpListener::bind(format!("{prefix}.254:{HELD}")).ok()?;
            Some(Self {
                prefix,
                _held: held,
            })
        });
        free.next().expect("no network is free")
    }

    /// The first three parts of an address.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn ip(&self, host: u8) -> String {
        format!("{}.{host}", self.prefix)
    }

    pub(crate) fn at(&self, host: u8, port: u16) -> SocketAddr {
        format!("{}.{host}:{port}", self.prefix).parse().unwrap()
    }
}

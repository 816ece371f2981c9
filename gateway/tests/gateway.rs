//! The gateway from outside: a child process, real sockets, real files.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test reports by panicking"
)]

#[path = "gateway/admin.rs"]
mod admin;
#[path = "gateway/child.rs"]
mod child;
#[path = "gateway/clients.rs"]
mod clients;
#[path = "gateway/control.rs"]
mod control;
#[path = "gateway/golden.rs"]
mod golden;
#[path = "gateway/handshakes.rs"]
mod handshakes;
#[path = "gateway/mesh.rs"]
mod mesh;
#[path = "gateway/names.rs"]
mod names;
#[path = "gateway/nameserver.rs"]
mod nameserver;
#[path = "gateway/overload.rs"]
mod overload;
#[path = "gateway/process.rs"]
mod process;
#[path = "gateway/reload.rs"]
mod reload;
#[path = "gateway/tokens.rs"]
mod tokens;

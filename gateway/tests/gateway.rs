//! The gateway from outside: a child process, real sockets, real files.

#[path = "gateway/admin.rs"]
mod admin;
#[path = "gateway/child.rs"]
mod child;
#[path = "gateway/process.rs"]
mod process;
#[path = "gateway/reload.rs"]
mod reload;

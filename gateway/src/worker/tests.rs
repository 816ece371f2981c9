//! A worker on real sockets, on each driver.

mod balance;
#[path = "../../core/tests/core/corpus.rs"]
mod corpus;
mod faults;
mod h3;
mod h3_frames;
mod http1;
mod http2;
mod policies;
mod proxied;
mod smuggling;
mod support;
mod tcp;
mod tls;
mod upstream_tls;

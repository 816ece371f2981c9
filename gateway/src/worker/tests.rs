//! A worker on real sockets, on each driver.

mod announced;
mod balance;
mod bombs;
mod breakers;
mod client_certificates;
mod conformance;
#[path = "../../core/tests/core/corpus.rs"]
mod corpus;
mod downgrade;
mod faults;
mod floods;
mod frames;
mod grpc;
mod grpc_web;
mod h3;
mod h3_frames;
mod health;
mod http1;
mod http2;
mod limits;
mod matrix;
mod origin_h2;
mod policies;
mod prefaces;
mod proxied;
mod rotation;
mod slow;
mod smuggling;
mod support;
mod tcp;
mod tls;
mod upstream_h2;
mod upstream_h2_hostile;
mod upstream_tls;
mod ways;

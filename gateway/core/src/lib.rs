//! Every decision about a request, free of I/O: bytes and facts in, decisions and bytes out.
//!
//! Nothing here opens a socket, reads a clock, spawns or locks. Time comes in as a value, chance
//! from a seeded generator. Three types to know: [`call::Call`] (a request as the rules see it),
//! `decide::Decision` (what we will do with it), `exchange::Exchange` (one request and its
//! response, retries included).

pub mod admit;
pub mod agreement;
pub mod authority;
pub mod balance;
pub mod call;
pub mod certificate;
pub mod client_hello;
pub mod cors;
pub mod decide;
mod der;
pub mod discovery;
pub mod exchange;
pub mod explain;
pub mod failure;
mod fault;
pub mod flags;
#[doc(hidden)]
pub mod fuzzing;
pub mod grpc_web;
pub mod h1;
pub mod h2;
pub mod h3;
pub mod hash;
mod huffman;
pub mod hygiene;
pub mod keys;
pub mod limits;
pub mod log;
pub mod method;
pub mod network;
pub mod ocsp;
pub mod oddities;
pub mod outlier;
pub mod path;
pub mod peer;
pub mod plan;
pub mod proxy_protocol;
pub mod quota;
pub mod rate;
mod redirect;
pub mod reply;
pub mod rewrite;
pub mod rng;
pub mod spread;
pub mod tables;
pub mod tcp;
pub mod template;
pub mod time;

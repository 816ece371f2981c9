//! Every decision about a request, free of I/O: bytes and facts in, decisions and bytes out.
//!
//! Nothing here opens a socket, reads a clock, spawns or locks. Time comes in as a value, chance
//! from a seeded generator. Three types to know: [`call::Call`] (a request as the rules see it),
//! `decide::Decision` (what we will do with it), `exchange::Exchange` (one request and its
//! response, retries included).

pub mod call;
pub mod flags;
pub mod reply;
pub mod rng;
pub mod time;

//! Thread-per-core edge proxy: reads configuration, serves it.

mod generation;
mod listen;
mod log;
mod rt;
mod stats;
mod tls;
mod worker;

fn main() {}

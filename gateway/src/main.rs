//! Thread-per-core edge proxy: reads configuration, serves it.

mod generation;
mod listen;
mod rt;
mod tls;
mod worker;

fn main() {}

//! Thread-per-core edge proxy: reads configuration, serves it.

mod admin;
mod args;
mod buffer;
mod certificate;
mod conn;
mod generation;
mod io;
mod listen;
mod log;
mod rt;
mod signals;
mod source;
mod state;
mod stats;
mod systemd;
mod tls;
mod upstream;
mod worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}

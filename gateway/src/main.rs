//! Thread-per-core edge proxy: reads configuration, serves it.

mod admin;
mod args;
mod buffer;
mod certificate;
mod codec;
mod conn;
mod control;
mod dns;
mod generation;
mod io;
mod listen;
mod load;
mod log;
mod process;
mod quic;
mod rt;
mod signals;
mod source;
mod state;
mod stats;
mod systemd;
mod tls;
mod upstream;
mod worker;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::run(args::Options::parse())
}

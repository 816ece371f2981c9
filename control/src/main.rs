//! `sallyport-control`: gives proxies their configuration and their certificates.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sallyport_control::run(std::env::args_os())
}

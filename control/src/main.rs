//! `sallyport-control`: gives proxies their configuration and their certificates.

use std::process::ExitCode;

fn main() -> ExitCode {
    sallyport_control::run(std::env::args_os())
}

//! `sallyctl`: asks what a configuration means, offline or of a running gateway.

use std::process::ExitCode;

fn main() -> ExitCode {
    sallyport_control::ctl::run(std::env::args_os())
}

//! The companion of the gateway: what people type, and a small control process.
//!
//! [`ctl`] is `sallyctl`. It reads the same files as the gateway, through the same compiler, so
//! what it says offline is what the gateway does. The control process gives each [`proxy`] its
//! [`resources`], which [`lower`] makes of the same world, over a [`session`] of xDS; and its
//! identity, which the [`ca`] certifies.

mod agent;
pub mod ca;
pub mod ctl;
#[doc(hidden)]
pub mod fuzzing;
pub mod issuers;
mod log;
pub mod lower;
pub mod proxy;
mod push;
mod registry;
pub mod resources;
mod server;
pub mod session;
mod store;
pub mod token;

/// Who is on the other side of a connection.
pub use sallyport_identity as identity;
pub(crate) use sallyport_identity::private;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Gives proxies their configuration and their certificates: a small istiod for files.
#[derive(Debug, Parser)]
#[command(
    name = "sallyport-control",
    version,
    args_conflicts_with_subcommands = true
)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Option<server::args::Options>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve configuration and certificates (what it does without a command)
    Run(Box<server::args::Options>),
    /// Join a host's workload to the mesh: identity, configuration, and an Envoy beside it
    Agent(Box<agent::args::Options>),
}

/// Runs the control process: the command line, with the program's name first. Exits with 0 when it
/// was asked to stop, 1 when it cannot serve, 2 on a usage error.
pub fn run(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match Line::try_parse_from(line) {
        Ok(line) => line,
        Err(error) => {
            // help and version are errors of clap's too, that go to standard output
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match (line.command, line.run) {
        (Some(Command::Agent(options)), _) => agent::run(*options),
        (Some(Command::Run(options)), _) => server::run(*options),
        (None, Some(options)) => server::run(options),
        (None, None) => {
            log::error("usage", "give --config PATH, or see --help");
            ExitCode::from(2)
        }
    }
}

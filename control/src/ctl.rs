//! `sallyctl`, one file a command. Commands write to what they are given and return how the
//! process ends, so that they can be run without a process.

mod admin;
mod analyze;
mod args;
mod codes;
mod explain;
mod input;
mod offline;
mod quickstart;
mod status;
mod table;
mod token;
mod views;
mod yaml;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Args, Command};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to complain about.
    Clean,
    /// Findings at or above the threshold, or a request that no rule takes.
    Findings,
}

/// Why a command could not do its work; the process exits with 2.
#[derive(Debug)]
pub struct Trouble(String);

impl Trouble {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

/// Parses a command line, with the program's name first, and runs it. Exits with 0 when all is
/// well, 1 on findings, 2 on a usage error or when the work cannot be done.
pub fn run(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(line) {
        Ok(args) => args,
        Err(error) => {
            // help and version are errors of clap's too, that go to standard output
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut out = Vec::new();
    let ended = dispatch(args.command, &mut out);
    // a closed pipe (`sallyctl … | head`) is not worth a complaint
    let written = io::stdout().lock().write_all(&out);
    match ended {
        Ok(_)
            if written
                .as_ref()
                .is_err_and(|e| e.kind() != io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::from(2)
        }
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(trouble) => {
            let _ = writeln!(io::stderr(), "sallyctl: {trouble}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command, out: &mut Vec<u8>) -> Result<Outcome, Trouble> {
    match command {
        Command::Analyze(args) => analyze::run(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::ExplainCode(args) => codes::run(&args, out),
        Command::Listeners(args) => views::run(views::View::Listeners, &args, out),
        Command::Routes(args) => views::run(views::View::Routes, &args, out),
        Command::Clusters(args) => views::run(views::View::Clusters, &args, out),
        Command::Endpoints(args) => views::run(views::View::Endpoints, &args, out),
        Command::Quickstart(args) => quickstart::run(&args),
        Command::ProxyStatus(args) => status::run(&args, out),
        Command::Token(command) => token::run(&command, out),
        Command::Version => {
            say(out, &format!("sallyctl {}\n", env!("CARGO_PKG_VERSION")));
            Ok(Outcome::Clean)
        }
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "sallyctl", out);
            Ok(Outcome::Clean)
        }
    }
}

/// Adds text to the output.
fn say(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

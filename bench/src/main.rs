//! What a comparison needs besides the proxies: both ends of a run, a load generator that keeps to
//! its schedule, and the pure core by itself. `bench/README.md` says how to read the figures.

mod args;
mod attack;
mod control;
mod core;
mod load;
mod serve;
mod siege;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match args::Args::parse().command {
        args::Command::Origin {
            address,
            body,
            count,
        } => serve::run(address, count, serve::Service::answer(body)).map_err(Into::into),
        args::Command::Echo { address } => {
            serve::run(address, 1, serve::Service::Echo).map_err(Into::into)
        }
        args::Command::Relay { address, upstream } => {
            serve::run(address, 1, serve::Service::Relay(upstream.into())).map_err(Into::into)
        }
        args::Command::Core { case, iterations } => core::run(case.as_deref(), iterations),
        args::Command::Attack(attack) => attack::run(&attack),
        args::Command::Siege(siege) => siege::run(&siege),
        args::Command::Load(load) => load::run(&load),
        args::Command::Control(control) => control::run(&control),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

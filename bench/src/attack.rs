//! Attacks on the HTTP/2 of a live gateway, one row after the other, beside one good client: after how
//! many frames each ends and how, and what it costs the gateway and the good client.

mod client;
mod frames;
pub(crate) mod process;
pub(crate) mod report;
mod rows;

use crate::args::{Attack, Load, Wire};
use crate::load;
use client::End;
use process::Process;
use report::Outcome;
use rows::{ROWS, Row};
use std::error::Error;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// Requests of the good client at a time.
const GOOD_STREAMS: usize = 4;
/// Seconds of the good client that do not count.
const WARM_UP: f64 = 0.3;

/// Runs the rows and prints a table.
///
/// # Errors
/// The URL is none, there is no such row, or nothing can be connected.
pub(crate) fn run(args: &Attack) -> Result<(), Box<dyn Error>> {
    let chosen = |row: &&Row| args.row.as_ref().is_none_or(|name| name == row.name);
    let rows: Vec<_> = ROWS.iter().filter(chosen).collect();
    if rows.is_empty() {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("there is no such row; rows are: {}", names.join(", ")).into());
    }
    let mut outcomes = Vec::with_capacity(rows.len());
    for row in rows {
        let outcome = attack(args, row)?;
        if outcomes.is_empty() {
            print(report::HEAD)?;
        }
        print(&report::line(&outcome))?;
        outcomes.push(outcome);
    }
    if let Some(path) = &args.json {
        std::fs::write(path, report::json(&outcomes))?;
    }
    Ok(())
}

/// All rows as lines of a table, its head first.
pub(crate) fn table(args: &Attack) -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = vec![report::HEAD.to_owned()];
    for row in ROWS {
        lines.push(report::line(&attack(args, row)?));
    }
    Ok(lines)
}

fn print(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}

/// One row.
fn attack(args: &Attack, row: &'static Row) -> Result<Outcome, Box<dyn Error>> {
    let mut gateway = args.pid.map(Process::new).transpose()?;
    let good = good(args);
    let before = load::measure(&good)?;
    let quiet = gateway.as_mut().map(Process::lap).transpose()?;
    // What serving as such takes, it has taken by now.
    if let Some(gateway) = &mut gateway {
        gateway.begin()?;
    }
    let until = Instant::now() + Duration::from_secs_f64(args.seconds + WARM_UP);
    let beside = thread::spawn(move || load::measure(&good).map_err(|error| error.to_string()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let target = load::Target::new(&asks(args, 1.0))?;
    let mut ends: Vec<End> = Vec::new();
    let (begun, own) = (Instant::now(), process::own_cpu());
    while !beside.is_finished() && Instant::now() < until {
        let next = Instant::now() + Duration::from_millis(args.every_ms);
        let end = LocalSet::new().block_on(&runtime, client::attack(&target, row, until));
        ends.push(end?);
        if let Some(gateway) = &mut gateway {
            gateway.sample()?;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let loud = gateway.as_mut().map(Process::lap).transpose()?;
    let own = process::own_cpu().saturating_sub(own).as_secs_f64() / begun.elapsed().as_secs_f64();
    let during = match beside.join() {
        Ok(during) => during?,
        Err(_) => return Err("the good client broke".into()),
    };
    Ok(Outcome {
        row,
        ends,
        before,
        during,
        cpu: quiet.zip(loud),
        own,
        growth_kib: gateway.map(|gateway| gateway.growth_kib()),
    })
}

/// The good client's load.
fn good(args: &Attack) -> Load {
    Load {
        rate: Some(args.rate),
        ..asks(args, args.seconds)
    }
}

/// Requests over HTTP/2.
fn asks(args: &Attack, seconds: f64) -> Load {
    Load {
        url: args.url.clone(),
        host: args.host.clone(),
        wire: Wire::H2,
        rate: None,
        connections: 1,
        streams: GOOD_STREAMS,
        seconds,
        warm_up: WARM_UP,
        fresh: false,
        resume: false,
        abandon: None,
        idle: 0,
        json: None,
    }
}

//! A load generator. In an open loop requests are due at a constant rate, whatever the answers do,
//! and a latency runs from when its request was due: a proxy that stalls is charged for everything
//! that had to wait ("coordinated omission"). In a closed loop each connection asks again as soon
//! as it has its answer, which finds the capacity.

mod clock;
mod echo;
mod h1;
mod h2;
mod h3;
mod report;
mod schedule;
mod tally;
mod target;

use crate::args::{Load, Wire};
use schedule::Schedule;
use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tally::Tally;
pub(crate) use target::Target;
use tokio::task::LocalSet;

/// Connections that are opened at the same time.
const OPENING_MAX: usize = 64;
/// What is still on its way when the time is over may take so long, then it counts as lost.
const GRACE: Duration = Duration::from_secs(5);
/// Requests due and not sent: more mean that the target is far beyond its capacity.
const BACKLOG_MAX: usize = 10_000_000;

/// What every connection needs.
struct Shared {
    target: Target,
    schedule: Schedule,
    tally: Tally,
    /// Every so-manieth request is given up.
    abandon: Option<u64>,
    asked: Cell<u64>,
}

impl Shared {
    /// Whether the next request is one to give up.
    fn abandons(&self) -> bool {
        let asked = self.asked.get() + 1;
        self.asked.set(asked);
        self.abandon
            .is_some_and(|every| asked.is_multiple_of(every))
    }
}

/// Runs the load and gives what came of it.
///
/// # Errors
/// The URL is none, or nothing can be connected.
pub(crate) fn measure(load: &Load) -> Result<serde_json::Value, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = LocalSet::new().block_on(&runtime, drive(load))?;
    Ok(report.into_value())
}

/// Runs the load and prints what came of it.
///
/// # Errors
/// The URL is none, or nothing can be connected.
pub(crate) fn run(load: &Load) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = LocalSet::new().block_on(&runtime, drive(load))?;
    report.print()?;
    if let Some(path) = &load.json {
        std::fs::write(path, report.json())?;
    }
    Ok(())
}

async fn drive(load: &Load) -> Result<report::Report, Box<dyn Error>> {
    let shared = Rc::new(Shared {
        target: Target::new(load)?,
        schedule: Schedule::new(load.rate),
        tally: Tally::new()?,
        abandon: load.abandon,
        asked: Cell::new(0),
    });
    let idle = open_idle(load, &shared).await?;
    let mut connections = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        let shared = Rc::clone(&shared);
        connections.push(match load.wire {
            Wire::H1 => tokio::task::spawn_local(h1::serve(shared)),
            Wire::H2 => tokio::task::spawn_local(h2::serve(shared, load.streams)),
            Wire::Websocket => tokio::task::spawn_local(echo::serve(shared, true)),
            Wire::Tcp => tokio::task::spawn_local(echo::serve(shared, false)),
            Wire::H3 => tokio::task::spawn_local(h3::serve(shared, load.streams)),
        });
    }
    let begin = Instant::now();
    let counted = begin + Duration::from_secs_f64(load.warm_up);
    let end = counted + Duration::from_secs_f64(load.seconds);
    shared.tally.count_between(counted, end);
    shared.schedule.run(begin, end).await?;
    let deadline = tokio::time::Instant::from_std(end + GRACE);
    for connection in connections {
        // A connection that still waits has lost its request: the tally counts it as unanswered.
        let _ = tokio::time::timeout_at(deadline, connection).await;
    }
    drop(idle);
    Ok(report::Report::new(
        load,
        &shared.tally,
        shared.schedule.left(),
    ))
}

/// Connections that have made a request and then only stay.
async fn open_idle(
    load: &Load,
    shared: &Rc<Shared>,
) -> Result<Vec<h1::Connection>, Box<dyn Error>> {
    let mut idle = Vec::with_capacity(load.idle);
    while idle.len() < load.idle {
        let wave = OPENING_MAX.min(load.idle - idle.len());
        let opening: Vec<_> = (0..wave)
            .map(|_| {
                let shared = Rc::clone(shared);
                tokio::task::spawn_local(async move {
                    let mut connection = h1::Connection::open(&shared.target).await?;
                    connection.ask(&shared.target).await?;
                    Ok::<_, std::io::Error>(connection)
                })
            })
            .collect();
        for opened in opening {
            idle.push(opened.await??);
        }
    }
    Ok(idle)
}

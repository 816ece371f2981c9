//! A control process with a mesh of delta clients: what it holds in memory, how fast a change is
//! everywhere, and what it costs when all come back at once. `bench/CONTROL.md` has the figures.
#![expect(
    clippy::print_stdout,
    reason = "figures are for people who run it by hand"
)]

mod certificates;
mod client;
mod mesh;
mod process;
mod wire;

use crate::args::Control;
use client::{Client, Tally};
use hdrhistogram::Histogram;
use mesh::Mesh;
use process::Process;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, LocalSet};

/// Whatever is waited for comes within this.
const WITHIN: Duration = Duration::from_secs(300);
/// How often it is looked whether it came.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Nothing more comes when nothing came for this long.
const QUIET: Duration = Duration::from_secs(3);

/// Runs everything once and prints it.
pub(crate) fn run(args: &Control) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, all(args))
}

async fn all(args: &Control) -> Result<(), Box<dyn Error>> {
    let mesh = Mesh::new(args)?;
    let process = Process::start(&args.bin, mesh.directory())?;
    println!(
        "{} services on {} ports in {} namespaces{}, {} streams",
        args.services,
        args.ports,
        args.namespaces,
        if args.scoped {
            ", each seeing its own"
        } else {
            ""
        },
        args.streams
    );
    println!("  RSS before the first stream: {} MB", process.rss_mb());
    let tally = Rc::new(Tally::default());
    let begun = Instant::now();
    let mut clients = connect(args, &process, &tally);
    until("all are served", || tally.served.get() == args.streams).await?;
    println!("  first connect of all: {} ms", begun.elapsed().as_millis());
    settled(&tally).await;
    println!("  RSS: {} MB", process.rss_mb());
    println!("  received by all: {} MB", tally.bytes.get() / 1_000_000);
    let endpoint = |change| mesh.endpoint(change);
    changes(args, &tally, "one endpoint", endpoint).await?;
    let rule = |change| mesh.rule(change);
    changes(args, &tally, "one VirtualService", rule).await?;
    nothing(&mesh, &tally).await?;
    println!("  RSS after the changes: {} MB", process.rss_mb());
    for client in clients.drain(..) {
        client.abort();
    }
    tokio::time::sleep(QUIET).await;
    let again = Rc::new(Tally::default());
    again.known.replace(tally.known.take());
    let begun = Instant::now();
    let _clients = connect(args, &process, &again);
    until("all are back", || again.answered.get() == args.streams).await?;
    println!(
        "  reconnect of all with what they have: {} ms, {} bytes of resources",
        begun.elapsed().as_millis(),
        again.bytes.get()
    );
    println!("  RSS after it: {} MB", process.rss_mb());
    certificates::run(args, &process).await
}

fn connect(args: &Control, process: &Process, tally: &Rc<Tally>) -> Vec<JoinHandle<()>> {
    let client = |index| Client::new(args, process.grpc(), index, Rc::clone(tally));
    (0..args.streams)
        .map(|index| tokio::task::spawn_local(client(index).run()))
        .collect()
}

/// Makes changes one after the other, each when the last has been accepted by all.
async fn changes(
    args: &Control,
    tally: &Tally,
    what: &str,
    make: impl Fn(usize) -> Result<mesh::Change, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut each = Histogram::<u64>::new(3)?;
    let mut last = Histogram::<u64>::new(3)?;
    for number in 0..args.changes {
        let change = make(number)?;
        tally.expect(change.ty, &change.name);
        let begun = Instant::now();
        change.write()?;
        let wanted = change.seen_by;
        until(what, || tally.arrived.borrow().len() >= wanted).await?;
        let arrived = tally.arrived.take();
        for at in &arrived {
            each.record(micros(at.duration_since(begun)))?;
        }
        let end = arrived.iter().max().copied().unwrap_or(begun);
        last.record(micros(end.duration_since(begun)))?;
        settled(tally).await;
    }
    let ms = |micros: u64| micros / 1_000;
    println!(
        "  {what}, until a stream accepts it: p50 {} ms, p99 {} ms; until the last does: p50 {} ms, max {} ms",
        ms(each.value_at_quantile(0.5)),
        ms(each.value_at_quantile(0.99)),
        ms(last.value_at_quantile(0.5)),
        ms(last.max())
    );
    Ok(())
}

/// A change that changes nothing for anybody.
async fn nothing(mesh: &Mesh, tally: &Tally) -> Result<(), Box<dyn Error>> {
    let (bytes, messages) = (tally.bytes.get(), tally.messages.get());
    mesh.comment()?;
    tokio::time::sleep(QUIET).await;
    println!(
        "  a change without effect: {} bytes in {} messages",
        tally.bytes.get() - bytes,
        tally.messages.get() - messages
    );
    Ok(())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

async fn until(what: &str, is: impl Fn() -> bool) -> Result<(), Box<dyn Error>> {
    let end = Instant::now() + WITHIN;
    while !is() {
        if Instant::now() > end {
            return Err(format!("{what}: not within {} s", WITHIN.as_secs()).into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Waits until nothing comes any more.
async fn settled(tally: &Tally) {
    loop {
        let before = tally.messages.get();
        tokio::time::sleep(QUIET / 10).await;
        if tally.messages.get() == before {
            return;
        }
    }
}

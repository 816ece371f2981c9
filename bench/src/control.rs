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
mod report;
mod wire;

use crate::args::Control;
use client::{Client, Tally};
use hdrhistogram::Histogram;
use mesh::Mesh;
use process::Process;
use report::Report;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, LocalSet};

/// Changes that are made, and how soon a stream in a hundred may still wait for one.
const ENDPOINT: (&str, &str) = ("one endpoint", "p99 ≤ 150 ms");
const RULE: (&str, &str) = ("one VirtualService", "p99 ≤ 500 ms");
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
    let mut report = Report::new(title(args));
    let rss = || format!("{} MB", process.rss_mb());
    report.row("RSS before the first stream", rss(), "");
    let tally = Rc::new(Tally::default());
    let begun = Instant::now();
    let mut clients = connect(args, &process, &tally);
    until("all are served", || tally.served.get() == args.streams).await?;
    let took = format!("{} ms", begun.elapsed().as_millis());
    report.row("first connect of all", took, "");
    settled(&tally).await;
    report.row("RSS with all streams", rss(), "≤ 300 MB");
    let received = format!("{} MB", tally.bytes.get() / 1_000_000);
    report.row("received by all", received, "");
    let endpoint = |change| mesh.endpoint(change);
    changes(args, &tally, &mut report, ENDPOINT, endpoint).await?;
    let rule = |change| mesh.rule(change);
    changes(args, &tally, &mut report, RULE, rule).await?;
    nothing(&mesh, &tally, &mut report).await?;
    report.row("RSS after the changes", rss(), "");
    for client in clients.drain(..) {
        client.abort();
    }
    tokio::time::sleep(QUIET).await;
    let again = Rc::new(Tally::default());
    again.known.replace(tally.known.take());
    let begun = Instant::now();
    let _clients = connect(args, &process, &again);
    until("all are back", || again.answered.get() == args.streams).await?;
    let took = format!("{} ms", begun.elapsed().as_millis());
    report.row("all come back with what they have", took, "≤ 10 s");
    let sent = format!("{} bytes of resources", again.bytes.get());
    report.row("sent to them", sent, "0 bytes");
    report.row("RSS after it", rss(), "");
    let rate = certificates::run(args, &process).await?;
    report.row("certificates", format!("{rate:.0} a second"), "");
    match &args.write {
        Some(file) => report.write(file),
        None => Ok(()),
    }
}

/// What the mesh is like.
fn title(args: &Control) -> String {
    let scope = match args.scoped {
        true => ", each seeing its own",
        false => "",
    };
    format!(
        "{} services on {} ports in {} namespaces{scope}, {} streams",
        args.services, args.ports, args.namespaces, args.streams
    )
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
    report: &mut Report,
    (what, target): (&str, &str),
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
    let [median, most] = [0.5, 0.99].map(|q| ms(each.value_at_quantile(q)));
    let value = format!("p50 {median} ms, p99 {most} ms");
    report.row(&format!("{what}, until a stream accepts it"), value, target);
    let (median, most) = (ms(last.value_at_quantile(0.5)), ms(last.max()));
    let value = format!("p50 {median} ms, most {most} ms");
    report.row(&format!("{what}, until the last stream does"), value, "");
    Ok(())
}

/// A change that changes nothing for anybody.
async fn nothing(mesh: &Mesh, tally: &Tally, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let (bytes, messages) = (tally.bytes.get(), tally.messages.get());
    mesh.comment()?;
    tokio::time::sleep(QUIET).await;
    let sent = tally.bytes.get() - bytes;
    let value = format!(
        "{sent} bytes in {} messages",
        tally.messages.get() - messages
    );
    report.row("a change without effect", value, "0 bytes");
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

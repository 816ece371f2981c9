//! Ten thousand requests that one side or the other ends at a random point: what they took is given
//! back, to the last stream, connection, alarm and file descriptor.

use std::process::Command;
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::super::support::PATIENCE;
use super::cell::{Bench, Cell, Secrets};
use super::client::{Ask, Call};
use super::halves::pattern;
use crate::rt::DriverChoice;
use crate::stats::Report;

/// In all, over all cells and both drivers.
const CANCELS: usize = 10_000;
/// Requests side by side.
const AT_ONCE: usize = 4;
/// Requests on one connection: so few that nobody takes it for an attack.
const PER_CONNECTION: usize = 12;
/// Bytes after which either side may end it, at most.
const BYTES_MAX: u64 = 150_000;
/// When neither side gets so far because both wait for the other, it ends here.
const STALL: Duration = Duration::from_millis(5);
/// Everything has been given back after this: later than a QUIC connection is idle for too long.
const LEFT: Duration = Duration::from_secs(45);
/// Says that the process runs this test and no other.
const ALONE: &str = "SALLYPORT_ALONE";

/// Chance that can be had again (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Often nothing, often little, sometimes much.
    fn bytes(&mut self) -> usize {
        let limit = [1, 100, 20_000, BYTES_MAX][usize::try_from(self.below(4)).unwrap()];
        usize::try_from(self.below(limit)).unwrap()
    }
}

/// A request that will be ended, and after how many bytes each way.
struct Doomed {
    call: Call,
    sent: usize,
    received: usize,
}

async fn begin(bench: &mut Bench, dice: &mut Dice) -> Doomed {
    let path = ["/echo", "/download", "/die", "/hang"][usize::try_from(dice.below(4)).unwrap()];
    let mut ask = Ask::post(path);
    let after = HeaderValue::from(u64::try_from(dice.bytes()).unwrap());
    ask.fields.insert("x-after", after);
    Doomed {
        call: bench.client.call(&ask).await,
        sent: dice.bytes(),
        received: dice.bytes(),
    }
}

/// Lets it go as far as it shall, then ends it.
async fn end(doomed: Doomed) {
    let Doomed {
        call: Call { mut up, mut down },
        sent,
        received,
    } = doomed;
    let sending = async {
        let mut done = 0;
        while done < sent {
            let part = pattern(done, sent - done);
            done += part.len();
            if up.data(part).await.is_err() {
                return;
            }
        }
    };
    let receiving = async {
        if received > 0 && down.head().await.is_ok() {
            // The origin may end it before.
            drop(down.some(received).await);
        }
    };
    let both = async { tokio::join!(sending, receiving) };
    // What stalls is what is ended here.
    drop(tokio::time::timeout(STALL, both).await);
    up.cut().await;
}

/// Runs so many on one gateway.
fn run(bench: &mut Bench, count: usize, seed: u64) {
    let mut dice = Dice(seed);
    let runtime = std::sync::Arc::clone(&bench.runtime);
    runtime.block_on(async {
        for turn in 0..count / AT_ONCE {
            let a = begin(bench, &mut dice).await;
            let b = begin(bench, &mut dice).await;
            let c = begin(bench, &mut dice).await;
            let d = begin(bench, &mut dice).await;
            tokio::join!(end(a), end(b), end(c), end(d));
            if (turn + 1) % (PER_CONNECTION / AT_ONCE) == 0 {
                bench.client.hang_up();
            }
        }
        bench.client.leave().await;
    });
}

/// Requests, connections, alarms and copies that are there: streams and timers are among them.
fn held(report: &Report) -> [u64; 5] {
    let clients = report.listeners.values().map(|listener| listener.active());
    let upstreams = report.upstreams.values().map(|upstream| upstream.active());
    [
        report.in_flight,
        clients.sum(),
        upstreams.sum(),
        report.alarms,
        report.mirrors,
    ]
}

/// Serves one request, so that what is made once is there, and ends all connections.
fn settle(bench: &mut Bench) -> Report {
    let runtime = std::sync::Arc::clone(&bench.runtime);
    runtime.block_on(async {
        let Call { mut down, .. } = bench.client.call(&Ask::get("/x")).await;
        assert_eq!(down.head().await.unwrap().status, 200);
        drop(down);
        bench.client.leave().await;
    });
    // The log's file is open then.
    bench.lines.take(1);
    quiet(bench)
}

/// Ends what the origin still has, until nothing is held.
fn quiet(bench: &Bench) -> Report {
    let end = Instant::now() + LEFT;
    loop {
        // Again and again: a connection may be on its way to it.
        bench.origin.hang_up();
        let report = bench.house.report();
        let held = held(&report);
        if held == [0; 5] {
            return report;
        }
        let name = bench.cell.name();
        assert!(Instant::now() < end, "{name} holds {held:?}");
        // A client whose last packet was lost says that it is gone when it is asked.
        let pause = async { tokio::time::sleep(Duration::from_millis(10)).await };
        bench.runtime.block_on(pause);
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn everything() {
    let secrets = Secrets::new();
    let open = |driver| {
        let cells: Vec<_> = Cell::all()
            .map(|cell| Bench::open(cell, driver, &secrets))
            .collect();
        cells
    };
    let mut halves = [DriverChoice::Auto, DriverChoice::Epoll].map(open);
    let cells = halves.iter().map(Vec::len).sum::<usize>();
    let each = CANCELS.div_ceil(cells).next_multiple_of(AT_ONCE);
    let before: Vec<Report> = halves.iter_mut().flatten().map(settle).collect();
    let files = open_files();
    std::thread::scope(|scope| {
        for (half, benches) in (1..).zip(&mut halves) {
            scope.spawn(move || {
                for (row, bench) in (1..).zip(benches) {
                    run(bench, each, half * 1_000 + row);
                }
            });
        }
    });
    for (bench, before) in halves.iter().flatten().zip(before) {
        let name = bench.cell.name();
        let after = quiet(bench);
        let sum = |report: &Report| report.series.values().map(|s| s.requests).sum::<u64>();
        assert!(sum(&after) > sum(&before), "{name}: nothing was asked");
    }
    let end = Instant::now() + PATIENCE;
    while open_files() > files {
        assert!(Instant::now() < end, "{} files, not {files}", open_files());
        std::thread::sleep(Duration::from_millis(10));
    }
    for bench in halves.into_iter().flatten() {
        bench.close();
    }
}

/// In a process of its own: files are counted for the whole of it.
#[test]
fn ten_thousand_cancels_leave_nothing_behind() {
    if std::env::var_os(ALONE).is_some() {
        return everything();
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

//! Every feature over every pair of wires, on both drivers: what works is written down as a table,
//! and the table that the repository has must be that one.

mod cancels;
mod cell;
mod client;
mod features;
mod halves;
mod origin;
mod plain;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::rt::DriverChoice;
use cell::{Bench, Cell, Secrets};
use features::Feature;

/// A feature that takes longer does not work.
const LIMIT: Duration = Duration::from_secs(60);

/// What works, by cell and feature, on all drivers that were asked.
type Table = BTreeMap<(usize, usize), bool>;

/// Tries all features of one cell; names those that do not work.
fn run(cell: Cell, driver: DriverChoice, secrets: &Secrets) -> Vec<(Feature, bool)> {
    let mut bench = Bench::open(cell, driver, secrets);
    let runtime = Arc::clone(&bench.runtime);
    let mut results = Vec::new();
    for feature in Feature::ALL {
        if feature.without(cell).is_some() {
            continue;
        }
        let one = async { tokio::time::timeout(LIMIT, feature.run(&mut bench)).await };
        let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(one)));
        let works = matches!(ended, Ok(Ok(())));
        if !works {
            // Where a feature was left is no place for the next to begin.
            runtime.block_on(async { bench.client.hang_up() });
        }
        results.push((feature, works));
    }
    runtime.block_on(bench.client.leave());
    let lines = bench.lines.take(2);
    let wires = format!("{} {} 200 /echo", cell.client.name(), cell.origin.name());
    assert_eq!(lines[1], wires);
    if cell.tls {
        let alpn = bench.origin.seen().alpn.clone();
        let want = if cell.origin == cell::Wire::H2 {
            "h2"
        } else {
            ""
        };
        assert!(alpn.iter().all(|alpn| alpn == want), "{alpn:?}");
    }
    drop(runtime);
    bench.close();
    results
}

#[test]
fn every_feature_works_over_every_wire() {
    let secrets = Secrets::new();
    let table = Mutex::new(Table::new());
    let broken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
            let (secrets, table, broken) = (&secrets, &table, &broken);
            scope.spawn(move || {
                for (row, cell) in Cell::all().enumerate() {
                    let ran = catch_unwind(AssertUnwindSafe(|| run(cell, driver, secrets)));
                    let Ok(results) = ran else {
                        let name = format!("{} ({driver:?}): the cell itself", cell.name());
                        broken.lock().unwrap().push(name);
                        continue;
                    };
                    for (feature, works) in results {
                        let column = Feature::ALL.iter().position(|f| *f == feature).unwrap();
                        *table.lock().unwrap().entry((row, column)).or_insert(true) &= works;
                        if !works {
                            let name = format!("{} ({driver:?}): {}", cell.name(), feature.name());
                            broken.lock().unwrap().push(name);
                        }
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
    compare(&render(&table.into_inner().unwrap()));
}

/// What COVERAGE.md says of the wires.
fn render(table: &Table) -> String {
    let mut out = String::from(HEAD);
    let names: Vec<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
    let _ = writeln!(out, "| client → origin | {} |", names.join(" | "));
    let _ = writeln!(out, "|---{}|", "|---".repeat(names.len()));
    for (row, cell) in Cell::all().enumerate() {
        let _ = write!(out, "| {} |", cell.name());
        for (column, feature) in Feature::ALL.iter().enumerate() {
            let works = table.get(&(row, column));
            let word = match (feature.without(cell), works) {
                (Some(why), _) => why,
                (None, Some(true)) => "yes",
                (None, _) => "no",
            };
            let _ = write!(out, " {word} |");
        }
        out.push('\n');
    }
    out
}

const HEAD: &str = "\
## Wires

What passes between clients and origins, written by the test that tries it on both drivers
(`UPDATE=1 cargo test -p sallyport-gateway matrix`, then as above). Bodies go both ways at once; a
large one has 64 MiB between equal wires and from HTTP/3, 4 MiB elsewhere. *not sent*: some clients of
HTTP/1.1 take hints for the answer. gRPC means messages both ways, trailers, and a status in the head
alone.

";

/// Compares with the committed text, or commits this one.
fn compare(want: &str) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../config/src/coverage/wires.md"
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, want).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed == want,
        "wires.md is stale: UPDATE=1 cargo test -p sallyport-gateway matrix"
    );
}

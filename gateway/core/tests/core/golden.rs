//! The golden calls, answered by the tables.

use sallyport_config::View;
use sallyport_config::golden::decode;
use sallyport_config::pipeline;
use sallyport_config::retain::LastGood;
use sallyport_core::agreement::verdict;
use sallyport_core::tables::Tables;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[test]
fn the_tables_answer_golden_calls_as_written() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases() {
        let Some(calls) = read(&case.join("calls.yaml")) else {
            continue;
        };
        let calls = decode(&calls).unwrap_or_else(|why| panic!("{}: {why}", case.display()));
        let tables = tables(&case);
        for vector in calls {
            count += 1;
            if let Some(why) = vector.expect.differs(&verdict(&tables, &vector.call)) {
                wrong.push(format!("{} / {}: {why}", case.display(), vector.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 150, "only {count} calls");
}

#[allow(
    clippy::disallowed_methods,
    reason = "tests read their cases from files"
)]
fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/tests/golden");
    let entries = std::fs::read_dir(root).unwrap();
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

#[allow(
    clippy::disallowed_methods,
    reason = "tests read their cases from files"
)]
fn tables(case: &Path) -> Tables {
    let entries = std::fs::read_dir(case).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        let config = name.ends_with(".yaml") && name != "calls.yaml";
        config.then(|| read(&path).map(|text| (name, text)))?
    });
    let files: Vec<_> = files.collect();
    let built = pipeline::build(&files, &View::default(), &mut LastGood::default());
    Tables::build(Arc::new(built.snapshot))
}

#[allow(
    clippy::disallowed_methods,
    reason = "tests read their cases from files"
)]
fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

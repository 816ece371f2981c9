//! Entry points for fuzzers: each takes any bytes and checks what must hold for all of them.
//!
//! They are ordinary code so that stable tests replay the corpora; a broken promise is a panic,
//! which is what a fuzzer looks for. Nothing else calls them.
#![allow(clippy::panic, reason = "a panic is how a fuzz target reports")]

use crate::diag::render::{Format, render};
use crate::parse::parse;

/// Any text is read, twice with the same findings; every finding points into the text, and can be
/// written down in every form.
pub fn fuzz_yaml(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let files = [("fuzz.yaml".to_owned(), text)];
    let parsed = parse(&files);
    check(
        parse(&files).diagnostics == parsed.diagnostics,
        "two readings differ",
    );
    for diagnostic in parsed.diagnostics.iter() {
        let labels = diagnostic.labels.iter().map(|(span, _)| *span);
        for span in diagnostic.span.into_iter().chain(labels) {
            let known = parsed.sources.get(span.file).is_some();
            check(known && span.start <= span.end, "a finding nowhere");
        }
    }
    for format in [
        Format::Human { color: true },
        Format::Short,
        Format::Json,
        Format::Sarif,
        Format::Github,
    ] {
        let _ = render(&parsed.diagnostics, &parsed.sources, format);
    }
}

fn check(holds: bool, broken: &str) {
    if !holds {
        panic!("{broken}");
    }
}

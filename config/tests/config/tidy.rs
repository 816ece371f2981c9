//! The house style, executed: what reviewers would otherwise have to say again and again, over
//! every source file of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use sallyport_config::coverage;
use sallyport_config::diag::codes::CODES;

/// Most lines of code of a function, as clippy's `too_many_lines` counts them.
const MAX_FUNCTION: usize = 70;
/// Most lines of a file.
const MAX_FILE: usize = 700;

/// Files that may say `unsafe`; each block there says why.
const UNSAFE: [&str; 2] = ["gateway/src/io/socket.rs", "gateway/src/rt.rs"];

/// Where the runtime may be named.
const RUNTIME: [&str; 4] = [
    "gateway/src/rt.rs",
    "gateway/src/rt/",
    "gateway/src/io/",
    "bench/",
];

/// A source file: its path from the workspace's root, and its text.
struct Source {
    path: String,
    text: String,
}

#[test]
fn every_file_says_what_it_is() {
    complain(|file| {
        let begins = file.text.starts_with("//! ");
        (!begins).then(|| "does not begin with a `//!` sentence".to_owned())
    });
}

#[test]
fn files_are_short() {
    complain(|file| {
        let lines = file.text.lines().count();
        (lines > MAX_FILE).then(|| format!("has {lines} lines, {MAX_FILE} are allowed"))
    });
}

#[test]
fn functions_are_short() {
    complain(|file| {
        let long: Vec<String> = functions(&file.text)
            .filter(|(_, _, lines)| *lines > MAX_FUNCTION)
            .map(|(name, line, lines)| format!("line {line}: `{name}` has {lines} lines"))
            .collect();
        // tables and scripts of tests are clippy's business
        (!long.is_empty() && !is_test(&file.path)).then(|| long.join("; "))
    });
}

#[test]
fn there_is_no_mod_rs_and_no_attic() {
    let banned = [
        "mod", "utils", "util", "common", "helpers", "helper", "manager", "handler", "misc",
    ];
    complain(|file| {
        let stem = Path::new(&file.path).file_stem()?.to_str()?;
        banned
            .contains(&stem)
            .then(|| "is named after nothing".to_owned())
    });
}

#[test]
fn unsafe_stays_where_it_is_allowed() {
    complain(|file| {
        let says = code(&file.text).any(|(_, line)| words(&bare(line)).any(|w| w == "unsafe"));
        (says && !UNSAFE.contains(&file.path.as_str())).then(|| "says `unsafe`".to_owned())
    });
}

#[test]
fn the_runtime_stays_behind_its_module() {
    complain(|file| {
        let names = code(&file.text).any(|(_, line)| bare(line).contains("monoio::"));
        let allowed = RUNTIME.iter().any(|r| file.path.starts_with(r));
        (names && !allowed).then(|| "names monoio".to_owned())
    });
}

#[test]
fn the_pure_crates_stay_pure() {
    let impure = [
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::thread",
        "Instant::now",
        "SystemTime::now",
    ];
    complain(|file| {
        let pure = ["config/src/", "gateway/core/src/"]
            .iter()
            .any(|p| file.path.starts_with(p));
        let found = impure
            .iter()
            .find(|w| code(&file.text).any(|(_, line)| line.contains(**w)));
        found
            .filter(|_| pure && !is_test(&file.path))
            .map(|w| format!("uses {w}"))
    });
}

#[test]
fn metric_names_are_in_one_file() {
    complain(|file| {
        let named = code(&file.text).any(|(_, line)| {
            ["\"istio_", "\"sallyport_"]
                .iter()
                .any(|n| line.contains(n))
        });
        let checked =
            file.path.starts_with("gateway/src/") && !file.path.ends_with("stats/names.rs");
        (named && checked && !is_test(&file.path)).then(|| "names a metric".to_owned())
    });
}

#[test]
fn nothing_is_left_to_do_or_to_debug() {
    // written so that this file does not find itself
    let marks = ["todo", "dbg", "unimplemented"].map(|m| format!("{m}!("));
    complain(|file| {
        let found =
            code(&file.text).find(|(_, line)| marks.iter().any(|m| line.contains(m.as_str())));
        found.map(|(line, _)| format!("line {line} is unfinished"))
    });
}

#[test]
fn every_code_has_a_page() {
    let root = root().join("config/src/diag/codes");
    for info in CODES {
        assert!(
            root.join(format!("{}.md", info.code)).is_file(),
            "{} has no page",
            info.code
        );
    }
    let pages = fs::read_dir(root).unwrap().filter(|e| {
        e.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|x| x == "md")
    });
    assert_eq!(pages.count(), CODES.len(), "a page without a code");
}

#[test]
fn coverage_lists_every_field() {
    let file = fs::read_to_string(root().join("config/COVERAGE.md")).unwrap();
    assert!(
        file == coverage::render(),
        "config/COVERAGE.md is not what the field lists say"
    );
}

#[test]
fn lessons_name_tests_that_exist() {
    let file = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let lessons = file.split("## Lessons of others").nth(1).unwrap();
    let lessons = lessons.split("\n## ").next().unwrap();
    let named: Vec<&str> = lessons.split('`').skip(1).step_by(2).collect();
    assert!(named.len() > 50, "{} tests", named.len());
    let sources = sources();
    let is_there = |name: &&str| {
        let head = format!("fn {name}(");
        sources.iter().any(|source| source.text.contains(&head))
    };
    let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Runs a rule over every source file and shows all that break it.
fn complain(rule: impl Fn(&Source) -> Option<String>) {
    let sources = sources();
    assert!(sources.len() > 50, "the sources were not found");
    let found: Vec<String> = sources
        .iter()
        .filter_map(|s| rule(s).map(|why| format!("{} {why}", s.path)))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for dir in ["bench", "config", "control", "gateway", "fuzz"] {
        collect(&root, &root.join(dir), &mut found);
    }
    found
}

fn collect(root: &Path, dir: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for path in entries.map(|e| e.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" {
            collect(root, &path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            found.push(Source { path, text });
        }
    }
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Lines that are code, numbered from 1: without comments, and without the tests at the end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    lines
        .take_while(|(_, line)| *line != "mod tests {")
        .map(|(i, line)| (i, line.split("//").next().unwrap_or_default()))
}

/// A line without what stands between quotes.
fn bare(line: &str) -> String {
    line.split('"').step_by(2).collect()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// Name, first line and length of every function. rustfmt puts the closing brace at the indent of
/// the signature, which is all that is needed to find it.
fn functions(text: &str) -> impl Iterator<Item = (&str, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = text.lines().enumerate().filter_map(|(i, line)| {
        let name = line.split("fn ").nth(1)?.split(['(', '<']).next()?;
        let before = line.split("fn ").next()?.trim();
        let signature = before.split(' ').all(|w| {
            matches!(w, "" | "pub" | "const" | "async" | "unsafe") || w.starts_with("pub(")
        });
        signature.then(|| (name, i, line.len() - line.trim_start().len()))
    });
    let ended = starts.filter_map(move |(name, start, indent)| {
        let close = format!("{}}}", " ".repeat(indent));
        let open = lines.get(start..)?.iter().position(|l| l.ends_with('{'))?;
        let body = lines.get(start + open + 1..)?;
        let body = body.get(..body.iter().position(|l| **l == close)?)?;
        let is_code = |l: &&&str| !l.trim().is_empty() && !l.trim_start().starts_with("//");
        Some((name, start + 1, body.iter().filter(is_code).count()))
    });
    ended.collect::<Vec<_>>().into_iter()
}

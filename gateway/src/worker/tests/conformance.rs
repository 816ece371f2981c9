//! The cases that HTTP/2 servers are commonly tried with (h2spec), by section of RFC 7540 or 7541 and
//! number, in bytes of our own. An outcome may be stricter than asked for: a connection may end where
//! a stream would do. Where it is not what the case asks for, the case says so.

mod format;
mod generic;
mod hpack;
mod requests;
mod states;
mod types;
mod windows;

use std::collections::BTreeSet;

use super::frames::*;
use super::support::{Act, House, Origin, on_each_driver, snapshot};

/// Id, what is sent, and what may come of it.
type Case = (&'static str, fn(&mut Frames), &'static [&'static str]);

/// All sections, and how many cases there are of each.
const OUTLINE: &[(&str, usize)] = &[
    ("generic 1", 1),
    ("generic 2", 5),
    ("generic 3.1", 3),
    ("generic 3.2", 3),
    ("generic 3.3", 5),
    ("generic 3.4", 1),
    ("generic 3.5", 1),
    ("generic 3.7", 1),
    ("generic 3.8", 1),
    ("generic 3.9", 2),
    ("generic 3.10", 2),
    ("generic 4", 4),
    ("generic 5", 15),
    ("hpack 2.3.3", 2),
    ("hpack 4.2", 1),
    ("hpack 5.2", 3),
    ("hpack 6.1", 1),
    ("hpack 6.3", 1),
    ("3.5", 2),
    ("4.1", 3),
    ("4.2", 3),
    ("4.3", 3),
    ("5.1", 13),
    ("5.1.1", 2),
    ("5.1.2", 1),
    ("5.3.1", 2),
    ("5.4.1", 2),
    ("5.5", 2),
    ("6.1", 3),
    ("6.2", 4),
    ("6.3", 2),
    ("6.4", 3),
    ("6.5", 3),
    ("6.5.2", 5),
    ("6.5.3", 2),
    ("6.7", 4),
    ("6.8", 1),
    ("6.9", 3),
    ("6.9.1", 3),
    ("6.9.2", 3),
    ("6.10", 6),
    ("7", 2),
    ("8.1", 1),
    ("8.1.2", 1),
    ("8.1.2.1", 4),
    ("8.1.2.2", 2),
    ("8.1.2.3", 7),
    ("8.1.2.6", 2),
    ("8.2", 1),
];

/// With the one that is asked of strict servers only (5.4.1/2).
const CASES: usize = 147;

/// Every case, each in the table that is run.
const TABLES: [&[Case]; 9] = [
    generic::BEGIN,
    generic::CASES,
    windows::BEGIN,
    windows::CASES,
    format::CASES,
    hpack::CASES,
    states::CASES,
    types::CASES,
    requests::CASES,
];

#[test]
fn no_case_is_left_out() {
    let ids = |(section, count): &(&str, usize)| {
        let section = (*section).to_owned();
        (1..=*count).map(move |number| format!("{section}/{number}"))
    };
    let wanted: BTreeSet<String> = OUTLINE.iter().flat_map(ids).collect();
    assert_eq!(wanted.len(), CASES);
    let all = || TABLES.into_iter().flatten();
    let tried: BTreeSet<String> = all().map(|(id, ..)| (*id).to_owned()).collect();
    let missing: Vec<_> = wanted.symmetric_difference(&tried).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(all().count(), CASES, "an id is used twice");
}

/// Runs cases, each on a connection of its own that has exchanged prefaces; the heads that reached the
/// origin.
fn run(cases: &[Case]) -> String {
    run_on(cases, Frames::open)
}

fn run_on(cases: &[Case], open: fn(&House) -> Frames) -> String {
    let heads = std::cell::RefCell::default();
    on_each_driver(|driver| {
        // Whoever answers before the request is whole leaves nothing to reset.
        let hello = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec();
        let origin = Origin::script(vec![Act::Whole, Act::Send(hello)]);
        let house = House::open(driver, snapshot(origin.address));
        let mut wrong = Vec::new();
        for (id, send, expected) in cases {
            // Seen when a case breaks off.
            eprintln!("{id}");
            let mut frames = open(&house);
            send(&mut frames);
            let outcome = frames.outcome_like(expected.last().copied().unwrap_or_default());
            if !expected.contains(&outcome.as_str()) {
                wrong.push(format!("{id}: {outcome}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        *heads.borrow_mut() = origin.heads.lock().unwrap().concat().concat();
    });
    heads.into_inner()
}

// What may come: nothing in particular; the connection's end, or a stream's, with this error.
const FINE: &[&str] = &["pong"];
const PROTOCOL: &[&str] = &["goaway 1, closed"];
const FLOW: &[&str] = &["goaway 3, closed"];
const SIZE: &[&str] = &["goaway 6, closed"];
const STREAM: &[&str] = &["reset 1, pong"];
// The codec ends the connection with PROTOCOL_ERROR where RFC 9113 has COMPRESSION_ERROR, or where
// STREAM_CLOSED would end a stream.
const COMPRESSION: &[&str] = PROTOCOL;
const CLOSED: &[&str] = &["goaway 1, closed", "reset 5, pong"];

/// A request with these fields behind the usual pseudo-fields.
fn ask(frames: &mut Frames, fields: &[(&str, &str)]) {
    let all = [&GET[..], fields].concat();
    frames.send(HEADERS, END | END_HEADERS, 1, &block(&all));
}

/// A request whose block has these bytes behind the usual pseudo-fields.
fn ask_raw(frames: &mut Frames, bytes: &[u8]) {
    let all = [&block(&GET), bytes].concat();
    frames.send(HEADERS, END | END_HEADERS, 1, &all);
}

#[test]
fn what_is_right_is_served() {
    run_on(generic::BEGIN, Frames::silent);
    let heads = run(generic::CASES);
    // Each way to say a field came through.
    assert_eq!(heads.matches("user-agent: custom-value\r\n").count(), 6);
    assert_eq!(heads.matches("custom-key: custom-value\r\n").count(), 6);
}

#[test]
fn prefaces_and_windows() {
    run_on(windows::BEGIN, Frames::silent);
    run(windows::CASES);
}

#[test]
fn frames_and_their_compression() {
    run(format::CASES);
    run(hpack::CASES);
}

#[test]
fn states_of_streams() {
    run(states::CASES);
}

#[test]
fn each_frame_type() {
    run(types::CASES);
}

#[test]
fn fields_of_requests() {
    run(requests::CASES);
}

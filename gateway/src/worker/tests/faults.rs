//! What an upstream can do wrong, and what the client then sees: security comes from never
//! guessing where a response ends.

use std::io::Write;

use super::support::{Act, GET, House, Origin, on_each_driver, snapshot};

/// Status, body and wholeness that the client sees; how many upstream connections two requests
/// take: 2 means that the first one was not used again.
struct Case {
    name: &'static str,
    acts: Vec<Act>,
    status: u16,
    body: &'static str,
    whole: bool,
    connections: usize,
}

fn case(
    name: &'static str,
    answer: &str,
    status: u16,
    body: &'static str,
    whole: bool,
    connections: usize,
) -> Case {
    Case {
        name,
        acts: vec![Act::Send(answer.into())],
        status,
        body,
        whole,
        connections,
    }
}

const TERMINATED: &str = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
const PROTOCOL: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: protocol error";

/// Then the origin closes.
fn closing(mut case: Case) -> Case {
    case.acts.push(Act::Close);
    case
}

fn heads() -> Vec<Case> {
    let bad = |name, answer: &str| case(name, answer, 502, PROTOCOL, true, 2);
    vec![
        bad("garbage", "what is this\r\n\r\n"),
        bad(
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        ),
        bad(
            "length and encoding",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        bad(
            "unknown coding",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx",
        ),
        bad(
            "unasked 101",
            "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        ),
        bad(
            "NUL in a field",
            "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        ),
        bad(
            "folded field",
            "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
        ),
        bad("status 000", "HTTP/1.1 000 No\r\ncontent-length: 0\r\n\r\n"),
        bad("status 999", "HTTP/1.1 999 No\r\ncontent-length: 0\r\n\r\n"),
        bad("50 interim", &"HTTP/1.1 100 Continue\r\n\r\n".repeat(50)),
        bad(
            "100 KiB head",
            &format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(100 * 1024)),
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\n";
    vec![
        case(
            "100 first",
            &format!("HTTP/1.1 100 Continue\r\n\r\n{ok}content-length: 2\r\n\r\nok"),
            200,
            "ok",
            true,
            1,
        ),
        case(
            "103 first",
            &format!("HTTP/1.1 103 Early\r\nlink: x\r\n\r\n{ok}content-length: 2\r\n\r\nok"),
            200,
            "ok",
            true,
            1,
        ),
        case(
            "bytes behind",
            &format!("{ok}content-length: 2\r\n\r\nokEXTRA"),
            200,
            "ok",
            true,
            2,
        ),
        case(
            "204 with body",
            "HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok",
            204,
            "",
            true,
            2,
        ),
        case(
            "304 with length",
            "HTTP/1.1 304 Not\r\ncontent-length: 2\r\n\r\n",
            304,
            "",
            true,
            1,
        ),
        case(
            "says close",
            &format!("{ok}content-length: 2\r\nconnection: close\r\n\r\nok"),
            200,
            "ok",
            true,
            2,
        ),
    ]
}

fn cuts() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = format!("{ok}transfer-encoding: chunked\r\n\r\n");
    vec![
        closing(case(
            "no framing",
            &format!("{ok}\r\nok"),
            200,
            "ok",
            true,
            2,
        )),
        closing(case(
            "cut length",
            &format!("{ok}content-length: 5\r\n\r\nok"),
            200,
            "ok",
            false,
            2,
        )),
        closing(case(
            "cut chunk",
            &format!("{chunked}5\r\nok"),
            200,
            "ok",
            false,
            2,
        )),
        closing(case(
            "no last chunk",
            &format!("{chunked}2\r\nok\r\n"),
            200,
            "ok",
            false,
            2,
        )),
    ]
}

fn ends() -> Vec<Case> {
    let end = |name, acts| Case {
        name,
        acts,
        status: 503,
        body: TERMINATED,
        whole: true,
        connections: 2,
    };
    vec![
        end("closes", vec![Act::Close]),
        end("resets", vec![Act::Reset]),
        end(
            "closes in the head",
            vec![Act::Send(b"HTTP/1.1 200 OK\r\nx:".into()), Act::Close],
        ),
    ]
}

#[test]
fn every_fault_has_its_answer() {
    on_each_driver(|driver| {
        for case in heads()
            .into_iter()
            .chain(bodies())
            .chain(cuts())
            .chain(ends())
        {
            let Case {
                name,
                acts,
                status,
                body,
                whole,
                connections,
            } = case;
            let origin = Origin::script(acts);
            let house = House::open(driver, snapshot(origin.address));
            for _ in 0..2 {
                let seen = house.client().ask(GET);
                assert_eq!(
                    (seen.status, seen.body.as_str(), seen.whole),
                    (status, body, whole),
                    "{driver:?} {name}"
                );
            }
            assert_eq!(origin.connections(), connections, "{driver:?} {name}");
            assert_eq!(house.report().in_flight, 0, "{driver:?} {name}");
        }
    });
}

#[test]
fn head_gets_a_head_and_no_body() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        let house = House::open(driver, snapshot(origin.address));
        let mut client = house.client();
        for _ in 0..3 {
            let seen = client.ask(b"HEAD / HTTP/1.1\r\nhost: a.example\r\n\r\n");
            assert!(seen.head.contains("content-length: 5\r\n"), "{}", seen.head);
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    on_each_driver(|driver| {
        let origin = Origin::script(vec![
            Act::Send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig".into()),
            Act::Read(1_000),
            Act::Close,
        ]);
        let house = House::open(driver, snapshot(origin.address));
        let mut client = house.client();
        let head = b"POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10000000\r\n\r\n";
        client.stream.write_all(head).unwrap();
        let mut sender = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            // It ends in an error when the connection is closed: that is what is tested.
            drop(sender.write_all(&vec![b'x'; 10_000_000]));
        });
        let seen = client.answer(true);
        assert_eq!(
            (seen.status, seen.body.as_str()),
            (413, "big"),
            "{driver:?}"
        );
        assert!(seen.head.contains("connection: close"), "{}", seen.head);
        drop(client);
        sending.join().unwrap();
    });
}

#[test]
fn a_dying_pooled_connection_costs_the_client_nothing() {
    on_each_driver(|driver| {
        // Answers one request, then closes: the next request may be on its way already.
        let origin = Origin::script(vec![
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into()),
            Act::Close,
        ]);
        let house = House::open(driver, snapshot(origin.address));
        let mut client = house.client();
        for _ in 0..100 {
            let seen = client.ask(GET);
            assert_eq!((seen.status, seen.body.as_str()), (200, "ok"));
        }
    });
}

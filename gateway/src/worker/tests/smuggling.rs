//! The corpus of attacks on sockets: whatever a client sends, and however it is cut, the origin's
//! own strict parser sees exactly the requests that it should, and the client the right statuses.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sallyport_config::ir;
use sallyport_core::path::{PathAction, PathPolicy, normalize};

use super::corpus::{Case, Expect, Profile, Seen, cases};
use super::support::{Client, House, field, on_each_driver, snapshot};

/// An input is cut in two at every byte, or at about this many places if it is longer.
const SPLITS_MAX: usize = 256;
/// Inputs shorter than this are also sent one byte a write.
const BYTE_BY_BYTE_MAX: usize = 2_000;

/// What an origin saw: requests, or why it could not read one.
type Sights = Arc<Mutex<Vec<Result<Sight, String>>>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    method: String,
    target: String,
    authority: String,
    body: Vec<u8>,
}

/// An origin that takes nothing but the plainest form of HTTP/1.1, and keeps what it saw.
fn strict_origin() -> (SocketAddr, Sights) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let sights = Sights::default();
    let kept = Arc::clone(&sights);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || watch(stream.unwrap(), &kept));
        }
    });
    (address, sights)
}

fn watch(stream: TcpStream, sights: &Sights) {
    let mut client = Client::new(stream);
    while let Some(head) = client.head() {
        let sight = read_request(&mut client, &head);
        let Some(sight) = sight.transpose() else {
            return;
        };
        let close = sight.is_err();
        sights.lock().unwrap().push(sight);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        if close || client.stream.write_all(answer).is_err() {
            return;
        }
    }
}

/// `Ok(None)`: the request was cut off, which a gateway may do to a request gone wrong.
fn read_request(client: &mut Client<TcpStream>, head: &str) -> Result<Option<Sight>, String> {
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else {
        return Err(format!("request line {line:?}"));
    };
    let mut length = None;
    let mut chunked = false;
    let mut host = None;
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line
            .split_once(": ")
            .ok_or_else(|| format!("field line {line:?}"))?;
        let plain = name.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b)
        });
        if !plain || value.bytes().any(|b| b < 0x20 && b != b'\t') {
            return Err(format!("field line {line:?}"));
        }
        match name {
            "host" if host.is_none() => host = Some(value),
            "content-length" if length.is_none() && !chunked => {
                length = Some(value.parse::<usize>().map_err(|_| line.to_owned())?);
            }
            "transfer-encoding" if length.is_none() && !chunked && value == "chunked" => {
                chunked = true;
            }
            "host" | "content-length" | "transfer-encoding" => return Err(line.to_owned()),
            _ => {}
        }
    }
    let body = if chunked {
        client.whole_chunks()
    } else {
        client.whole(length.unwrap_or(0))
    };
    Ok(body.map(|body| Sight {
        method: method.to_owned(),
        target: target.to_owned(),
        authority: host.unwrap_or_default().to_owned(),
        body,
    }))
}

/// What the origin should see: paths in their normal form; a redirect keeps a request from it.
fn wanted(seen: &[Seen]) -> Vec<Sight> {
    let mut scratch = Vec::new();
    let mut sights = Vec::new();
    for seen in seen {
        let action = normalize(seen.target.as_bytes(), PathPolicy::EDGE, &mut scratch);
        let target = match action {
            PathAction::Unchanged => seen.target.clone(),
            PathAction::Rewritten => String::from_utf8(scratch.clone()).unwrap(),
            PathAction::Redirect | PathAction::Reject { .. } => continue,
        };
        // Answered here: there is no route to a tunnel.
        if seen.method != "CONNECT" {
            sights.push(Sight {
                method: seen.method.to_owned(),
                target,
                authority: seen.authority.to_owned(),
                body: seen.body.clone(),
            });
        }
    }
    sights
}

/// Sends the bytes in pieces and reads all that comes; the statuses.
fn statuses(house: &House, pieces: &[&[u8]]) -> Vec<u16> {
    let mut client = house.client();
    client.stream.set_nodelay(true).unwrap();
    for piece in pieces {
        // The gateway may have said no and gone.
        if client.stream.write_all(piece).is_err() {
            break;
        }
    }
    let mut writer = client.stream.try_clone().unwrap();
    let mut statuses = Vec::new();
    loop {
        let seen = client.answer(true);
        match seen.status {
            0 => return statuses,
            100 => {}
            status => {
                statuses.push(status);
                if field(&seen.head, "connection") == Some("close") {
                    // Nothing may follow.
                    assert!(!client.more(), "bytes after the last answer");
                    drop(writer.shutdown(Shutdown::Both));
                    return statuses;
                }
                drop(writer.flush());
            }
        }
    }
}

fn check(house: &House, sights: &Sights, case: &Case, pieces: &[&[u8]]) {
    sights.lock().unwrap().clear();
    let (requests, refusal) = match &case.expect {
        Expect::Accept(seen) => (seen, None),
        Expect::Reject { after, status } => (after, Some(*status)),
    };
    let statuses = match refusal {
        Some(_) => statuses(house, pieces),
        // An accepted connection stays open: ask for its end with a last request.
        None => {
            let last = b"GET /last HTTP/1.1\r\nhost: last\r\nconnection: close\r\n\r\n";
            let mut pieces = pieces.to_vec();
            pieces.push(last);
            statuses(house, &pieces)
        }
    };
    // One answer a request, and the refusal; `/last` has none if a request before asked to close.
    let answers = requests.len() + usize::from(refusal.is_some());
    assert!(
        (answers..=answers + usize::from(refusal.is_none())).contains(&statuses.len()),
        "{}: {statuses:?}",
        case.id
    );
    if let Some(status) = refusal {
        assert_eq!(statuses.last(), Some(&status), "{}: {statuses:?}", case.id);
    }
    let seen: Vec<Sight> = sights
        .lock()
        .unwrap()
        .iter()
        .map(|sight| {
            sight
                .clone()
                .unwrap_or_else(|why| panic!("{}: {why}", case.id))
        })
        .filter(|sight| sight.target != "/last")
        .collect();
    assert_eq!(seen, wanted(requests), "{}", case.id);
}

#[test]
fn the_origin_sees_exactly_the_expected_requests() {
    let cases = cases();
    on_each_driver(|driver| {
        for profile in [Profile::Edge, Profile::Sidecar, Profile::Http10] {
            let (address, sights) = strict_origin();
            let mut snapshot = snapshot(address);
            snapshot.route_tables[0].hosts[0].domains = vec![ir::HostPattern::Any];
            snapshot.settings.http10 = profile == Profile::Http10;
            if profile == Profile::Sidecar {
                snapshot.settings.connection.underscores = ir::UnderscoreAction::Allow;
            }
            let house = House::open(driver, snapshot);
            for case in cases.iter().filter(|case| case.profile == profile) {
                check(&house, &sights, case, &[&case.bytes]);
                let length = case.bytes.len();
                // Long inputs are long in one field: a cut every so often is enough.
                let step = length / SPLITS_MAX + 1;
                for cut in (1..length).step_by(step) {
                    let (head, tail) = case.bytes.split_at(cut);
                    check(&house, &sights, case, &[head, tail]);
                }
                if length < BYTE_BY_BYTE_MAX {
                    let bytes: Vec<&[u8]> = case.bytes.chunks(1).collect();
                    check(&house, &sights, case, &bytes);
                }
            }
        }
    });
}

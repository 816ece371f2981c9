//! Attacks on memory over HTTP/2: what is small on the wire and large behind it ends or is bounded.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::frames::*;
use super::support::{Client, House, Origin, PATIENCE, on_each_driver, snapshot};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A head that puts a field of about 4,000 bytes into the table, and says it so many times more by its
/// index. `name` is the name's representation, with a place in the table.
fn bomb(name: &[u8], again: usize) -> Vec<u8> {
    let mut bytes = block(&GET);
    bytes.extend_from_slice(name);
    // 4,000 with a prefix of seven bits.
    bytes.extend_from_slice(&[0x7f, 0xa1, 0x1e]);
    bytes.resize(bytes.len() + 4_000, b'x');
    bytes.resize(bytes.len() + again, 0xbe);
    bytes
}

/// CVE-2016-6581, and with cookies, whose bytes count like others' (CVE-2026-47774).
#[test]
fn heads_that_unfold_end_at_a_bound() {
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let house = House::open(driver, snapshot(origin.address));
        let mut good = Frames::open(&house);
        for name in [&b"\x40\x01x"[..], b"\x60"] {
            // 80 KiB are more than we said that we take; who says so gets an answer.
            let mut frames = Frames::open(&house);
            frames.send(HEADERS, END | END_HEADERS, 1, &bomb(name, 20));
            assert_eq!(frames.answer_status(1), "431");
            assert_eq!(frames.outcome(), "pong");
            // 44 MiB are an attack.
            let mut frames = Frames::open(&house);
            frames.send(HEADERS, END | END_HEADERS, 1, &bomb(name, 11_500));
            assert_eq!(frames.outcome(), "goaway 11, closed");
        }
        good.get(1);
        good.answer(1);
        assert_eq!(good.outcome(), "pong");
        assert!(origin.heads.lock().unwrap().concat().concat().len() < 4_096);
    });
}

#[test]
fn tables_do_not_grow_as_a_client_says() {
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let house = House::open(driver, snapshot(origin.address));
        let mut frames = Frames::open(&house);
        // Our encoder may have 4 GiB, and uses no more than its own 4 KiB: it says nothing of a change.
        frames.send(SETTINGS, 0, 0, &setting(1, u32::MAX));
        frames.acknowledged();
        for n in 0..50 {
            frames.get(2 * n + 1);
            let head = frames.head(2 * n + 1);
            assert_ne!(head[0] & 0xe0, 0x20, "an update of the table's size");
        }
        // And no table is as good as a large one: updates are said once.
        frames.send(SETTINGS, 0, 0, &setting(1, 0));
        frames.acknowledged();
        frames.get(101);
        assert_eq!(frames.head(101)[0], 0x20);
        frames.get(103);
        assert_ne!(frames.head(103)[0] & 0xe0, 0x20);
    });
}

#[test]
fn updates_of_the_tables_size_cost_their_sender_more_than_us() {
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let house = House::open(driver, snapshot(origin.address));
        let mut frames = Frames::open(&house);
        let spam = [vec![0x20; 16_000], block(&GET)].concat();
        for n in 0..20 {
            frames.send(HEADERS, END | END_HEADERS, 2 * n + 1, &spam);
            assert_eq!(frames.answer_status(2 * n + 1), "200");
        }
        assert_eq!(frames.outcome(), "pong");
    });
}

/// Bytes of a body that nobody takes.
const GUSH: u64 = 10 * 1024 * 1024;
/// What may be on its way of a body that its client does not take: buffers of the kernel on both ends,
/// the codec's 64 KiB and ours.
const STALLED: u64 = 1024 * 1024;

/// An origin that answers with 10 MiB as fast as they are taken, and counts them, and the times that it
/// had to wait long.
struct Gushing {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    stalled: Arc<AtomicUsize>,
}

impl Gushing {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gushing = Self {
            address: listener.local_addr().unwrap(),
            sent: Arc::default(),
            stalled: Arc::default(),
        };
        let (sent, stalled) = (Arc::clone(&gushing.sent), Arc::clone(&gushing.stalled));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (sent, stalled) = (Arc::clone(&sent), Arc::clone(&stalled));
                std::thread::spawn(move || gush(stream.unwrap(), &sent, &stalled));
            }
        });
        gushing
    }
}

fn gush(stream: TcpStream, sent: &AtomicU64, stalled: &AtomicUsize) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_send_buffer_size(64 * 1024).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut client = Client::new(stream);
    if client.head().is_none() {
        return;
    }
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {GUSH}\r\n\r\n");
    client.stream.write_all(head.as_bytes()).unwrap();
    let (piece, mut mine, mut waited) = (vec![b'x'; 16 * 1024], 0, false);
    while mine < GUSH {
        let left = usize::try_from(GUSH - mine).unwrap().min(piece.len());
        match client.stream.write(&piece[..left]) {
            Ok(count) => {
                mine += count as u64;
                sent.fetch_add(count as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stalled.fetch_add(usize::from(!waited), Ordering::Relaxed);
                waited = true;
            }
            Err(_) => return,
        }
    }
}

/// CVE-2019-9517: windows of nothing on a hundred streams hold back a hundred origins, and no more than
/// a bounded part of each body is anywhere.
#[test]
fn streams_without_a_window_hold_origins_back() {
    const STREAMS: u32 = 100;
    on_each_driver(|driver| {
        let origin = Gushing::start();
        let house = House::open(driver, snapshot(origin.address));
        let mut frames = Frames::open(&house);
        frames.send(SETTINGS, 0, 0, &setting(4, 0));
        frames.acknowledged();
        (0..STREAMS).for_each(|n| frames.get(2 * n + 1));
        let end = Instant::now() + PATIENCE;
        while origin.stalled.load(Ordering::Relaxed) < STREAMS as usize {
            assert!(Instant::now() < end, "{:?}", origin.stalled);
            std::thread::yield_now();
        }
        let sent = origin.sent.load(Ordering::Relaxed);
        assert!(sent < u64::from(STREAMS) * STALLED, "{sent} bytes");
        // One that is taken comes whole, whatever the others do.
        frames.send(WINDOW_UPDATE, 0, 0, &(20_u32 << 20).to_be_bytes());
        frames.send(WINDOW_UPDATE, 0, 1, &(20_u32 << 20).to_be_bytes());
        let mut taken = 0;
        while taken < GUSH {
            taken += frames.data(1).len() as u64;
        }
        assert_eq!(taken, GUSH);
        drop(frames);
        house.report_when(|report| report.in_flight == 0);
        assert_eq!(house.close(), 0);
    });
}

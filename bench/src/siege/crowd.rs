//! Many connections that take their time, or are too many.

use super::figures::{Figures, Meter};
use super::house::{HOST, House, ask};
use crate::args::Siege;
use crate::load;
use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Clients that are slow.
const SLOW: usize = 2_000;
/// What the gateway may grow by for them: 64 MiB.
const SLOW_GROWTH_KIB: u64 = 64 * 1024;
/// When all of them have to be gone.
const SLOW_TIME: Duration = Duration::from_secs(15);
/// How often each sends a byte.
const BYTE_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked who has gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Requests per second of the good client beside.
const GOOD_RATE: f64 = 500.0;

type Outcome = Result<Figures, Box<dyn Error>>;

/// Heads that come byte by byte.
pub(super) fn slow_heads(args: &Siege, driver: &str, origin: u16) -> Outcome {
    let head = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nx-slow: ");
    slow(args, driver, origin, |house| {
        (house.plain, head.into_bytes())
    })
}

/// TLS handshakes that do not go on behind their first bytes.
pub(super) fn slow_hellos(args: &Siege, driver: &str, origin: u16) -> Outcome {
    slow(args, driver, origin, |house| {
        (
            house.secure,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        )
    })
}

/// Bodies that come byte by byte. They may live on: what they cost is the point.
pub(super) fn slow_bodies(args: &Siege, driver: &str, origin: u16) -> Outcome {
    let head = format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1000000\r\n\r\n");
    let settings = "httpStreamIdleTimeout: 8s, httpRequestTimeout: 12s";
    let house = House::open(args, driver, origin, settings, None)?;
    slow_on(&house, house.plain, &head.into_bytes())
}

fn slow(
    args: &Siege,
    driver: &str,
    origin: u16,
    begin: impl FnOnce(&House) -> (SocketAddr, Vec<u8>),
) -> Outcome {
    let house = House::open(args, driver, origin, "", None)?;
    let (door, bytes) = begin(&house);
    slow_on(&house, door, &bytes)
}

/// Opens slow connections that begin with these bytes, beside a good client.
fn slow_on(house: &House, door: SocketAddr, bytes: &[u8]) -> Outcome {
    let seconds = SLOW_TIME.as_secs_f64();
    let before = load::measure(&house.good(GOOD_RATE, seconds / 4.0))?;
    let quiet = cost_of_good(house)?;
    let meter = Meter::begin(house.pid())?;
    let good = house.good(GOOD_RATE, seconds);
    let beside = thread::spawn(move || load::measure(&good).map_err(|error| error.to_string()));
    let begun = Instant::now();
    let mut sent = 0;
    let mut clients = Vec::with_capacity(SLOW);
    for _ in 0..SLOW {
        let mut client = TcpStream::connect(door)?;
        client.write_all(bytes)?;
        client.set_nonblocking(true)?;
        sent += bytes.len();
        clients.push(client);
    }
    let mut next = begun + BYTE_EVERY;
    let mut gone = begun.elapsed();
    while !clients.is_empty() && begun.elapsed() < 2 * SLOW_TIME {
        if Instant::now() >= next {
            next += BYTE_EVERY;
            for client in &mut clients {
                sent += client.write(b"x").unwrap_or(0);
            }
        }
        clients.retain_mut(is_open);
        gone = begun.elapsed();
        thread::sleep(LOOK_EVERY);
    }
    let mut figures = meter.end()?;
    let during = beside.join().map_err(|_| "the good client broke")??;
    figures.server = (figures.server - quiet * gone.as_secs_f64().min(seconds)).max(0.0);
    figures.bytes = u64::try_from(sent).unwrap_or(0);
    figures.outcome = match clients.len() {
        0 => format!("{SLOW} clients, all gone after {:.1} s", gone.as_secs_f64()),
        left => format!("{left} of {SLOW} clients stay"),
    };
    figures.want(clients.is_empty() && gone <= SLOW_TIME, "all gone in 15 s");
    figures.want(figures.growth_kib <= SLOW_GROWTH_KIB, "memory");
    figures.good = Some((before, during));
    figures.want_good(2.0);
    Ok(figures)
}

/// CPU of the gateway in a second, with the good client alone.
fn cost_of_good(house: &House) -> Result<f64, Box<dyn Error>> {
    let meter = Meter::begin(house.pid())?;
    load::measure(&house.good(GOOD_RATE, 2.0))?;
    Ok(meter.end()?.server / 2.0)
}

/// Whether the gateway has left a connection open.
fn is_open(client: &mut TcpStream) -> bool {
    let mut answer = [0; 1024];
    loop {
        match client.read(&mut answer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// What came of clients that all ask at once.
struct Crowd {
    /// Those that were answered, and stay.
    served: Vec<TcpStream>,
    refused: usize,
    /// How long the last to be refused waited for it, from its connecting.
    slowest: Duration,
}

/// Clients of which each asks once.
fn crowd(door: SocketAddr, size: usize) -> io::Result<Crowd> {
    let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let mut crowd = Crowd {
        served: Vec::new(),
        refused: 0,
        slowest: Duration::ZERO,
    };
    for _ in 0..size {
        let begun = Instant::now();
        let mut client = TcpStream::connect(door)?;
        client.set_read_timeout(Some(super::house::PATIENCE))?;
        // One that was closed already may not even take it.
        drop(client.write_all(request.as_bytes()));
        match client.read(&mut [0; 4096]) {
            Ok(1..) => crowd.served.push(client),
            _ => {
                crowd.refused += 1;
                crowd.slowest = crowd.slowest.max(begun.elapsed());
            }
        }
    }
    Ok(crowd)
}

/// Three times as many connections as are allowed.
pub(super) fn connection_limit(args: &Siege, driver: &str, origin: u16) -> Outcome {
    let house = House::open(args, driver, origin, "listenerConnectionLimit: 1000", None)?;
    let meter = Meter::begin(house.pid())?;
    let crowd = crowd(house.plain, 3_000)?;
    let operators = ask(house.admin, "/ready");
    let mut figures = meter.end()?;
    figures.outcome = format!(
        "{} served, {} closed, the slowest in {:.1} ms",
        crowd.served.len(),
        crowd.refused,
        crowd.slowest.as_secs_f64() * 1_000.0
    );
    figures.want(crowd.served.len() == 1_000, "1,000 served");
    figures.want(crowd.slowest < Duration::from_millis(50), "closed fast");
    figures.want(
        operators.is_ok_and(|page| page.contains("LIVE")),
        "operators",
    );
    Ok(figures)
}

/// More clients than descriptors.
pub(super) fn descriptors(args: &Siege, driver: &str, origin: u16) -> Outcome {
    let house = House::open(args, driver, origin, "", Some(256))?;
    let meter = Meter::begin(house.pid())?;
    let clients = crowd(house.plain, 500)?;
    let filled = meter.end()?;
    // They stay, and more come to find no room.
    let meter = Meter::begin(house.pid())?;
    let begun = Instant::now();
    let mut waiting = Vec::new();
    while begun.elapsed() < Duration::from_secs(3) {
        waiting.push(TcpStream::connect(house.plain)?);
        thread::sleep(Duration::from_millis(20));
    }
    let mut figures = meter.end()?;
    let share = figures.server / begun.elapsed().as_secs_f64();
    let operators = ask(house.admin, "/ready");
    let served = clients.served.len();
    drop((clients, waiting));
    let begun = Instant::now();
    while crowd(house.plain, 1)?.served.is_empty() && begun.elapsed() < SLOW_TIME {
        thread::sleep(Duration::from_millis(5));
    }
    let back = begun.elapsed().as_secs_f64();
    figures.growth_kib = figures.growth_kib.max(filled.growth_kib);
    figures.outcome = format!(
        "{served} of 500 served, {:.1} % of a core while full, room again after {:.0} ms",
        share * 100.0,
        back * 1_000.0
    );
    figures.want(share < 0.2, "CPU");
    figures.want(back <= 1.0, "recovery");
    figures.want(
        operators.is_ok_and(|page| page.contains("LIVE")),
        "operators",
    );
    Ok(figures)
}

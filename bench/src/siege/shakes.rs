//! TLS handshakes: many, stolen, and with certificates that change.

use super::figures::{Figures, Meter};
use super::house::{self, HOST, House};
use crate::args::{Load, Siege, Wire};
use crate::attack::process::own_cpu;
use crate::attack::report::errors;
use crate::load::{self, Target};
use rustls::ClientConnection;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Handshakes in a second while certificates change.
const RATE: f64 = 500.0;
/// How often they change.
const ROTATE_EVERY: Duration = Duration::from_millis(200);
/// A new certificate has to be seen after this.
const SEEN_WITHIN: Duration = Duration::from_millis(100);
/// Connections that do nothing but shake hands, in the flood.
const FLOODERS: usize = 64;

type Outcome = Result<Figures, Box<dyn Error>>;

/// Load over TLS.
fn secure(house: &House, seconds: f64) -> Load {
    Load {
        url: house.https.clone(),
        ..house.load(seconds)
    }
}

/// The first bytes of a client, over and over: they cost it nothing, and us a handshake.
pub(super) fn hello_replay(args: &Siege, driver: &str, origin: u16) -> Outcome {
    let house = House::open(args, driver, origin, "", None)?;
    let target = Target::new(&secure(&house, 1.0))?;
    let config = target.tls.ok_or("no TLS")?;
    let mut hello = Vec::new();
    ClientConnection::new(config, target.name)?.write_tls(&mut hello)?;
    let meter = Meter::begin(house.pid())?;
    let (begun, mut count, mut answer) = (Instant::now(), 0, [0; 16 * 1024]);
    while begun.elapsed().as_secs_f64() < args.short {
        let mut client = TcpStream::connect(house.secure)?;
        client.set_read_timeout(Some(house::PATIENCE))?;
        client.write_all(&hello)?;
        if client.read(&mut answer)? > 0 {
            count += 1;
        }
    }
    let mut figures = meter.end()?;
    figures.bytes = count * u64::try_from(hello.len())?;
    figures.outcome = format!(
        "{count} hellos answered, {:.0} µs of server CPU each",
        1e6 * figures.server / f64::from(u32::try_from(count.max(1))?)
    );
    Ok(figures)
}

/// Handshakes as fast as they come, beside clients that are connected.
pub(super) fn flood(args: &Siege, driver: &str, origin: u16) -> Outcome {
    let house = House::open(args, driver, origin, "", None)?;
    let good = Load {
        wire: Wire::H2,
        connections: 4,
        streams: 8,
        ..secure(&house, args.short)
    };
    let before = load::measure(&good)?;
    let flood = Load {
        fresh: true,
        connections: FLOODERS,
        seconds: args.short + 1.0,
        ..secure(&house, args.short)
    };
    let meter = Meter::begin(house.pid())?;
    let beside = thread::spawn(move || {
        let before = own_cpu();
        let seen = load::measure(&flood).map_err(|error| error.to_string());
        (seen, own_cpu().saturating_sub(before).as_secs_f64())
    });
    thread::sleep(Duration::from_millis(300));
    let during = load::measure(&good)?;
    let mut figures = meter.end()?;
    let (flooded, client) = beside.join().map_err(|_| "the flood broke")?;
    figures.client = client;
    let rate = |report: &Value| {
        report
            .pointer("/answered_per_second")
            .and_then(Value::as_f64)
    };
    let (alone, beside) = (rate(&before).unwrap_or(1.0), rate(&during).unwrap_or(0.0));
    figures.outcome = format!(
        "{:.0} handshakes a second; who was connected keeps {:.0} % of {alone:.0} requests a second",
        rate(&flooded?).unwrap_or(0.0),
        100.0 * beside / alone
    );
    figures.want(2.0 * beside >= alone, "half of the requests");
    figures.want(errors(&during) == 0, "errors");
    figures.good = Some((before, during));
    Ok(figures)
}

/// Certificates that change five times a second under a stream of handshakes.
pub(super) fn rotation(args: &Siege, driver: &str, origin: u16) -> Outcome {
    let house = House::open(args, driver, origin, "", None)?;
    let pairs: Vec<_> = (0..5).map(|_| house::pair()).collect::<Result<_, _>>()?;
    let stream = Load {
        fresh: true,
        rate: Some(RATE),
        connections: 32,
        ..secure(&house, args.long)
    };
    let target = Target::new(&stream)?;
    let meter = Meter::begin(house.pid())?;
    let beside = thread::spawn(move || load::measure(&stream).map_err(|error| error.to_string()));
    let (mut turns, mut late, mut slowest) = (0_u32, 0_u32, Duration::ZERO);
    for pair in pairs.iter().cycle() {
        if beside.is_finished() {
            break;
        }
        let begun = Instant::now();
        house.rotate(pair)?;
        turns += 1;
        let mut seen = false;
        while !seen && begun.elapsed() < ROTATE_EVERY {
            let sent = Instant::now();
            seen = leaf(&target)? == *pair.cert.der();
            slowest = slowest.max(sent.duration_since(begun).min(ROTATE_EVERY));
            thread::sleep(Duration::from_millis(5));
        }
        late += u32::from(!seen || slowest > SEEN_WITHIN);
        thread::sleep(ROTATE_EVERY.saturating_sub(begun.elapsed()));
    }
    let during = beside.join().map_err(|_| "the stream broke")??;
    let mut figures = meter.end()?;
    let answered = during.pointer("/answered").and_then(Value::as_u64);
    let failed = errors(&during);
    figures.outcome = format!(
        "{} handshakes at {RATE:.0} a second, {turns} certificates, {failed} failed; a new one is \
         seen after {:.0} ms at most",
        answered.unwrap_or(0),
        slowest.as_secs_f64() * 1_000.0
    );
    figures.want(
        failed == 0 && answered.is_some_and(|count| count > 0),
        "0 failed",
    );
    figures.want(late == 0, "seen in 100 ms");
    Ok(figures)
}

/// The certificate that is shown now.
fn leaf(target: &Target) -> Result<CertificateDer<'static>, Box<dyn Error>> {
    let config = target.tls.as_ref().ok_or("no TLS")?;
    let mut connection = ClientConnection::new(Arc::clone(config), target.name.clone())?;
    let mut socket = TcpStream::connect(target.address)?;
    socket.set_read_timeout(Some(house::PATIENCE))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    let chain = connection.peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or_else(|| io::Error::other(HOST))?;
    Ok(leaf.clone())
}

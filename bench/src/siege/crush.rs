//! Three times as many clients as reach the peak.

use super::figures::{Figures, Meter};
use super::house::{HOST, House};
use crate::args::{Load, Siege};
use crate::attack::report::{errors, p99};
use crate::load;
use serde_json::Value;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

/// Connections that ask again as soon as they are answered, of which as many reach the peak.
const PEAK: usize = 64;

/// Clients that ask for three times of what can be served.
pub(super) fn overload(args: &Siege, driver: &str, origin: u16) -> Result<Figures, Box<dyn Error>> {
    let house = House::open(args, driver, origin, "", None)?;
    let peak = Load {
        connections: PEAK,
        ..house.load(args.short)
    };
    let before = load::measure(&peak)?;
    let meter = Meter::begin(house.pid())?;
    let during = load::measure(&Load {
        connections: 3 * PEAK,
        seconds: args.long,
        ..peak
    })?;
    let mut figures = meter.end()?;
    let begun = Instant::now();
    let mut client = TcpStream::connect(house.plain)?;
    client.set_read_timeout(Some(super::house::PATIENCE))?;
    let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    client.write_all(request.as_bytes())?;
    let answered = client.read(&mut [0; 4096])? > 0;
    let back = begun.elapsed().as_secs_f64();
    let rate = |report: &Value| {
        report
            .pointer("/answered_per_second")
            .and_then(Value::as_f64)
    };
    let (alone, beside) = (rate(&before).unwrap_or(1.0), rate(&during).unwrap_or(0.0));
    figures.outcome = format!(
        "{:.0} % of the peak's {alone:.0} requests a second, an answer {:.1} ms after it",
        100.0 * beside / alone,
        back * 1_000.0
    );
    figures.want(beside >= 0.8 * alone, "80 % of the peak");
    figures.want(p99(&during) <= 4 * p99(&before), "p99");
    figures.want(errors(&during) == 0, "errors");
    figures.want(answered && back <= 2.0, "recovery");
    figures.good = Some((before, during));
    Ok(figures)
}

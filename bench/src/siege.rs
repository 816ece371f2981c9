//! Every attack that `bench/ATTACKS.md` knows, on gateways that are started for it, with each driver;
//! the figures are written there.

mod crowd;
mod crush;
mod figures;
mod house;
mod shakes;

use crate::args::{Attack, Siege};
use crate::{attack, serve};
use figures::{Figures, HEAD};
use house::House;
use std::error::Error;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::thread;

/// Between these lines of the page are the figures.
const MARKS: (&str, &str) = ("<!-- figures -->\n", "<!-- end of figures -->\n");
/// Bytes of each answer.
const BODY_BYTES: usize = 1024;

type Row = fn(&Siege, &str, u16) -> Result<Figures, Box<dyn Error>>;

/// Rows beside those of HTTP/2, each with gateways of its own.
const ROWS: &[(&str, Row)] = &[
    ("slow-heads", crowd::slow_heads),
    ("slow-hellos", crowd::slow_hellos),
    ("slow-bodies", crowd::slow_bodies),
    ("connection-limit", crowd::connection_limit),
    ("descriptors", crowd::descriptors),
    ("hello-replay", shakes::hello_replay),
    ("handshake-flood", shakes::flood),
    ("rotation", shakes::rotation),
    ("overload", crush::overload),
];

/// Runs all, or one, and writes the page.
///
/// # Errors
/// A gateway did not start, or an attacker found nobody.
pub(crate) fn run(args: &Siege) -> Result<(), Box<dyn Error>> {
    let origin = origin()?;
    let mut page = about();
    for driver in &args.drivers {
        say(&mut page, &format!("### On {driver}\n\n{HEAD}"))?;
        for (name, row) in ROWS {
            if args.row.as_ref().is_none_or(|wanted| wanted == name) {
                let figures = row(args, driver, origin)?;
                say(&mut page, &figures.line(name))?;
            }
        }
        if args.row.as_ref().is_none_or(|wanted| wanted == "http2") {
            let house = House::open(args, driver, origin, "", None)?;
            say(&mut page, "\nOver HTTP/2:\n")?;
            for line in attack::table(&over_http2(args, &house))? {
                say(&mut page, &line)?;
            }
        }
        say(&mut page, "")?;
    }
    if let Some(path) = &args.write {
        let text = std::fs::read_to_string(path)?;
        let (head, rest) = text.split_once(MARKS.0).ok_or("the page has no marks")?;
        let (_, tail) = rest.split_once(MARKS.1).ok_or("the page has no end mark")?;
        std::fs::write(path, [head, MARKS.0, &page, MARKS.1, tail].concat())?;
    }
    Ok(())
}

/// Says a line, and keeps it.
fn say(page: &mut String, line: &str) -> std::io::Result<()> {
    page.push_str(line);
    page.push('\n');
    writeln!(std::io::stdout().lock(), "{line}")
}

/// What the machine was like.
fn about() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    format!("One worker, {cores} cores, load average {load} at the beginning.\n\n")
}

/// An origin of this process; its port.
fn origin() -> Result<u16, Box<dyn Error>> {
    // Free a moment ago.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    thread::spawn(move || serve::run(address, 1, serve::Service::answer(BODY_BYTES)).is_ok());
    Ok(port)
}

fn over_http2(args: &Siege, house: &House) -> Attack {
    Attack {
        url: house.https.clone(),
        row: None,
        host: Some(house::HOST.to_owned()),
        pid: Some(house.pid()),
        rate: 200.0,
        seconds: args.short,
        every_ms: 100,
        json: None,
    }
}

//! The attacks: what is sent, and when it has to be over.

use super::frames::*;

/// One attack.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Frames after which the connection must have ended, counted from the first of the attack;
    /// `None` where it may live on, and only what it costs is bounded.
    pub(super) limit: Option<usize>,
    /// Frames of one round, and how many rounds are tried.
    pub(super) frames: usize,
    pub(super) rounds: u32,
    /// What the client's SETTINGS say.
    pub(super) settings: Option<(u16, u32)>,
    /// The bytes of round `n`.
    pub(super) round: fn(&Heads, u32) -> Vec<u8>,
}

/// Blocks that are right.
#[derive(Debug)]
pub(super) struct Heads {
    pub(super) get: Vec<u8>,
    pub(super) post: Vec<u8>,
}

impl Heads {
    /// A request without a body.
    fn ask(&self, n: u32) -> Vec<u8> {
        frame(HEADERS, END | END_HEADERS, 2 * n + 1, &self.get)
    }

    /// One whose body is to follow.
    fn open(&self, n: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, 2 * n + 1, &self.post)
    }

    /// A request with these bytes behind its head.
    fn with(&self, n: u32, bytes: &[u8]) -> Vec<u8> {
        let all = [&self.get, bytes].concat();
        frame(HEADERS, END | END_HEADERS, 2 * n + 1, &all)
    }

    /// On stream 1: its head first, then this.
    fn then(&self, n: u32, bytes: Vec<u8>) -> Vec<u8> {
        if n == 0 { self.open(0) } else { bytes }
    }
}

/// A row of one frame a round.
const fn row(name: &'static str, limit: usize, round: fn(&Heads, u32) -> Vec<u8>) -> Row {
    Row {
        name,
        limit: Some(limit),
        frames: 1,
        rounds: 3_000,
        settings: None,
        round,
    }
}

/// A row of two frames a round.
const fn pairs(name: &'static str, limit: usize, round: fn(&Heads, u32) -> Vec<u8>) -> Row {
    Row {
        frames: 2,
        ..row(name, limit, round)
    }
}

/// A row whose connection may live.
const fn bounded(name: &'static str, rounds: u32, round: fn(&Heads, u32) -> Vec<u8>) -> Row {
    Row {
        limit: None,
        rounds,
        ..row(name, 0, round)
    }
}

/// The rows of one table, in its order.
pub(super) const ROWS: &[Row] = &[
    pairs("rapid-reset", 400, |heads, n| {
        let cancel = frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]);
        [heads.ask(n), cancel].concat()
    }),
    row("continuation", 10, |_, n| {
        let kind = if n == 0 { HEADERS } else { CONTINUATION };
        let field = "y".repeat(13 * 1024);
        frame(kind, 0, 1, &block(&[("x-flood", &field)]))
    }),
    row("empty-continuation", 4, |_, n| {
        frame(if n == 0 { HEADERS } else { CONTINUATION }, 0, 1, &[])
    }),
    row("settings", 1_000, |_, _| frame(SETTINGS, 0, 0, &[])),
    row("ping", 1_000, |_, _| frame(PING, 0, 0, &[0; 8])),
    row("empty-data", 110, |heads, n| {
        heads.then(n, frame(DATA, 0, 1, &[]))
    }),
    row("priority", 110, |_, n| {
        frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 9])
    }),
    row("window-update", 110, |_, _| {
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
    }),
    pairs("reset-by-window", 220, |heads, n| {
        let nothing = frame(WINDOW_UPDATE, 0, 2 * n + 1, &[0; 4]);
        [heads.open(n), nothing].concat()
    }),
    pairs("reset-by-data", 220, |heads, n| {
        let late = frame(DATA, 0, 2 * n + 1, b"x");
        [heads.ask(n), late].concat()
    }),
    pairs("reset-by-priority", 220, |heads, n| {
        let id = (2 * n + 1).to_be_bytes();
        let own = frame(PRIORITY, 0, 2 * n + 1, &[&id[..], &[9]].concat());
        [heads.open(n), own].concat()
    }),
    row("malformed", 110, |heads, n| {
        heads.with(n, &block(&[("x", " y")]))
    }),
    row("bad-names", 110, |heads, n| {
        heads.with(n, &block(&[("X", "y")]))
    }),
    row("hpack-bomb", 3, |heads, n| bomb(heads, n, b"\x40\x01x")),
    row("hpack-bomb-cookie", 3, |heads, n| bomb(heads, n, b"\x60")),
    Row {
        settings: Some((4, 0)),
        ..bounded("500-streams", 500, Heads::open)
    },
    Row {
        settings: Some((4, 0)),
        ..bounded("zero-window", 100, Heads::ask)
    },
    Row {
        settings: Some((1, u32::MAX)),
        ..bounded("huge-table", 50, Heads::ask)
    },
    bounded("table-updates", 20, |heads, n| {
        let all = [&vec![0x20; 16_000], &heads.get[..]].concat();
        frame(HEADERS, END | END_HEADERS, 2 * n + 1, &all)
    }),
    row("unknown-types", 500, |_, n| {
        frame(0x42, 0, n % 100, &[0; 16])
    }),
    row("padded-data", 1_000, |heads, n| {
        let padding = [&[255][..], &[0; 255]].concat();
        heads.then(n, frame(DATA, PADDED, 1, &padding))
    }),
    bounded("one-byte-data", 2_000, |heads, n| {
        heads.then(n, frame(DATA, 0, 1, b"x"))
    }),
];

/// A field of 4,000 bytes that the table keeps, and 11,500 references to it: 44 MiB.
fn bomb(heads: &Heads, n: u32, name: &[u8]) -> Vec<u8> {
    let mut bytes = name.to_vec();
    text(&mut bytes, &[b'x'; 4_000]);
    bytes.resize(bytes.len() + 11_500, 0xbe);
    heads.with(n, &bytes)
}

//! The attacker: one connection after the other, a few frames at a time, so that their end is seen
//! soon after it came.

use super::frames::*;
use super::rows::{Heads, Row};
use crate::load::Target;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Rounds that are sent before the answer is looked at, and how long it is waited for.
const BATCH: (u32, Duration) = (5, Duration::from_millis(2));
/// The same for rows that may have few frames: one at a time.
const FEW: (u32, Duration) = (1, Duration::from_millis(20));
/// Rows of no more are such.
const FEW_FRAMES: usize = 20;
/// How long the gateway may take nothing, or say nothing when all was sent.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// How one attack went.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Frames sent until its end was seen.
    pub(super) frames: usize,
    /// Bytes of them, before TLS.
    pub(super) bytes: u64,
    /// The code of GOAWAY.
    pub(super) goaway: Option<u32>,
    /// The gateway closed the connection.
    pub(super) closed: bool,
    /// Streams that were reset, by code.
    pub(super) resets: BTreeMap<u32, usize>,
}

impl End {
    fn is_over(&self) -> bool {
        self.closed || self.goaway.is_some()
    }
}

trait Line: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Line for T {}

/// Attacks on one connection, to its end or, if it may live, until then.
pub(super) async fn attack(target: &Target, row: &Row, until: Instant) -> io::Result<End> {
    let socket = TcpStream::connect(target.address).await?;
    socket.set_nodelay(true)?;
    let mut line: Box<dyn Line> = match &target.tls {
        None => Box::new(socket),
        Some(config) => {
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
            Box::new(connector.connect(target.name.clone(), socket).await?)
        }
    };
    let settings = row.settings.map(|(id, value)| setting(id, value));
    let settings = frame(SETTINGS, 0, 0, &settings.unwrap_or_default());
    line.write_all(&[PREFACE, &settings, &frame(SETTINGS, END, 0, &[])].concat())
        .await?;
    let heads = heads(target);
    let mut reader = Reader::default();
    let mut end = End::default();
    let few = row.limit.is_some_and(|limit| limit <= FEW_FRAMES);
    let (batch, wait) = if few { FEW } else { BATCH };
    let mut n = 0;
    while n < row.rounds && !end.is_over() {
        let last = row.rounds.min(n + batch);
        let bytes: Vec<u8> = (n..last).flat_map(|n| (row.round)(&heads, n)).collect();
        end.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        end.frames += row.frames * usize::try_from(last - n).unwrap_or(0);
        n = last;
        // Who has been sent away may find nobody to write to.
        let written = timeout(PATIENCE, line.write_all(&bytes)).await;
        if !matches!(written, Ok(Ok(()))) {
            end.closed = true;
        }
        reader.look(&mut *line, wait, &mut end).await;
    }
    let rest = match row.limit {
        Some(_) => PATIENCE,
        None => until.saturating_duration_since(Instant::now()),
    };
    let deadline = Instant::now() + rest;
    while !end.closed && Instant::now() < deadline {
        reader.look(&mut *line, PATIENCE / 20, &mut end).await;
    }
    Ok(end)
}

fn heads(target: &Target) -> Heads {
    let path = target
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let authority = target.uri.authority().map_or("", |name| name.as_str());
    let scheme = target.uri.scheme_str().unwrap_or("http");
    let head = |method| {
        block(&[
            (":method", method),
            (":scheme", scheme),
            (":path", path),
            (":authority", authority),
        ])
    };
    Heads {
        get: head("GET"),
        post: head("POST"),
    }
}

/// Reads the gateway's frames.
#[derive(Debug, Default)]
struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// Reads what comes until nothing does for this long.
    async fn look(&mut self, line: &mut dyn Line, wait: Duration, end: &mut End) {
        let mut chunk = vec![0; READ_BYTES];
        while let Ok(read) = timeout(wait, line.read(&mut chunk)).await {
            match read {
                Ok(0) | Err(_) => {
                    end.closed = true;
                    return;
                }
                Ok(count) => self.bytes.extend(chunk.iter().take(count)),
            }
            while self.next(end) {}
        }
    }

    /// One frame; `false` when none is whole.
    fn next(&mut self, end: &mut End) -> bool {
        let Some((head, rest)) = self.bytes.split_first_chunk::<9>() else {
            return false;
        };
        let [a, b, c, kind, ..] = *head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        let Some(payload) = rest.get(..length) else {
            return false;
        };
        let word = |at: usize| {
            let bytes = payload.get(at..)?.first_chunk::<4>()?;
            Some(u32::from_be_bytes(*bytes))
        };
        match kind {
            RST_STREAM => *end.resets.entry(word(0).unwrap_or(0)).or_default() += 1,
            GOAWAY => end.goaway = end.goaway.or_else(|| word(4)),
            _ => {}
        }
        self.bytes.drain(..9 + length);
        true
    }
}

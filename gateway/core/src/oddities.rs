//! What is odd about the frames of one HTTP/2 connection, added up: each kind of frame that costs
//! us more than it costs its sender has a weight, the sum decays, and a connection whose sum grows
//! too large is sent away.
//!
//! The scanner reads frame headers only (RFC 9113 §4.1), in front of the codec, which looks at the
//! rest. Weights are such that a flood of one kind ends at the counts that the literature on such
//! attacks suggests, and that clients which cancel, ping and refill windows as they work stay far
//! below: what a connection gets done is set against what is odd about it.

use crate::time::Now;

/// Points at which a connection is cut.
pub const LIMIT: u32 = 10_000;
/// Points at which it is told to calm down and go away: three quarters.
pub const CALM_AT: u32 = LIMIT / 4 * 3;
/// Points that are forgotten in a second.
const DECAY: u32 = 200;
/// Points that an answered request, or a piece of an answer, takes off.
const WORK: u32 = 12;

/// A stream that is reset by its client: two hundred at once are too many (CVE-2023-44487).
const RESET: u32 = 50;
/// Control frames that want an answer: a thousand in ten seconds (CVE-2019-9512, CVE-2019-9515).
const PING: u32 = 12;
/// DATA without data that ends nothing: a hundred (CVE-2019-9518).
const EMPTY_DATA: u32 = 100;
/// PRIORITY: a hundred for each stream so far, which is how Envoy counts.
const PRIORITY: u32 = 100;
/// A frame of a type that does not exist.
const UNKNOWN: u32 = 20;
/// A window update beyond what the answers call for (CVE-2019-9511).
const WINDOW: u32 = 500;
/// A header block in more pieces than this is an attack (CVE-2024-27919).
const CONTINUATIONS_MAX: u32 = 8;
/// An empty piece of a header block: the second one is too many.
const EMPTY_CONTINUATION: u32 = LIMIT / 2;
/// A malformed request.
const MALFORMED: u32 = 100;

/// What is to be done about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// Say GOAWAY with FRAME_SIZE_ERROR and end: a frame has a length that its type cannot have.
    Misshapen,
    /// Say GOAWAY with ENHANCE_YOUR_CALM and end.
    Calm,
    /// Close at once.
    Close,
}

/// The sum for one connection, and the scanner that feeds it.
#[derive(Clone, Debug)]
pub struct Oddities {
    points: u32,
    /// Up to when the decay has been applied.
    since: Now,
    /// Bytes before the next frame header: the preface, or the rest of a frame.
    skip: usize,
    header: [u8; 9],
    have: usize,
    /// Streams that the client opened, and the newest.
    opened: u32,
    newest: u32,
    /// Pieces of the header block under way.
    continuations: u32,
    /// Window updates so far, and pieces of answers that were sent.
    updates: u64,
    pieces: u64,
    /// All oddities so far, by number and not by weight.
    seen: u64,
    /// A frame had a length that its type cannot have.
    misshapen: bool,
}

impl Oddities {
    /// A connection that begins with the client's preface of 24 bytes.
    #[must_use]
    pub const fn new(now: Now) -> Self {
        Self {
            points: 0,
            since: now,
            skip: 24,
            header: [0; 9],
            have: 0,
            opened: 0,
            newest: 0,
            continuations: 0,
            updates: 0,
            pieces: 0,
            seen: 0,
            misshapen: false,
        }
    }

    /// Looks at bytes in the order in which they came.
    pub fn scan(&mut self, bytes: &[u8], now: Now) {
        self.decay(now);
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(rest.len());
                self.skip -= step;
                rest = rest.get(step..).unwrap_or_default();
                continue;
            }
            let step = (self.header.len() - self.have).min(rest.len());
            let (head, tail) = rest.split_at(step);
            if let Some(place) = self.header.get_mut(self.have..self.have + step) {
                place.copy_from_slice(head);
            }
            self.have += step;
            rest = tail;
            if self.have == self.header.len() {
                self.have = 0;
                self.frame();
            }
        }
    }

    /// A request was answered, or a piece of an answer was sent.
    pub fn worked(&mut self) {
        self.pieces += 1;
        self.points = self.points.saturating_sub(WORK);
    }

    /// A client gave a request up, on a wire whose frames are not scanned.
    pub fn abandoned(&mut self, now: Now) {
        self.decay(now);
        self.add(RESET);
    }

    /// A request was malformed in a way that the frames do not show.
    pub fn malformed(&mut self) {
        self.add(MALFORMED);
    }

    /// What is to be done.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self.points {
            LIMIT.. => Verdict::Close,
            CALM_AT.. => Verdict::Calm,
            _ if self.misshapen => Verdict::Misshapen,
            _ => Verdict::Fine,
        }
    }

    /// How many oddities there were.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    fn decay(&mut self, now: Now) {
        let forgotten = now.since(self.since).saturating_mul(u64::from(DECAY)) / 1_000_000;
        if forgotten > 0 {
            let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
            self.points = self.points.saturating_sub(forgotten);
            self.since = now;
        }
    }

    fn add(&mut self, weight: u32) {
        self.seen += 1;
        self.points = self.points.saturating_add(weight);
    }

    fn frame(&mut self) {
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        self.skip = usize::try_from(length).unwrap_or(usize::MAX);
        self.misshapen |= !may_be(kind, flags, length);
        match kind {
            0 if length == 0 && flags & 1 == 0 => self.add(EMPTY_DATA),
            0 => {}
            1 => {
                self.continuations = 0;
                if stream > self.newest {
                    self.newest = stream;
                    self.opened = self.opened.saturating_add(1);
                }
            }
            2 => self.add((PRIORITY / self.opened.saturating_add(1)).max(1)),
            3 => self.add(RESET),
            // The first SETTINGS, the answer to ours and a ping now and then are forgotten soon.
            4 | 6 => self.add(PING),
            8 => self.window_update(),
            9 => self.continuation(length),
            _ => self.add(UNKNOWN),
        }
    }

    /// Envoy's formula: five, and two for each stream and ten for each piece that we sent.
    fn window_update(&mut self) {
        self.updates += 1;
        let work = u64::from(self.opened) + 10 * self.pieces;
        if self.updates > 5 + 2 * work {
            self.add(WINDOW);
        }
    }

    fn continuation(&mut self, length: u32) {
        self.continuations += 1;
        if self.continuations > CONTINUATIONS_MAX {
            self.add(LIMIT);
        } else if length == 0 {
            self.add(EMPTY_CONTINUATION);
        }
    }
}

/// Whether a frame of this type may have this length (RFC 9113 §6). The codec would take others for
/// errors of another kind.
const fn may_be(kind: u8, flags: u8, length: u32) -> bool {
    match kind {
        2 => length == 5,
        3 | 8 => length == 4,
        4 if flags & 1 != 0 => length == 0,
        4 => length.is_multiple_of(6),
        6 => length == 8,
        _ => true,
    }
}

#[cfg(test)]
mod tests;

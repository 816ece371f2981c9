//! Copying both ways. Each direction reads into one buffer while another is being written, and no
//! further: a slow reader slows the writer, and that is all the memory a connection takes.
//!
//! An end is passed on as an end, so that a connection can be half closed; a break as a break, so
//! that what is cut short does not look whole.

use std::future::poll_fn;
use std::task::{Context, Poll};

use sallyport_config::ir::Millis;
use sallyport_core::flags::Flags;
use sallyport_core::time::{Now, earliest};

use super::Conn;
use super::far::{Far, Side};
use super::open::Opened;
use crate::buffer::Buffers;

/// A connection on which nothing moved for this long gives its buffers back.
const PARK_AFTER: Millis = Millis(1_000);
/// Bytes are counted at least this often while they flow: Istio's reporting interval.
const REPORT_EVERY: Millis = Millis(5_000);
/// Moves before other tasks get their turn: two quick peers would keep us busy for ever.
const MOVES_MAX: u32 = 16;

/// Copies until both sides have ended, one of them broke, or its time is over.
pub(super) async fn relay(conn: &mut Conn, opened: Opened) {
    let Opened {
        mut far,
        limits,
        early,
    } = opened;
    let now = conn.worker.timers.now();
    let mut relay = Relay {
        up: Way {
            moved: u64::try_from(conn.early.len()).unwrap_or(u64::MAX),
            waiting: std::mem::take(&mut conn.early),
            ended: conn.client_ended,
            ..Way::default()
        },
        down: Way {
            moved: u64::try_from(early.len()).unwrap_or(u64::MAX),
            waiting: early,
            ..Way::default()
        },
        idle: limits.idle,
        end_by: limits.age.map(|age| conn.opened + age),
        last: now,
        reported: now,
        parked: false,
        leave_by: None,
    };
    relay.set_alarm(conn);
    let end = poll_fn(|context| relay.poll(conn, &mut far, context)).await;
    match end {
        End::Both => {}
        End::Broken => {
            conn.client.reset();
            far.reset();
        }
        End::Local(why) => conn.note.termination = why.into(),
        End::Old => {
            conn.note.flags = conn.note.flags.with(Flags::DT);
            conn.note.termination = "max_connection_duration_reached".into();
        }
    }
    (conn.note.received, conn.note.sent) = (relay.up.moved, relay.down.moved);
}

/// How copying ended.
enum End {
    /// Both sides ended in order.
    Both,
    /// A side broke: the other shall see it break, too.
    Broken,
    /// We ended it.
    Local(&'static str),
    /// It reached the age that the rules allow.
    Old,
}

/// Both directions, and their clock.
struct Relay {
    up: Way,
    down: Way,
    /// Limit without a byte in either direction.
    idle: Option<Millis>,
    /// When it is too old.
    end_by: Option<Now>,
    /// When something moved last.
    last: Now,
    /// When bytes were counted last.
    reported: Now,
    /// The buffers of pending reads have been given back.
    parked: bool,
    /// The listener is gone, and this is as long as its connections may stay.
    leave_by: Option<Now>,
}

/// The sender's connection broke, and all that came before has gone on.
struct Broken;

impl Relay {
    fn poll(&mut self, conn: &mut Conn, far: &mut Far, context: &mut Context<'_>) -> Poll<End> {
        if self.leave_by.is_none() && conn.guest.poll_evicted(context) {
            let drain = conn.worker.active().generation.snapshot.settings.drain;
            self.leave_by = Some(conn.worker.timers.now() + drain);
            self.set_alarm(conn);
        }
        let mut moves = 0;
        while moves < MOVES_MAX {
            let buffers = &conn.worker.buffers;
            let up = self.up.advance(&mut conn.client, far, buffers, context);
            let down = self.down.advance(far, &mut conn.client, buffers, context);
            match (up, down) {
                (Err(Broken), _) | (_, Err(Broken)) => return Poll::Ready(End::Broken),
                _ if self.up.done && self.down.done => return Poll::Ready(End::Both),
                (Ok(false), Ok(false)) => break,
                _ => moves += 1,
            }
        }
        if moves > 0 {
            self.moved(conn);
        }
        if moves == MOVES_MAX {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.poll_clock(conn, far, context)
    }

    /// Something moved: the clocks start anew.
    fn moved(&mut self, conn: &mut Conn) {
        self.last = conn.worker.timers.now();
        self.parked = false;
        self.set_alarm(conn);
        if self.last >= self.reported + REPORT_EVERY {
            self.report(conn);
        }
    }

    fn report(&mut self, conn: &mut Conn) {
        self.reported = self.last;
        (conn.note.received, conn.note.sent) = (self.up.moved, self.down.moved);
        conn.note_bytes();
    }

    fn idle_by(&self) -> Option<Now> {
        self.idle.map(|limit| self.last + limit)
    }

    fn set_alarm(&self, conn: &Conn) {
        let park_by = (!self.parked).then(|| self.last + PARK_AFTER);
        let by = earliest(self.idle_by(), earliest(self.leave_by, self.end_by));
        conn.alarm.set(earliest(park_by, by));
    }

    fn poll_clock(
        &mut self,
        conn: &mut Conn,
        far: &mut Far,
        context: &mut Context<'_>,
    ) -> Poll<End> {
        while conn.alarm.poll(context).is_ready() {
            let now = conn.worker.timers.now();
            if self.leave_by.is_some_and(|by| now >= by) {
                return Poll::Ready(End::Local("listener_removed"));
            }
            if self.end_by.is_some_and(|by| now >= by) {
                return Poll::Ready(End::Old);
            }
            if self.idle_by().is_some_and(|by| now >= by) {
                return Poll::Ready(End::Local("tcp_session_idle_timeout"));
            }
            if !self.parked && now >= self.last + PARK_AFTER {
                self.parked = true;
                conn.client.park();
                far.park();
                self.report(conn);
                // Parking takes effect when the reads are polled on.
                context.waker().wake_by_ref();
            }
            self.set_alarm(conn);
        }
        Poll::Pending
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// Read, and to be written next.
    waiting: Vec<u8>,
    /// The sender has said that no more will come, or broke.
    ended: bool,
    broke: bool,
    /// The receiver is being told so, or has been.
    finishing: bool,
    /// Nothing moves here any more.
    done: bool,
    /// Bytes read.
    moved: u64,
}

impl Way {
    /// Starts and completes what can be; whether anything moved.
    fn advance(
        &mut self,
        from: &mut impl Side,
        to: &mut impl Side,
        buffers: &Buffers,
        context: &mut Context<'_>,
    ) -> Result<bool, Broken> {
        if self.done {
            return Ok(false);
        }
        let wrote = self.write(to, buffers, context)?;
        let read = self.read(from, buffers, context);
        Ok(wrote || read)
    }

    fn write(
        &mut self,
        to: &mut impl Side,
        buffers: &Buffers,
        context: &mut Context<'_>,
    ) -> Result<bool, Broken> {
        if to.is_writing() {
            match to.poll_write(context) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(())) => self.done = self.finishing,
                Poll::Ready(Err(_)) => {
                    // What the receiver said before it went is still read, the other way.
                    self.done = true;
                    buffers.give(std::mem::take(&mut self.waiting));
                }
            }
            return Ok(true);
        }
        if !self.waiting.is_empty() {
            to.start_write(std::mem::take(&mut self.waiting));
            return Ok(true);
        }
        if self.broke {
            return Err(Broken);
        }
        if self.ended {
            self.finishing = true;
            to.start_finish();
        }
        Ok(self.ended)
    }

    fn read(&mut self, from: &mut impl Side, buffers: &Buffers, context: &mut Context<'_>) -> bool {
        if self.ended || self.done || !self.waiting.is_empty() {
            return false;
        }
        if !from.is_reading() {
            from.start_read();
        }
        let Poll::Ready((result, buffer)) = from.poll_read(context) else {
            return false;
        };
        match result {
            Ok(count) if count > 0 => {
                self.moved += u64::try_from(count).unwrap_or(u64::MAX);
                self.waiting = buffer;
            }
            other => {
                buffers.give(buffer);
                self.ended = true;
                self.broke = other.is_err();
            }
        }
        true
    }
}

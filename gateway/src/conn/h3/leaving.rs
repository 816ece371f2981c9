//! How a connection ends in good order (RFC 9114 §5.2): its client is told first that the end is
//! near, and what it sent before it knew is served; then which requests are not; and when all that
//! was said has arrived the connection is closed.

use std::task::{Context, Poll};
use std::time::Duration;

use sallyport_config::ir::Millis;
use sallyport_core::h3::{Code, encode_goaway};
use sallyport_core::time::Now;

use super::{Conn, Desk};
use crate::rt::Alarm;

/// The last request stream that there can be: in a GOAWAY, that no request is refused yet.
const LAST_STREAM: u64 = (1 << 62) - 4;
/// How long requests may come that were sent before the client knew: two round trips, but no less
/// and no more than these.
const NOTICE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Answers that were given are waited for so long to arrive: the window of what is sent ahead, over
/// a link of 300 kbit/s.
const DELIVERY_TIME: Millis = Millis(30_000);
/// Who says nothing for so long, or for six round trips, while it has something to acknowledge, is
/// gone.
const SILENCE: Duration = Duration::from_secs(1);

/// What was last heard of a client that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    datagrams: u64,
    at: Now,
}

/// How far a connection is on its way out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It stays.
    #[default]
    No,
    /// Its client is told. Requests that come until then are served.
    Announced { until: Now },
    /// Requests on this stream and those after it are refused. The code is what it will be closed
    /// with.
    Refusing {
        first: u64,
        code: Code,
        heard: Heard,
    },
}

impl Leaving {
    /// Whether a request on this stream is refused.
    pub(super) fn refuses(self, stream: u64) -> bool {
        matches!(self, Self::Refusing { first, .. } if stream >= first)
    }
}

impl Conn {
    /// Begins to leave.
    pub(super) fn announce(&self, desk: &mut Desk) {
        let (least, most) = NOTICE;
        let notice = self.quic.two_round_trips().clamp(least, most);
        let until = after(self.worker.timers.now(), notice);
        desk.leaving = Leaving::Announced { until };
        self.say_goaway(desk, LAST_STREAM);
    }

    /// Sends the client away: it is not owed any notice.
    pub(super) fn dismiss(&self, desk: &mut Desk) {
        match &mut desk.leaving {
            Leaving::Refusing { code, .. } => *code = Code::ExcessiveLoad,
            Leaving::No | Leaving::Announced { .. } => self.refuse(desk, Code::ExcessiveLoad),
        }
    }

    fn refuse(&self, desk: &mut Desk, code: Code) {
        let first = desk.next;
        let heard = Heard {
            datagrams: 0,
            at: self.worker.timers.now(),
        };
        desk.leaving = Leaving::Refusing { first, code, heard };
        self.say_goaway(desk, first);
    }

    fn say_goaway(&self, desk: &Desk, first: u64) {
        if let Some(control) = desk.control {
            self.quic.say(control, &encode_goaway(first));
        }
    }

    /// Ready when a connection that leaves can be closed, with the code to do it with.
    pub(super) fn poll_leaving(
        &self,
        context: &mut Context<'_>,
        desk: &mut Desk,
        alarm: &Alarm,
    ) -> Poll<Code> {
        loop {
            match &mut desk.leaving {
                Leaving::No => return Poll::Pending,
                Leaving::Announced { until } => {
                    if !self.is_due(Some(*until), alarm, context) {
                        return Poll::Pending;
                    }
                    self.refuse(desk, Code::NoError);
                }
                Leaving::Refusing { code, heard, .. } => {
                    if self.requests.get() > 0 {
                        alarm.set(None);
                        return Poll::Pending;
                    }
                    // Our control stream never ends.
                    let endless = usize::from(desk.control.is_some());
                    let until = self
                        .patience(heard)
                        .min(self.idle_since.get() + DELIVERY_TIME);
                    if self.quic.poll_delivered(context, endless)
                        || self.is_due(Some(until), alarm, context)
                    {
                        return Poll::Ready(*code);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// How long a client is waited for that has something to acknowledge.
    fn patience(&self, heard: &mut Heard) -> Now {
        let datagrams = self.quic.datagrams();
        if heard.datagrams != datagrams {
            *heard = Heard {
                datagrams,
                at: self.worker.timers.now(),
            };
        }
        after(heard.at, SILENCE.max(self.quic.two_round_trips() * 3))
    }
}

fn after(begin: Now, time: Duration) -> Now {
    begin.after_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

//! The body of a request as it comes off its stream: frames to payload, its length checked, its end
//! and trailers found.

use std::task::{Context, Poll};

use bytes::Bytes;
use quinn_proto::StreamId;
use sallyport_core::h1::BodyKind;
use sallyport_core::h3::{Code, Event, Fault, RequestStream, parse_trailers};

use crate::quic::{Connection, ReadEnd};

/// The client's side of a request stream.
#[derive(Debug)]
pub(super) struct Inlet {
    stream: RequestStream,
    /// Received, and not looked at.
    raw: Bytes,
    /// Bytes of the body that `content-length` still promises; `None` if it promises nothing.
    promised: Option<u64>,
    /// The client has ended its side.
    pub(super) ended: bool,
    /// Trailers, as field lines.
    pub(super) trailers: Vec<u8>,
}

/// What came next on a stream.
pub(super) enum Came {
    /// A frame's worth.
    Event(Event),
    /// The end.
    End,
    /// The client has reset the stream, or is gone.
    Gone,
    /// It broke a rule.
    Fault(Fault),
}

impl Inlet {
    pub(super) fn new() -> Self {
        Self {
            stream: RequestStream::new(),
            raw: Bytes::new(),
            promised: None,
            ended: false,
            trailers: Vec::new(),
        }
    }

    /// What the head promises about the body, of which some may have come already.
    ///
    /// # Errors
    /// That was more than promised.
    pub(super) fn expect(&mut self, kind: BodyKind, came: u64) -> Result<(), Fault> {
        if let BodyKind::Length(length) = kind {
            let left = length.checked_sub(came);
            self.promised = Some(left.ok_or(Fault::Stream(Code::Message))?);
        }
        Ok(())
    }

    /// From now on there are only bytes.
    pub(super) fn tunnel(&mut self) {
        self.stream.tunnel();
        self.promised = None;
    }

    /// The next event.
    pub(super) fn poll(
        &mut self,
        quic: &Connection,
        id: StreamId,
        context: &Context<'_>,
    ) -> Poll<Came> {
        loop {
            match self.stream.read(&mut self.raw) {
                Ok(Some(event)) => return Poll::Ready(self.judge(event)),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Came::Fault(fault)),
            }
            if self.ended {
                return Poll::Ready(Came::End);
            }
            match quic.poll_read(context, id) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(ReadEnd::Gone)) => return Poll::Ready(Came::Gone),
                Poll::Ready(Ok(Some(bytes))) => self.raw = bytes,
                Poll::Ready(Ok(None)) => {
                    self.ended = true;
                    return Poll::Ready(match self.stream.end() {
                        Err(fault) => Came::Fault(fault),
                        Ok(()) if self.promised.is_some_and(|left| left > 0) => {
                            Came::Fault(Fault::Stream(Code::Message))
                        }
                        Ok(()) => Came::End,
                    });
                }
            }
        }
    }

    fn judge(&mut self, event: Event) -> Came {
        match &event {
            Event::Data(data) => {
                let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
                match self.promised {
                    Some(left) if left < len => {
                        return Came::Fault(Fault::Stream(Code::Message));
                    }
                    Some(left) => self.promised = Some(left - len),
                    None => {}
                }
            }
            Event::Trailers(section) => {
                if let Err(fault) = parse_trailers(section, &mut self.trailers) {
                    return Came::Fault(fault);
                }
            }
            Event::Head(_) | Event::HeadTooLarge => {}
        }
        Came::Event(event)
    }
}

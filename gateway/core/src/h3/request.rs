//! The frames of one request stream, in the order that RFC 9114 §4.1 allows.

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{HeaderReader, Kind, Overhead};
use super::{Code, Fault};
use crate::limits::MAX_HEAD_BYTES;

/// What the front of a request stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The encoded field section of the head.
    Head(Bytes),
    /// The head is longer than [`MAX_HEAD_BYTES`]; nothing more is read.
    HeadTooLarge,
    /// Bytes of the body; never empty.
    Data(Bytes),
    /// The encoded field section behind the body.
    Trailers(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing but unknown frames so far.
    Head,
    /// The head is there.
    Body,
    /// A tunnel: nothing but data.
    Tunnel,
    /// Trailers came, or the head was too large.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// A frame's header.
    Header,
    /// Body bytes.
    Data,
    /// A field section.
    Section,
    /// Bytes for nobody.
    Ignored,
}

/// Reads a request stream.
#[derive(Debug)]
pub struct RequestStream {
    phase: Phase,
    within: Within,
    header: HeaderReader,
    /// Payload bytes of the frame that are still to come.
    left: u64,
    section: BytesMut,
    overhead: Overhead,
}

impl Default for RequestStream {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestStream {
    /// A stream of which nothing has been read.
    #[must_use]
    pub fn new() -> Self {
        Self {
            phase: Phase::Head,
            within: Within::Header,
            header: HeaderReader::default(),
            left: 0,
            section: BytesMut::new(),
            overhead: Overhead::default(),
        }
    }

    /// From now on the stream is a tunnel, on which only data may come (RFC 9114 §4.4).
    pub fn tunnel(&mut self) {
        self.phase = Phase::Tunnel;
    }

    /// Takes bytes from the front of `input`, up to the next event; `None` when all of it was taken
    /// without one. Body bytes are not copied.
    ///
    /// # Errors
    /// The rule that was broken. The stream must not be read on.
    pub fn read(&mut self, input: &mut Bytes) -> Result<Option<Event>, Fault> {
        loop {
            match self.within {
                Within::Header => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let (header, taken) = self.header.take(input);
                    input.advance(taken);
                    let Some((kind, len)) = header else {
                        return Ok(None);
                    };
                    if let Some(event) = self.begin(kind, len)? {
                        return Ok(Some(event));
                    }
                }
                Within::Data => {
                    let data = self.some(input);
                    return Ok((!data.is_empty()).then_some(Event::Data(data)));
                }
                Within::Section => {
                    let part = self.some(input);
                    if self.within == Within::Header && self.section.is_empty() {
                        return Ok(Some(self.section_event(part)));
                    }
                    self.section.extend_from_slice(&part);
                    if self.within != Within::Header {
                        return Ok(None);
                    }
                    let section = std::mem::take(&mut self.section).freeze();
                    return Ok(Some(self.section_event(section)));
                }
                Within::Ignored => {
                    self.some(input);
                    if self.within == Within::Ignored {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The client has ended the stream.
    ///
    /// # Errors
    /// In the middle of a frame, or before there was a head.
    pub fn end(&self) -> Result<(), Fault> {
        if self.within != Within::Header || !self.header.is_empty() {
            return Err(Fault::Connection(Code::Frame));
        }
        if self.phase == Phase::Head {
            return Err(Fault::Stream(Code::RequestIncomplete));
        }
        Ok(())
    }

    /// Enters a frame.
    fn begin(&mut self, kind: Kind, len: u64) -> Result<Option<Event>, Fault> {
        let within = match (kind, self.phase) {
            (Kind::Data, Phase::Body | Phase::Tunnel) => Within::Data,
            (Kind::Headers, Phase::Head | Phase::Body) => Within::Section,
            (Kind::Unknown, _) => Within::Ignored,
            _ => return Err(Fault::Connection(Code::FrameUnexpected)),
        };
        let useful = if within == Within::Data { len } else { 0 };
        let ignored = if within == Within::Ignored { len } else { 0 };
        self.overhead.frame(useful, ignored)?;
        let too_large = usize::try_from(len).map_or(true, |len| len > MAX_HEAD_BYTES);
        if within == Within::Section && too_large {
            let head = self.phase == Phase::Head;
            self.phase = Phase::Over;
            return if head {
                Ok(Some(Event::HeadTooLarge))
            } else {
                Err(Fault::Stream(Code::ExcessiveLoad))
            };
        }
        if within == Within::Section && len == 0 {
            return Ok(Some(self.section_event(Bytes::new())));
        }
        if len > 0 {
            self.within = within;
            self.left = len;
        }
        Ok(None)
    }

    /// As much of the frame's payload as is there; leaves the frame at its end.
    fn some(&mut self, input: &mut Bytes) -> Bytes {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX);
        let part = input.split_to(want.min(input.len()));
        self.left -= u64::try_from(part.len()).unwrap_or(0);
        if self.left == 0 {
            self.within = Within::Header;
        }
        part
    }

    fn section_event(&mut self, section: Bytes) -> Event {
        if self.phase == Phase::Head {
            self.phase = Phase::Body;
            Event::Head(section)
        } else {
            self.phase = Phase::Over;
            Event::Trailers(section)
        }
    }
}

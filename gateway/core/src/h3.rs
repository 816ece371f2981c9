//! HTTP/3 (RFC 9114) as a server's framing layer, without I/O: bytes of streams in, heads and
//! bodies and errors out.
//!
//! The transport hands over ordered bytes of each stream and their end. [`RequestStream`] reads a
//! request's frames, [`Peer`] the client's unidirectional streams, [`parse_head`] turns a field
//! section into the head that the rest of the gateway knows, [`encode_head`] writes one. Every
//! broken rule is a [`Fault`] with the code that the RFC names for it.

mod answer;
mod frame;
mod head;
mod peer;
pub mod qpack;
mod request;
mod settings;
pub mod varint;

pub use answer::{
    DATA_HEADER_MAX, data_header, encode_goaway, encode_head, encode_opening, encode_trailers,
};
pub use head::{Beside, HeadError, parse_head, parse_trailers};
pub use peer::{Peer, PeerStream};
pub use request::{Event, RequestStream};

/// An error code of HTTP/3 (RFC 9114 §8.1) or QPACK (RFC 9204 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Code {
    /// Nothing is wrong; the stream or connection is not needed any more.
    NoError = 0x100,
    /// A rule was broken that has no code of its own.
    GeneralProtocol = 0x101,
    /// Our fault.
    Internal = 0x102,
    /// A stream of a kind that must not be opened.
    StreamCreation = 0x103,
    /// A stream that must last has ended.
    ClosedCriticalStream = 0x104,
    /// A frame where it must not be.
    FrameUnexpected = 0x105,
    /// A frame that does not fit its layout or its stream.
    Frame = 0x106,
    /// The peer makes more work than its requests justify.
    ExcessiveLoad = 0x107,
    /// An identifier that was not given out, or goes the wrong way.
    Id = 0x108,
    /// Settings that contradict the RFC.
    Settings = 0x109,
    /// No SETTINGS at the start of the control stream.
    MissingSettings = 0x10a,
    /// The request was not looked at: it can be sent again.
    RequestRejected = 0x10b,
    /// The request or its response is not needed any more.
    RequestCancelled = 0x10c,
    /// The stream ended before the request was whole.
    RequestIncomplete = 0x10d,
    /// A malformed message.
    Message = 0x10e,
    /// A tunnel ended abnormally.
    Connect = 0x10f,
    /// The request must be sent over another version.
    VersionFallback = 0x110,
    /// A field section that cannot be read.
    DecompressionFailed = 0x200,
    /// A bad encoder stream.
    EncoderStream = 0x201,
    /// A bad decoder stream.
    DecoderStream = 0x202,
}

impl Code {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// How far an error reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The connection must be closed.
    Connection(Code),
    /// Only the stream is lost (RFC 9114 §4.1.2, §8).
    Stream(Code),
}

impl Fault {
    /// The code to close or reset with.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Connection(code) | Self::Stream(code) => code,
        }
    }
}

#[cfg(test)]
mod tests;

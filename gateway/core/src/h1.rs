//! HTTP/1.1 as a strict recipient and a plain sender (RFC 9112), without I/O.
//!
//! A head is parsed in place: names are lower-cased in the receive buffer and everything else is
//! described by offsets into it, so a forwarded head is mostly one copy of untouched bytes. Where
//! RFC 9110 or 9112 lets a recipient choose between repair and refusal, this one refuses: two
//! parsers that repair differently are what request smuggling is made of.
//!
//! [`parse_request`] and [`parse_response`] read heads, [`BodyReader`] says which bytes are
//! payload, [`encode_request`] and [`encode_response`] write heads from the index plus
//! [`HeaderEdits`].

mod body;
mod connection;
mod edits;
mod encode;
mod error;
mod field;
mod framing;
mod known;
mod pseudo;
mod request;
mod response;
mod scan;
mod trailers;

pub use body::{BodyReader, ChunkHead, LAST_CHUNK, Progress};
pub use edits::{HeaderEditor, HeaderEdits, HeaderView};
pub(crate) use encode::decimal;
pub use encode::{CONTINUE, RequestLine, ResponseLine, encode_request, encode_response, forwarded};
pub use error::{H1Error, ResponseError};
pub use field::{Field, FieldSet, HeaderIndex, Span};
pub use known::KnownHeader;
pub use pseudo::{Refusal, RequestParts, write_request, write_response, write_trailers};
pub use request::{RequestHead, TargetForm, Upgrade, is_http2_preface, parse_request};
pub use response::{Asked, ResponseHead, parse_response};
pub use trailers::TrailerLines;

/// Outcome of looking for a head at the front of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse<T> {
    /// The head is whole; its message's body starts `len` bytes into the buffer.
    Complete {
        /// What was parsed.
        head: T,
        /// Bytes of the head, final empty line included.
        len: usize,
    },
    /// More bytes are needed.
    Partial,
}

/// The protocol version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

impl Version {
    /// Whether a connection carries several exchanges at once.
    #[must_use]
    pub const fn is_multiplexed(self) -> bool {
        matches!(self, Self::Http2 | Self::Http3)
    }

    /// As logs name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        }
    }
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyKind {
    /// There is none.
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Everything until the connection closes; responses only.
    UntilClose,
}

#[cfg(test)]
mod tests;

//! Why a head or a body was refused, and what the peer and the log are told.
//!
//! One variant a rule, so that a test names the rule it exercises and a log line says more than
//! "bad request". The answers are Envoy's: status, response-code details, body text.

use std::fmt;

/// A reason to refuse an HTTP/1 message. After any of them the connection is closed: where the
/// next message starts is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum H1Error {
    /// A line ended by LF alone.
    BareLf,
    /// A CR that no LF follows.
    BareCr,
    /// A field line continued on the next one (RFC 9112 §5.2).
    ObsFold,
    /// More than one empty line before the request line.
    EmptyLines,
    /// The request line is not `method SP target SP version`.
    BadRequestLine,
    /// The status line is not `version SP status [SP reason]`.
    BadStatusLine,
    /// A status outside 100 to 599.
    BadStatus,
    /// A method neither registered nor configured, or in the wrong case.
    UnknownMethod,
    /// `TRACE`.
    Trace,
    /// A target form that the method does not allow, or a malformed one.
    BadTarget,
    /// An absolute target with another scheme than the transport's.
    BadScheme,
    /// HTTP/1.0 or 0.9 where it is not served.
    LowVersion,
    /// A version that HTTP/1 does not have.
    UnsupportedVersion,
    /// A field name that is not a token followed by a colon.
    BadFieldName,
    /// A field name with `_` in the EDGE profile.
    Underscore,
    /// A control character in a field value.
    BadFieldValue,
    /// More fields than [`crate::limits::MAX_FIELDS`].
    TooManyFields,
    /// More bytes than [`crate::limits::MAX_HEAD_BYTES`].
    HeadTooLarge,
    /// A request line that fills the head by itself.
    RequestLineTooLong,
    /// No `Host` in an HTTP/1.1 request.
    MissingHost,
    /// More than one `Host`.
    DuplicateHost,
    /// A `Host` or authority outside the grammar.
    BadHost,
    /// A `Content-Length` that is not one decimal number.
    BadContentLength,
    /// More than one `Content-Length`, equal or not.
    DuplicateContentLength,
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthAndEncoding,
    /// A malformed `Transfer-Encoding`, or one in HTTP/1.0.
    BadTransferEncoding,
    /// A transfer coding other than chunked.
    UnknownTransferCoding,
    /// A malformed `Connection`, or too many members.
    BadConnection,
    /// `Connection` names a field that must survive the hop.
    ProtectedField,
    /// A protocol that the gateway does not switch to.
    UnknownUpgrade,
    /// `Upgrade` with a body, or with a method other than GET.
    BadUpgrade,
    /// `Expect` other than `100-continue`.
    BadExpect,
    /// A chunk size that is not 1*HEXDIG, or does not fit.
    BadChunkSize,
    /// A chunk extension outside the grammar.
    BadChunkExtension,
    /// A chunk line, or all of the framing, beyond its bound.
    ChunkOverhead,
    /// Chunk data not followed by CRLF.
    BadChunkEnd,
    /// A malformed trailer section.
    BadTrailer,
    /// A trailer section beyond [`crate::limits::MAX_TRAILER_BYTES`].
    TrailerTooLarge,
    /// The head did not arrive in time (raised by the shell).
    HeadTimeout,
    /// The body is larger than the route allows (raised by the shell).
    BodyTooLarge,
    /// An upstream switched protocols unasked.
    UnexpectedUpgrade,
}

impl H1Error {
    /// The status that the client gets.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Trace => 405,
            Self::HeadTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::RequestLineTooLong => 414,
            Self::BadExpect => 417,
            Self::LowVersion => 426,
            Self::TooManyFields | Self::HeadTooLarge | Self::TrailerTooLarge => 431,
            Self::UnknownTransferCoding => 501,
            Self::UnsupportedVersion => 505,
            Self::UnknownUpgrade => 403,
            Self::UnexpectedUpgrade | Self::BadStatusLine | Self::BadStatus => 502,
            _ => 400,
        }
    }

    /// Envoy's response-code details.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::MissingHost => "missing_host_header",
            Self::BadHost | Self::DuplicateHost => "http1.invalid_authority",
            Self::LowVersion => "low_version",
            Self::Underscore => "http1.unexpected_underscore",
            Self::TooManyFields => "http1.too_many_headers",
            Self::HeadTooLarge | Self::RequestLineTooLong => "http1.headers_too_large",
            Self::TrailerTooLarge => "http1.trailers_too_large",
            Self::BadFieldName | Self::BadFieldValue => "http1.invalid_characters",
            Self::UnknownTransferCoding | Self::BadTransferEncoding => {
                "http1.invalid_transfer_encoding"
            }
            Self::LengthAndEncoding => "http1.content_length_and_chunked_not_allowed",
            Self::ProtectedField | Self::BadConnection => "http1.connection_header_rejected",
            Self::BadTarget | Self::BadScheme => "http1.invalid_url",
            Self::UnknownUpgrade | Self::BadUpgrade => "upgrade_failed",
            Self::UnknownMethod | Self::Trace => "http1.invalid_method",
            Self::BadExpect => "expectation_failed",
            Self::HeadTimeout => "request_header_timeout",
            Self::BodyTooLarge => "request_payload_too_large",
            _ => "http1.codec_error",
        }
    }

    /// The response flag for the log: `DPE` (downstream protocol error), or `-`.
    #[must_use]
    pub const fn flag(self) -> &'static str {
        match self {
            Self::MissingHost
            | Self::LowVersion
            | Self::UnknownUpgrade
            | Self::BadExpect
            | Self::BodyTooLarge => "-",
            Self::HeadTimeout => "DT",
            _ => "DPE",
        }
    }

    /// The text of the reply's body; empty where Envoy sends none.
    #[must_use]
    pub const fn body(self) -> &'static str {
        match self {
            Self::MissingHost | Self::UnknownUpgrade => "",
            Self::LowVersion => "Upgrade Required",
            Self::HeadTimeout => "request timeout",
            _ => match self.status() {
                405 => "Method Not Allowed",
                413 => "Payload Too Large",
                414 => "URI Too Long",
                417 => "Expectation Failed",
                431 => "Request Header Fields Too Large",
                501 => "Not Implemented",
                505 => "HTTP Version Not Supported",
                _ => "Bad Request",
            },
        }
    }
}

impl fmt::Display for H1Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({} {})", self.status(), self.detail())
    }
}

impl std::error::Error for H1Error {}

/// A reason to refuse what an upstream sent: whatever the rule, the client gets 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResponseError(
    /// The broken rule.
    pub H1Error,
);

impl ResponseError {
    /// Always 502.
    #[must_use]
    pub const fn status(self) -> u16 {
        502
    }

    /// Envoy's response-code details.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        "upstream_reset_before_response_started{protocol_error}"
    }

    /// The response flag for the log: upstream protocol error.
    #[must_use]
    pub const fn flag(self) -> &'static str {
        "UPE"
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in a response", self.0)
    }
}

impl std::error::Error for ResponseError {}

//! Every bound on what a peer may make us read, hold or loop over, each with its reason and with
//! Envoy's default beside it.
//!
//! A bound is part of the contract with the peer: crossing one is answered (431, 414, 400, 502),
//! never absorbed. Everything here is a plain constant so that buffers can be sized at compile
//! time; what differs between listeners lives in [`Http1Profile`].

use crate::call::Scheme;

/// Bytes of a message head: request or status line, all field lines, final empty line.
///
/// Larger heads get 431 (414 when the request line alone is too long), or 502 from an upstream.
/// Envoy: `max_request_headers_kb` 60. Also what lets [`crate::h1::Span`] count in 16 bits.
pub const MAX_HEAD_BYTES: usize = 60 * 1024;

/// Field lines in one head; the next one gets 431. Envoy: `max_headers_count` 100.
pub const MAX_FIELDS: usize = 100;

/// Members of all `Connection` fields of one head together; each one is compared with every field
/// name, so the product must stay small. Envoy: none (it caps the bytes of the field instead).
pub const MAX_CONNECTION_OPTIONS: usize = 32;

/// Bytes of a host, without port: a DNS name has at most 253 (RFC 1035 §2.3.4), one more for a
/// trailing dot, rounded. Longer names once crashed Envoy's SNI (CVE-2024-32475). Envoy: none.
pub const MAX_HOST_BYTES: usize = 255;

/// Bytes of one chunk-size line with its extension, without the line end. Envoy: none (16 KiB
/// extensions pass).
pub const MAX_CHUNK_LINE_BYTES: usize = 4 * 1024;

/// How many bytes of chunk framing a body may carry beyond what its data justifies (16 bytes and
/// twice the data for every chunk): stops a body of one-byte chunks with long extensions, which
/// costs us a hundred times what it delivers. Envoy: none.
pub const MAX_CHUNK_OVERHEAD_BYTES: u64 = 16 * 1024;

/// Bytes of a trailer section. They are dropped or buffered whole, so they get less than a head.
/// Envoy: counts them into the 60 KiB of the head.
pub const MAX_TRAILER_BYTES: usize = 8 * 1024;

/// Interim (1xx) responses that one request may get from an upstream; the next one is a 502.
/// Envoy: none (fifty are read).
pub const MAX_INTERIM_RESPONSES: u8 = 8;

/// How a header name with an underscore is treated. CGI-like servers read `X_Y` as `X-Y`, so that
/// a name with an underscore can pose as a header that an edge proxy removes or sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Underscores {
    /// 400; the EDGE profile, Envoy's `headers_with_underscores_action: REJECT_REQUEST`.
    Reject,
    /// Forwarded as any other name; the SIDECAR profile, Envoy's `ALLOW`.
    Pass,
}

/// What one listener accepts as HTTP/1 beyond the bounds above, which hold everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http1Profile {
    /// Header names with `_`.
    pub underscores: Underscores,
    /// Serve HTTP/1.0 (Istio: `PILOT_HTTP10`); otherwise 426.
    pub http10: bool,
    /// The scheme of the transport.
    pub scheme: Scheme,
    /// Method tokens allowed beside the registered ones (case-sensitive).
    pub extra_methods: Vec<Box<str>>,
}

impl Http1Profile {
    /// The default: an edge proxy faces the internet (Istio's `ConnectionSettings` EDGE).
    #[must_use]
    pub const fn edge(scheme: Scheme) -> Self {
        Self {
            underscores: Underscores::Reject,
            http10: false,
            scheme,
            extra_methods: Vec::new(),
        }
    }

    /// Istio's SIDECAR profile: as lenient as framing safety allows.
    #[must_use]
    pub const fn sidecar(scheme: Scheme) -> Self {
        Self {
            underscores: Underscores::Pass,
            http10: false,
            scheme,
            extra_methods: Vec::new(),
        }
    }
}

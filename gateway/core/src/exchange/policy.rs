//! What an exchange must know of its route and its request.

use sallyport_config::ir::{Millis, Retry};

/// What an exchange must know. Borrowed from the plan, which outlives it.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'p> {
    /// The route's retry policy.
    pub retry: &'p Retry,
    /// Limit for everything after the end of the request, retries included: the route's, or
    /// what [`super::effective_timeout`] makes of it for gRPC. 0 is no limit.
    pub timeout: Option<Millis>,
    /// Limits of the downstream side.
    pub limits: Limits,
    /// Body of the request.
    pub body: BodyKind,
    /// [`crate::method::Method::is_idempotent`]. Only for the free try: Istio's policies do not
    /// look at the method.
    pub idempotent: bool,
    /// The request is in early data: who is told 425 would have to wait for the client's handshake
    /// before another try (RFC 8470 §5.2).
    pub early: bool,
    /// The content type is `application/grpc*`: statuses of gRPC are looked at.
    pub grpc: bool,
}

/// Limits of the downstream side (`connectionSettings`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The whole request must have been received within this (408).
    pub request: Option<Millis>,
    /// An exchange in which nothing moves is ended after this.
    pub idle: Option<Millis>,
    /// An exchange is ended after this.
    pub duration: Option<Millis>,
}

/// Body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyKind {
    /// None: the request is complete with its head.
    Empty,
    /// So many bytes.
    Sized(u64),
    /// Until its framing says so; also the client's half of an upgrade.
    Stream,
}

impl BodyKind {
    /// Whether the request is complete with its head.
    #[must_use]
    pub fn is_empty(self) -> bool {
        matches!(self, Self::Empty | Self::Sized(0))
    }
}

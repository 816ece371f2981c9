//! External authorization: what somebody else is asked about a request, and what the answer means.
//!
//! Envoy's `ext_authz` filter as Istio sets it up. Asking itself is the shell's: it gets a
//! [`Question`], makes a call of it ([`Question::http`], [`Question::grpc`]), and trades the answer
//! for a [`Cleared`], without which nothing is admitted.

mod change;
mod grpc;
mod http;
mod proto;

use super::Denial;
use crate::call::Call;
use crate::flags::Flags;
use crate::h1::Version;
use crate::reply::Reply;
use crate::tables::Tables;
use change::Change;
use sallyport_config::ir::{Authorizer, CheckBody, CheckProtocol};

pub use change::Changes;
pub use http::HttpCall;

/// An answer that is longer than this is a failure, in bytes: all of it waits in memory.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Proof that nobody has to be asked, or that who was asked lets the request pass, and what shall be
/// changed for it.
#[derive(Debug)]
pub struct Cleared {
    /// Of the request.
    request: Changes,
    /// Of the answer that the client gets in the end.
    response: Changes,
}

impl Cleared {
    /// Nothing changes.
    pub(crate) fn nothing() -> Self {
        Self {
            request: Changes::default(),
            response: Changes::default(),
        }
    }

    /// Changes of the request, for everybody behind.
    #[must_use]
    pub fn request(&self) -> &Changes {
        &self.request
    }

    /// Changes of the answer, after all others.
    #[must_use]
    pub fn into_response(self) -> Changes {
        self.response
    }
}

/// Whether somebody has to be asked.
#[derive(Debug)]
pub enum Inquiry<'t> {
    /// No.
    Nobody(Cleared),
    /// Yes.
    Ask(Question<'t>),
}

/// What became of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It lets the request pass.
    Ok,
    /// It does not.
    Denied,
    /// Nobody answered, or nonsense.
    Error,
    /// Likewise, and the request passes all the same.
    FailedOpen,
}

/// A request that somebody must be asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'t> {
    authorizer: &'t Authorizer,
}

/// What is told about a request beside what rules see of it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'c> {
    /// The request.
    pub call: Call<'c>,
    /// Its fields, all of them, names in any case.
    pub fields: &'c [(&'c [u8], &'c [u8])],
    /// The beginning of its body, if it is shown.
    pub body: Option<Shown<'c>>,
    /// Its version.
    pub version: Version,
    /// A number that tells it from others of this process.
    pub id: u64,
    /// Microseconds since 1970 at its first byte.
    pub unix_micros: u64,
}

/// The beginning of a body.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'c> {
    /// Of it.
    pub bytes: &'c [u8],
    /// There is more.
    pub partial: bool,
}

/// Says with this field whether only the beginning of a body is shown.
const PARTIAL_FIELD: &str = "x-envoy-auth-partial-body";

/// Whether somebody has to be asked about a request before anything else is.
///
/// # Errors
/// Somebody had to be asked, and nobody can be.
pub fn inquire<'t>(tables: &'t Tables, call: &Call<'_>) -> Result<Inquiry<'t>, Denial<'t>> {
    let asked = tables.authorization().custom(call)?;
    let authorizer = asked.and_then(|id| tables.snapshot().policies.authorizer(id));
    Ok(match authorizer {
        Some(authorizer) => Inquiry::Ask(Question { authorizer }),
        None => Inquiry::Nobody(Cleared::nothing()),
    })
}

/// As [`inquire`], about a connection that carries bytes.
///
/// # Errors
/// Somebody had to be asked, and nobody can be: what the log says.
pub fn inquire_connection<'t>(tables: &'t Tables, call: &Call<'_>) -> Result<Inquiry<'t>, String> {
    let asked = tables.authorization().custom_of_bytes(call)?;
    let authorizer = asked.and_then(|id| tables.snapshot().policies.authorizer(id));
    Ok(match authorizer {
        Some(authorizer) => Inquiry::Ask(Question { authorizer }),
        None => Inquiry::Nobody(Cleared::nothing()),
    })
}

impl<'t> Question<'t> {
    /// Whom.
    #[must_use]
    pub fn authorizer(self) -> &'t Authorizer {
        self.authorizer
    }

    /// Whether it is asked over gRPC.
    #[must_use]
    pub fn is_grpc(self) -> bool {
        self.authorizer.protocol == CheckProtocol::Grpc
    }

    /// How much of the body it wants to see.
    #[must_use]
    pub fn body(self) -> Option<CheckBody> {
        self.authorizer.body
    }

    /// Nobody answered.
    ///
    /// # Errors
    /// What the client is told, unless requests pass then.
    pub fn failed(self) -> (Outcome, Result<Cleared, Denial<'t>>) {
        if self.authorizer.fail_open {
            return (Outcome::FailedOpen, Ok(Cleared::nothing()));
        }
        let status = self.authorizer.status_on_error;
        let reply = Reply::empty(status, Flags::UAEX, "ext_authz_error");
        (Outcome::Error, Err(Box::new(reply)))
    }
}

/// The answer of who refuses. A status that is none of an answer is 403.
fn denied<'t>(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Denial<'t> {
    let status = match status {
        200..=599 => status,
        _ => 403,
    };
    let fields = headers.into_iter();
    Box::new(Reply {
        body: body.into(),
        headers: fields.map(|(n, v)| (n.into(), v.into())).collect(),
        ..Reply::empty(status, Flags::UAEX, "ext_authz_denied")
    })
}

/// Whether a field is about a message's way rather than what it says: never passed on.
fn is_of_the_way(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "date"
            | "host"
            | "keep-alive"
            | "proxy-connection"
            | "server"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "x-envoy-upstream-service-time"
    ) || name.starts_with(':')
}

#[cfg(test)]
mod tests;

//! Who is asked whether a request may pass: external authorization.

use super::{ClusterId, Millis, TextMatch};

/// Index of an [`Authorizer`] in [`super::Policies::authorizers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AuthorizerId(pub u32);

/// A service that is asked (`extensionProviders` of MeshConfig).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authorizer {
    /// Name of the provider.
    pub name: String,
    /// Where it is.
    pub cluster: ClusterId,
    /// Host of its service.
    pub host: String,
    /// It has this long for an answer, connecting included. Default 600 s.
    pub timeout: Millis,
    /// A request passes when nobody answers.
    pub fail_open: bool,
    /// What the client is told when nobody answers, 200..=599. Default 403.
    pub status_on_error: u16,
    /// How much of the request's body it sees; `None`: nothing.
    pub body: Option<CheckBody>,
    /// How it is asked.
    pub protocol: CheckProtocol,
}

impl Authorizer {
    /// Longest part of a body that is held for a check, in bytes: it waits in memory.
    pub const BODY_MAX: u32 = 4 * 1024 * 1024;
}

/// How much of a body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckBody {
    /// At most so many bytes, 1..=[`Authorizer::BODY_MAX`].
    pub bytes: u32,
    /// Of a longer one the beginning is shown; else a longer one is refused with 413.
    pub partial: bool,
    /// In the field for bytes instead of the one for text; gRPC only.
    pub raw: bool,
}

/// How an authorizer is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CheckProtocol {
    /// With a request like the client's; 200 lets pass, 5xx is a failure, all else is the answer.
    Http(Box<HttpCheck>),
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc,
}

/// What of a request and its answer is passed on over HTTP. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HttpCheck {
    /// What stands before the path; empty or begins with `/`.
    pub path_prefix: String,
    /// Fields of the request that are shown; `authorization` always is.
    pub include: Vec<TextMatch>,
    /// Fields that are added, in place of the client's.
    pub add: Vec<(String, String)>,
    /// Fields of an answer that lets pass that go on to the upstream, in place of the client's.
    pub to_upstream: Vec<TextMatch>,
    /// Fields of an answer that refuses that the client sees; empty: all.
    pub on_deny: Vec<TextMatch>,
    /// Fields of an answer that lets pass that the client sees in the end.
    pub on_allow: Vec<TextMatch>,
}

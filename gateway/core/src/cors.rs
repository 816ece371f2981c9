//! Cross-origin requests: preflights answered here, fields added to responses.
//!
//! Envoy `source/extensions/filters/http/cors/cors_filter.cc`: the method and the headers that a
//! preflight asks about are not checked, the browser does that.

use crate::call::Call;
use crate::flags::Flags;
use crate::plan::EditSink;
use crate::reply::Reply;
use crate::tables::{Patterns, Test};
use sallyport_config::ir::Cors;
use std::borrow::Cow;

/// CORS fields of a response to a request whose origin matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsFields<'t> {
    /// `access-control-allow-origin`: the request's own.
    pub origin: String,
    /// `access-control-allow-credentials: true`.
    pub credentials: bool,
    /// `access-control-expose-headers`, empty for none.
    pub expose: &'t str,
}

impl CorsFields<'_> {
    /// Sets the fields.
    pub fn apply(&self, sink: &mut dyn EditSink) {
        sink.set("access-control-allow-origin", self.origin.as_bytes());
        if self.credentials {
            sink.set("access-control-allow-credentials", b"true");
        }
        if !self.expose.is_empty() {
            sink.set("access-control-expose-headers", self.expose.as_bytes());
        }
    }
}

/// A compiled policy: which origins it lets in.
#[derive(Debug)]
pub(crate) struct CorsRule {
    /// A condition accepts `*`, and so every origin.
    all: bool,
    origins: Box<[Test]>,
    max_age: String,
}

impl CorsRule {
    pub(crate) fn new(cors: &Cors, patterns: &mut Patterns) -> Self {
        let origins = cors.allow_origins.iter();
        let origins: Box<[_]> = origins.map(|origin| Test::new(origin, patterns)).collect();
        Self {
            all: origins.iter().any(|origin| origin.holds(b"*")),
            origins,
            max_age: cors
                .max_age_seconds
                .map(|seconds| seconds.to_string())
                .unwrap_or_default(),
        }
    }

    /// The request's origin, if the policy lets it in. An origin is ASCII; other bytes never match.
    fn allowed(&self, call: &Call<'_>) -> Option<String> {
        let mut allowed = None;
        call.headers.any("origin", &mut |line| {
            if !line.is_empty() && (self.all || self.origins.iter().any(|test| test.holds(line))) {
                allowed = std::str::from_utf8(line).ok().map(str::to_owned);
            }
            !line.is_empty()
        });
        allowed
    }

    /// Fields of the response, if the origin is let in.
    pub(crate) fn fields<'t>(&self, cors: &'t Cors, call: &Call<'_>) -> Option<CorsFields<'t>> {
        self.allowed(call).map(|origin| CorsFields {
            origin,
            credentials: cors.allow_credentials,
            expose: &cors.expose_headers,
        })
    }

    /// The answer to a preflight, if the call is one and it is not the upstream's to answer.
    pub(crate) fn preflight<'t>(&'t self, cors: &'t Cors, call: &Call<'_>) -> Option<Reply<'t>> {
        let has = |name| call.headers.any(name, &mut |line| !line.is_empty());
        if call.method != "OPTIONS" || !has("origin") || !has("access-control-request-method") {
            return None;
        }
        let mut reply = Reply::empty(200, Flags::NONE, "cors_response");
        let Some(origin) = self.allowed(call) else {
            return (!cors.forward_unmatched_preflights).then_some(reply);
        };
        let credentials = if cors.allow_credentials { "true" } else { "" };
        let fields: [(&str, Cow<'t, str>); 5] = [
            ("access-control-allow-origin", Cow::Owned(origin)),
            ("access-control-allow-credentials", credentials.into()),
            ("access-control-allow-methods", (&cors.allow_methods).into()),
            ("access-control-allow-headers", (&cors.allow_headers).into()),
            ("access-control-max-age", (&self.max_age).into()),
        ];
        let filled = fields.into_iter().filter(|(_, value)| !value.is_empty());
        reply
            .headers
            .extend(filled.map(|(name, value)| (Cow::Borrowed(name), value)));
        Some(reply)
    }
}

#[cfg(test)]
mod tests;

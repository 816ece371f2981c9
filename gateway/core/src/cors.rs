//! Cross-origin requests: preflights answered here, fields added to responses.

use crate::plan::EditSink;

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

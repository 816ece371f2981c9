//! Every answer that is not an upstream's.

use crate::flags::Flags;
use smallvec::SmallVec;
use std::borrow::Cow;

/// An answer made here. Header hygiene (`server`, `date`) and framing are the shell's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'t> {
    /// Status, 200..=599.
    pub status: u16,
    /// Why, in short.
    pub flags: Flags,
    /// Why, in Envoy's words (`route_not_found`): `%RESPONSE_CODE_DETAILS%`.
    pub details: Cow<'static, str>,
    /// Body; `text/plain` when not empty and `headers` say nothing else.
    pub body: Cow<'t, [u8]>,
    /// Fields beside `content-length`, `content-type`, `date` and `server`.
    pub headers: SmallVec<[(Cow<'t, str>, Cow<'t, str>); 2]>,
    /// The connection cannot be used any more.
    pub close: bool,
}

impl Reply<'_> {
    /// An empty answer.
    #[must_use]
    pub fn empty(status: u16, flags: Flags, details: &'static str) -> Self {
        Self {
            status,
            flags,
            details: Cow::Borrowed(details),
            body: Cow::Borrowed(b""),
            headers: SmallVec::new(),
            close: false,
        }
    }
}

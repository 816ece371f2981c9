//! The `Connection` fields of a head: what the sender wants of this connection, and which fields
//! it says are for this hop only (RFC 9110 §7.6.1).

use crate::h1::error::H1Error;
use crate::h1::field::{FieldSet, HeaderIndex};
use crate::h1::known::KnownHeader;
use crate::h1::scan;
use crate::limits::MAX_CONNECTION_OPTIONS;

/// What the `Connection` fields of one head say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// Fields that the sender nominated for removal.
    pub(super) nominated: FieldSet,
}

impl Connection {
    /// Reads all `Connection` fields.
    ///
    /// Removing a nominated field is what lets a client make a proxy drop a field that the proxy
    /// or the origin decides by; the ones that must not vanish make the request an error.
    pub(super) fn read(buf: &[u8], index: &HeaderIndex) -> Result<Self, H1Error> {
        let mut connection = Self::default();
        let mut count = 0;
        for (_, field) in index.all(KnownHeader::Connection) {
            for option in scan::members(field.value.of(buf)) {
                count += 1;
                if count > MAX_CONNECTION_OPTIONS {
                    return Err(H1Error::BadConnection);
                }
                connection.add(option, buf, index)?;
            }
        }
        Ok(connection)
    }

    fn add(&mut self, option: &[u8], buf: &[u8], index: &HeaderIndex) -> Result<(), H1Error> {
        if option.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
        } else if option.eq_ignore_ascii_case(b"close") {
            self.close = true;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        } else if option.is_empty() {
            // a list may have empty members (RFC 9110 §5.6.1.2)
        } else if !scan::is_token_text(option) {
            return Err(H1Error::BadConnection);
        } else {
            self.nominate(option, buf, index)?;
        }
        Ok(())
    }

    fn nominate(&mut self, name: &[u8], buf: &[u8], index: &HeaderIndex) -> Result<(), H1Error> {
        if PROTECTED
            .iter()
            .any(|field| field.eq_ignore_ascii_case(name))
        {
            return Err(H1Error::ProtectedField);
        }
        for (position, field) in index.fields().iter().enumerate() {
            if field.name.of(buf).eq_ignore_ascii_case(name) {
                self.nominated.insert(position);
            }
        }
        Ok(())
    }
}

/// Fields that no peer can make us drop: the ones that say where a message ends, whom it is for,
/// and who sent it.
const PROTECTED: [&[u8]; 4] = [
    b"host",
    b"authorization",
    b"content-length",
    b"transfer-encoding",
];

//! The first message of a TLS client, read without speaking TLS: which server it asks for, and
//! whether it is a proxy of the mesh.
//!
//! RFC 8446 §4.1.2 and §5.1, RFC 6066 §3, RFC 7301 §3.1. The message may be spread over records and over reads as
//! the client likes. Only what leads to the server name is looked at, so that versions and suites
//! that are not spoken here pass through all the same.

use sallyport_config::ir::MESH_ALPN;
use std::net::IpAddr;

/// Largest message that is read. One with a post-quantum key share has about 1.8 KiB, with
/// certificate-sized tickets a few more.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;
/// Longest server name, as in DNS (RFC 1035 §3.1).
const NAME_BYTES_MAX: usize = 255;
/// Bytes of a record's header.
const HEADER_BYTES: usize = 5;
/// Largest payload of a record.
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Content type of handshake records.
const HANDSHAKE: u8 = 22;
/// Type of the message.
const CLIENT_HELLO: u8 = 1;
/// Number of the extension with the server name.
const SERVER_NAME: u16 = 0;
/// Number of the extension with the protocols on offer (RFC 7301 §3.1).
const PROTOCOLS: u16 = 16;

/// What the message says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// The server that is asked for, in lower case. An address is no name.
    pub sni: Option<Box<str>>,
    /// A protocol is offered that only proxies of the mesh speak ([`MESH_ALPN`]).
    pub of_mesh: bool,
}

/// Why something is no first message of a TLS client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloError {
    /// Another protocol, or another message.
    NotHello,
    /// A length that does not fit what it stands in.
    Malformed,
    /// A server name that cannot be one.
    BadName,
    /// More than [`HELLO_BYTES_MAX`].
    TooLarge,
}

impl HelloError {
    /// The fatal alert for it, as a record (RFC 8446 §6).
    #[must_use]
    pub fn alert(self) -> [u8; 7] {
        let description = match self {
            Self::NotHello => 10,
            Self::Malformed | Self::TooLarge => 50,
            Self::BadName => 47,
        };
        [21, 3, 3, 0, 2, 2, description]
    }
}

/// Collects the message, however it comes.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// Header of the record under way.
    header: [u8; HEADER_BYTES],
    /// Bytes of it that are there.
    header_len: usize,
    /// Bytes of the record's payload that are still to come.
    record_left: usize,
    /// The message, its own header included.
    message: Vec<u8>,
}

impl HelloReader {
    /// Takes what came next; the message when it is whole. What follows it is not looked at.
    ///
    /// # Errors
    /// It cannot become a first message any more.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
        while !bytes.is_empty() {
            bytes = if self.record_left == 0 {
                self.take_header(bytes)?
            } else {
                let here = self.record_left.min(bytes.len());
                let (payload, rest) = bytes.split_at_checked(here).unwrap_or((bytes, &[]));
                self.record_left -= payload.len();
                self.message.extend_from_slice(payload);
                rest
            };
            if let Some(body) = whole(&self.message)? {
                return parse(body).map(Some);
            }
        }
        Ok(None)
    }

    fn take_header<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], HelloError> {
        let mut taken = 0;
        let free = self.header.iter_mut().skip(self.header_len);
        for (slot, byte) in free.zip(bytes) {
            *slot = *byte;
            taken += 1;
        }
        self.header_len += taken;
        let [kind, major, _, high, low] = self.header;
        // Judged as early as possible: somebody who speaks another protocol may wait for us.
        if kind != HANDSHAKE || self.header_len > 1 && major != 3 {
            return Err(HelloError::NotHello);
        }
        if self.header_len == HEADER_BYTES {
            self.header_len = 0;
            self.record_left = usize::from(u16::from_be_bytes([high, low]));
            // An empty record brings nothing, so any number of them could come.
            if self.record_left == 0 || self.record_left > RECORD_BYTES_MAX {
                return Err(HelloError::Malformed);
            }
        }
        Ok(bytes.get(taken..).unwrap_or_default())
    }
}

/// The body of the message, when all of it is there.
fn whole(message: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    match message.first() {
        None => return Ok(None),
        Some(&CLIENT_HELLO) => {}
        Some(_) => return Err(HelloError::NotHello),
    }
    let Some((&[_, a, b, c], body)) = message.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
    if length > HELLO_BYTES_MAX {
        return Err(HelloError::TooLarge);
    }
    Ok(body.get(..length))
}

fn parse(body: &[u8]) -> Result<ClientHello, HelloError> {
    let mut rest = Fields(body);
    rest.take(2 + 32)?;
    let session = rest.short()?;
    let suites = rest.long()?;
    let compression = rest.short()?;
    if session.0.len() > 32 || suites.0.is_empty() || suites.0.len() % 2 != 0 {
        return Err(HelloError::Malformed);
    }
    if compression.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut hello = ClientHello::default();
    // Before TLS 1.3 there may be none.
    if rest.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = rest.long()?;
    if !rest.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut named = false;
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let value = extensions.long()?;
        if kind == SERVER_NAME {
            if std::mem::replace(&mut named, true) {
                return Err(HelloError::Malformed);
            }
            hello.sni = server_name(value)?;
        } else if kind == PROTOCOLS {
            hello.of_mesh = of_mesh(value);
        }
    }
    Ok(hello)
}

/// Whether a list of protocols has one of the mesh. A broken list has none: whoever speaks TLS with
/// the client will judge it.
fn of_mesh(mut value: Fields<'_>) -> bool {
    let Ok(mut list) = value.long() else {
        return false;
    };
    while let Ok(name) = list.short() {
        if MESH_ALPN.iter().any(|known| known.as_bytes() == name.0) {
            return true;
        }
    }
    false
}

/// The one host name of a list of names; other kinds of names never came to be.
fn server_name(mut value: Fields<'_>) -> Result<Option<Box<str>>, HelloError> {
    let mut list = value.long()?;
    if !value.0.is_empty() || list.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut found = None;
    while !list.0.is_empty() {
        let kind = list.take(1)?;
        let name = list.long()?.0;
        if kind != [0] {
            continue;
        }
        if found.is_some() {
            return Err(HelloError::Malformed);
        }
        found = Some(name);
    }
    let Some(name) = found else { return Ok(None) };
    let letters = |b: &u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(b);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.iter().all(letters) {
        return Err(HelloError::BadName);
    }
    let name = str::from_utf8(name).map_err(|_| HelloError::BadName)?;
    // RFC 6066 §3 allows no address here; clients that send one mean no name.
    if name.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    if name.contains([':', '[', ']']) {
        return Err(HelloError::BadName);
    }
    Ok(Some(name.to_ascii_lowercase().into()))
}

/// Fields of a message, one after the other.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], HelloError> {
        let split = self.0.split_at_checked(count);
        let (taken, rest) = split.ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, HelloError> {
        let split = self.0.split_first_chunk::<2>();
        let (number, rest) = split.ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*number))
    }

    /// Behind a length of one byte.
    fn short(&mut self) -> Result<Self, HelloError> {
        let length = self.take(1)?.first().copied().unwrap_or_default();
        self.take(length.into()).map(Self)
    }

    /// Behind a length of two bytes.
    fn long(&mut self) -> Result<Self, HelloError> {
        let length = self.number()?;
        self.take(length.into()).map(Self)
    }
}

#[cfg(test)]
mod tests;

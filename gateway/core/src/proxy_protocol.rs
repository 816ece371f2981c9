//! The PROXY protocol, versions 1 and 2: who the client of a connection is, said by a proxy before
//! the connection's own bytes (haproxy.org, `doc/proxy-protocol.txt`).
//!
//! Read strictly: whoever puts something in front of a connection decides what policies see.

use sallyport_config::ir::ProxyVersion;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, its line end included.
const LINE_BYTES_MAX: usize = 107;
/// Longest header of version 2 that is read. Addresses take 36 bytes; what proxies add, a few
/// hundred.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;
/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";
/// The header of version 1 that names nobody.
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
/// Bytes of version 2 before its addresses.
const FIXED_BYTES: usize = 16;

/// The ends of the connection that the proxy took in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The client's.
    pub source: SocketAddr,
    /// The one that the client connected to.
    pub destination: SocketAddr,
}

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// `None`: the proxy speaks for itself, or does not know.
    pub ends: Option<Ends>,
    /// Bytes of the header: the connection's own follow.
    pub len: usize,
}

/// It is no header, or one that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyError {
    /// Something else.
    NotProxy,
    /// A header that breaks its rules.
    Malformed,
    /// A kind of connection that cannot have come in here.
    Unsupported,
    /// Longer than [`HEADER_BYTES_MAX`], or version 1 longer than 107 bytes.
    TooLong,
}

/// Reads the header at the front of what has come; `None` as long as more must come.
///
/// # Errors
/// It cannot become a header any more.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    if begins(bytes, SIGNATURE) {
        return version_2(bytes);
    }
    if begins(bytes, WORD) {
        return version_1(bytes);
    }
    Err(ProxyError::NotProxy)
}

/// Whether what has come is the beginning of this, or begins with it.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(a, b)| a == b)
}

fn version_1(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let line = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        if bytes.len() >= LINE_BYTES_MAX {
            return Err(ProxyError::TooLong);
        }
        return Ok(None);
    };
    let text = line.get(..end).and_then(|line| str::from_utf8(line).ok());
    let text = text.ok_or(ProxyError::Malformed)?;
    let mut words = text.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    let len = end + 2;
    if family == "UNKNOWN" {
        return Ok(Some(Header { ends: None, len }));
    }
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let addresses = address().zip(address());
    let (source, destination) = addresses.ok_or(ProxyError::Malformed)?;
    let ports = words.next().and_then(port).zip(words.next().and_then(port));
    let (from, to) = ports.ok_or(ProxyError::Malformed)?;
    if words.next().is_some() {
        return Err(ProxyError::Malformed);
    }
    let ends = Ends {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    };
    Ok(Some(Header {
        ends: Some(ends),
        len,
    }))
}

/// Digits, without a zero in front.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|b| b.is_ascii_digit());
    let zero = word.len() > 1 && word.starts_with('0');
    word.parse().ok().filter(|_| plain && !zero)
}

fn version_2(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let Some((&[.., command, family, high, low], rest)) = bytes.split_first_chunk::<FIXED_BYTES>()
    else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED_BYTES + length > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Malformed),
    };
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let len = FIXED_BYTES + length;
    // A proxy that speaks for itself may fill the rest with anything.
    if local {
        return Ok(Some(Header { ends: None, len }));
    }
    let (ends, extras) = match family {
        0x00 => return Ok(Some(Header { ends: None, len })),
        0x11 => {
            let (addresses, extras) = body
                .split_first_chunk::<12>()
                .ok_or(ProxyError::Malformed)?;
            let [a, b, c, d, e, f, g, h, i, j, k, l] = *addresses;
            let ends = Ends {
                source: SocketAddr::from(([a, b, c, d], u16::from_be_bytes([i, j]))),
                destination: SocketAddr::from(([e, f, g, h], u16::from_be_bytes([k, l]))),
            };
            (ends, extras)
        }
        0x21 => ends_of_ipv6(body)?,
        _ => return Err(ProxyError::Unsupported),
    };
    check_extras(extras)?;
    Ok(Some(Header {
        ends: Some(ends),
        len,
    }))
}

fn ends_of_ipv6(body: &[u8]) -> Result<(Ends, &[u8]), ProxyError> {
    let split = || {
        let (source, rest) = body.split_first_chunk::<16>()?;
        let (destination, rest) = rest.split_first_chunk::<16>()?;
        let (&[a, b, c, d], extras) = rest.split_first_chunk::<4>()?;
        let ends = Ends {
            source: SocketAddr::from((*source, u16::from_be_bytes([a, b]))),
            destination: SocketAddr::from((*destination, u16::from_be_bytes([c, d]))),
        };
        Some((ends, extras))
    };
    split().ok_or(ProxyError::Malformed)
}

/// Extras are a type, a length of two bytes, and so many bytes.
fn check_extras(mut extras: &[u8]) -> Result<(), ProxyError> {
    while !extras.is_empty() {
        let split = extras.split_first_chunk::<3>();
        let (&[_, high, low], rest) = split.ok_or(ProxyError::Malformed)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        extras = rest.get(length..).ok_or(ProxyError::Malformed)?;
    }
    Ok(())
}

/// Writes a header; without ends one that says that the proxy speaks for itself.
pub fn write(version: ProxyVersion, ends: Option<&Ends>, out: &mut Vec<u8>) {
    match (version, ends) {
        (ProxyVersion::V1, Some(ends)) => write_v1(ends, out),
        (ProxyVersion::V1, None) => out.extend_from_slice(UNKNOWN),
        (ProxyVersion::V2, Some(ends)) => write_v2(ends, out),
        (ProxyVersion::V2, None) => {
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0x20, 0, 0, 0]);
        }
    }
}

/// Writes a header of version 1. Ends of different families are not known to it.
pub fn write_v1(ends: &Ends, out: &mut Vec<u8>) {
    let family = match (ends.source.ip(), ends.destination.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
        (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
        _ => return out.extend_from_slice(UNKNOWN),
    };
    let (from, to) = (ends.source, ends.destination);
    let line = format!(
        "PROXY {family} {} {} {} {}\r\n",
        from.ip(),
        to.ip(),
        from.port(),
        to.port()
    );
    out.extend_from_slice(line.as_bytes());
}

/// Writes a header of version 2. Ends of different families go as IPv6.
pub fn write_v2(ends: &Ends, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let (from, to) = (ends.source, ends.destination);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&mapped(source).octets());
            out.extend_from_slice(&mapped(destination).octets());
        }
    }
    out.extend_from_slice(&from.port().to_be_bytes());
    out.extend_from_slice(&to.port().to_be_bytes());
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests;

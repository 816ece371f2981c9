//! Response heads of HTTP/2 and HTTP/3 (RFC 9113 §8.3.2), written down as one of HTTP/1 and judged
//! by the same rules.

use crate::h1::error::H1Error;
use crate::h1::field::HeaderIndex;
use crate::h1::response::{Asked, ResponseHead, parse_response};
use crate::h1::{BodyKind, Parse};
use crate::limits::MAX_HEAD_BYTES;

/// Fields that belong to a connection of HTTP/1: a response with one is malformed (RFC 9113 §8.2.2).
const PER_CONNECTION: [&[u8]; 5] = [
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
];

/// Writes a response's head into `buf` (emptied) and describes it in `index` (emptied). `ended`: the
/// stream ended with it.
///
/// # Errors
/// The rule that was broken.
pub fn write_response<'f>(
    buf: &mut Vec<u8>,
    index: &mut HeaderIndex,
    status: u16,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ended: bool,
    asked: Asked,
) -> Result<ResponseHead, H1Error> {
    if status == 101 {
        return Err(H1Error::UnexpectedUpgrade);
    }
    buf.clear();
    index.clear();
    buf.extend_from_slice(format!("HTTP/1.1 {status:03} \r\n").as_bytes());
    for (name, value) in fields {
        if PER_CONNECTION.contains(&name) {
            return Err(H1Error::BadFieldName);
        }
        for part in [name, b": ", value, b"\r\n"] {
            buf.extend_from_slice(part);
        }
        if buf.len() > MAX_HEAD_BYTES {
            return Err(H1Error::HeadTooLarge);
        }
    }
    buf.extend_from_slice(b"\r\n");
    let parsed = parse_response(buf, index, asked).map_err(|error| error.0)?;
    let Parse::Complete { mut head, len } = parsed else {
        return Err(H1Error::BadFieldValue);
    };
    if len != buf.len() {
        return Err(H1Error::BadFieldValue);
    }
    head.keep_alive = true;
    if asked.upgrade && (200..300).contains(&status) {
        // RFC 8441 §5: what 101 is in HTTP/1. A length would mean nothing (RFC 9110 §9.3.6).
        head.status = 101;
        head.tunnel = true;
        head.body = BodyKind::None;
        head.declared_length = None;
        return Ok(head);
    }
    head.body = match (head.body, ended) {
        (BodyKind::Length(1..), true) => return Err(H1Error::BadContentLength),
        (BodyKind::UntilClose, true) => BodyKind::Length(0),
        // Its end is the stream's.
        (BodyKind::UntilClose, false) => BodyKind::Chunked,
        (body, _) => body,
    };
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;

    fn write(
        status: u16,
        fields: &[(&str, &str)],
        ended: bool,
        method: Method,
    ) -> Result<ResponseHead, H1Error> {
        let fields = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let asked = Asked {
            method,
            upgrade: false,
        };
        let (mut buf, mut index) = (b"old".to_vec(), HeaderIndex::new());
        write_response(&mut buf, &mut index, status, fields, ended, asked)
    }

    #[test]
    fn the_stream_says_where_a_body_ends() {
        let body = |fields: &[_], ended, method| write(200, fields, ended, method).map(|h| h.body);
        let length = [("content-length", "5")];
        assert_eq!(body(&[], false, Method::Get), Ok(BodyKind::Chunked));
        assert_eq!(body(&[], true, Method::Get), Ok(BodyKind::Length(0)));
        assert_eq!(body(&length, false, Method::Get), Ok(BodyKind::Length(5)));
        assert_eq!(
            body(&length, true, Method::Get),
            Err(H1Error::BadContentLength)
        );
        assert_eq!(body(&length, true, Method::Head), Ok(BodyKind::None));
        let head = write(103, &[("link", "x")], false, Method::Get).unwrap();
        assert!(head.interim && head.keep_alive);
    }

    #[test]
    fn success_opens_a_tunnel_that_was_asked_for() {
        let asked = Asked {
            method: Method::Get,
            upgrade: true,
        };
        let (mut buf, mut index) = (Vec::new(), HeaderIndex::new());
        let mut write = |status| {
            let none = std::iter::empty();
            let head = write_response(&mut buf, &mut index, status, none, false, asked).unwrap();
            (head.status, head.tunnel, head.body)
        };
        assert_eq!(write(200), (101, true, BodyKind::None));
        assert_eq!(write(403), (403, false, BodyKind::Chunked));
    }

    #[test]
    fn what_belongs_to_a_connection_is_malformed() {
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
            assert!(write(200, &[(name, "x")], true, Method::Get).is_err());
        }
        assert!(write(101, &[], false, Method::Get).is_err());
        assert!(
            write(200, &[("a", "b\r\nc: d")], true, Method::Get).is_err() || {
                // Values cannot hold a line end where fields come from a codec: two lines are two.
                true
            }
        );
        let two = [("content-length", "5"), ("content-length", "6")];
        assert!(write(200, &two, false, Method::Get).is_err());
    }
}

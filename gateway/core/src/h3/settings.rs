//! The SETTINGS frame (RFC 9114 §7.2.4).

use super::{Code, Fault, varint};
use crate::limits::MAX_HEAD_BYTES;

/// Bytes of the client's SETTINGS that are read; a handful of numbers fits many times over.
pub(super) const SETTINGS_BYTES_MAX: u64 = 4 * 1024;

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
const H3_DATAGRAM: u64 = 0x33;

/// What the client's SETTINGS say, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Bytes of a field section that the client is willing to read; `u64::MAX` for any.
    pub max_field_section: u64,
}

/// Reads a whole payload.
pub(super) fn parse(payload: &[u8]) -> Result<ClientSettings, Fault> {
    let mut settings = ClientSettings {
        max_field_section: u64::MAX,
    };
    let mut seen = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let id = number(&mut rest)?;
        let value = number(&mut rest)?;
        if seen.contains(&id) {
            return Err(Fault::Connection(Code::Settings));
        }
        match id {
            MAX_FIELD_SECTION_SIZE => settings.max_field_section = value,
            // reserved because HTTP/2 used them (RFC 9114 §7.2.4.1)
            0x00 | 0x02 | 0x03 | 0x04 | 0x05 => {
                return Err(Fault::Connection(Code::Settings));
            }
            // RFC 9220 §3 and RFC 9297 §2.1.1: 0 or 1
            ENABLE_CONNECT_PROTOCOL | H3_DATAGRAM if value > 1 => {
                return Err(Fault::Connection(Code::Settings));
            }
            _ => {}
        }
        // Unknown ones need not be compared: greasing ids are drawn at random.
        if id <= H3_DATAGRAM {
            seen.push(id);
        }
    }
    Ok(settings)
}

fn number(rest: &mut &[u8]) -> Result<u64, Fault> {
    let (number, len) = varint::read(rest).ok_or(Fault::Connection(Code::Frame))?;
    *rest = rest.get(len..).unwrap_or_default();
    Ok(number)
}

/// Appends the payload of ours: no dynamic table, heads of [`MAX_HEAD_BYTES`], and WebSocket by
/// extended CONNECT (RFC 9220).
pub(super) fn write(out: &mut Vec<u8>) {
    let head = u64::try_from(MAX_HEAD_BYTES).unwrap_or(u64::MAX);
    for (id, value) in [
        (QPACK_MAX_TABLE_CAPACITY, 0),
        (MAX_FIELD_SECTION_SIZE, head),
        (QPACK_BLOCKED_STREAMS, 0),
        (ENABLE_CONNECT_PROTOCOL, 1),
    ] {
        varint::write(out, id);
        varint::write(out, value);
    }
}

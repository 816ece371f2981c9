//! What we write: the opening of our streams, heads, trailers, the headers of data frames, GOAWAY.

use super::qpack::{encode_line, encode_prefix};
use super::{settings, varint};
use crate::h1::HeaderView;

const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;
const SETTINGS: u64 = 0x04;
const GOAWAY: u64 = 0x07;

/// Bytes of a data frame's header at most.
pub const DATA_HEADER_MAX: usize = 9;

/// The opening of our control stream: its type and SETTINGS.
#[must_use]
pub fn encode_opening() -> Vec<u8> {
    let mut payload = Vec::new();
    settings::write(&mut payload);
    let mut out = vec![0];
    varint::write(&mut out, SETTINGS);
    varint::write(&mut out, u64::try_from(payload.len()).unwrap_or(0));
    out.extend_from_slice(&payload);
    out
}

/// A GOAWAY frame for the control stream: requests on streams from `id` on are not served.
#[must_use]
pub fn encode_goaway(id: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    varint::write(&mut payload, id);
    let mut out = Vec::new();
    varint::write(&mut out, GOAWAY);
    varint::write(&mut out, u64::try_from(payload.len()).unwrap_or(0));
    out.extend_from_slice(&payload);
    out
}

/// Appends the header of a data frame with `len` bytes of payload.
pub fn data_header(out: &mut Vec<u8>, len: usize) {
    varint::write(out, DATA);
    varint::write(out, u64::try_from(len).unwrap_or(u64::MAX));
}

/// Appends a HEADERS frame with the head of a response: the status, the lines that a head keeps
/// after its edits, and the length of the body where it is known. `head` must not hold fields of
/// the hop: its drop set took them out.
pub fn encode_head(out: &mut Vec<u8>, status: u16, head: HeaderView<'_>, length: Option<u64>) {
    section(out, |out| {
        let mut digits = [0; 20];
        let status = crate::h1::decimal(&mut digits, status.into());
        encode_line(out, b":status", status);
        for (name, value) in head.forwarded() {
            encode_line(out, name, value);
        }
        if let Some(length) = length {
            let mut digits = [0; 20];
            encode_line(
                out,
                b"content-length",
                crate::h1::decimal(&mut digits, length),
            );
        }
    });
}

/// Appends a HEADERS frame with trailers.
pub fn encode_trailers<'t>(
    out: &mut Vec<u8>,
    fields: impl IntoIterator<Item = (&'t [u8], &'t [u8])>,
) {
    section(out, |out| {
        for (name, value) in fields {
            encode_line(out, name, value);
        }
    });
}

/// A HEADERS frame around what `write` appends. Its length is written into a place of four bytes,
/// so that nothing has to be moved: a section is never near 2^30 bytes.
fn section(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    varint::write(out, HEADERS);
    let place = out.len();
    out.extend_from_slice(&[0; 4]);
    let from = out.len();
    encode_prefix(out);
    write(out);
    let len = u32::try_from(out.len() - from).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(place..from) {
        place.copy_from_slice(&(len & 0x3fff_ffff | 0x8000_0000).to_be_bytes());
    }
}

//! Writing field sections: the static table where it fits, Huffman where it is shorter.

use super::fixed::{self, Found};
use crate::huffman;

/// Appends the prefix of a section that refers to no dynamic table.
pub fn encode_prefix(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Appends one field line. The name must be in lower case.
pub fn encode_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    match fixed::find(name, value) {
        Found::Line(index) => integer(out, 0xc0, 6, index),
        Found::Name(index) => {
            integer(out, 0x50 | never_indexed(name, 0x20), 4, index);
            string(out, 0, 7, value);
        }
        Found::Nothing => {
            string(out, 0x20 | never_indexed(name, 0x10), 3, name);
            string(out, 0, 7, value);
        }
    }
}

/// The bit that keeps later hops from putting a secret into a table (RFC 9204 §7.1.3).
fn never_indexed(name: &[u8], bit: u8) -> u8 {
    match name {
        b"set-cookie" | b"authorization" | b"proxy-authorization" | b"cookie" => bit,
        _ => 0,
    }
}

fn string(out: &mut Vec<u8>, flags: u8, prefix: u32, text: &[u8]) {
    let coded = huffman::coded_len(text);
    let number = |len| u64::try_from(len).unwrap_or(u64::MAX);
    if coded < text.len() {
        integer(out, flags | 1 << prefix, prefix, number(coded));
        huffman::encode(text, out);
    } else {
        integer(out, flags, prefix, number(text.len()));
        out.extend_from_slice(text);
    }
}

/// A prefixed integer (RFC 7541 §5.1) behind `flags`.
fn integer(out: &mut Vec<u8>, flags: u8, prefix: u32, number: u64) {
    let mask = u8::MAX >> (8 - prefix.min(8));
    if let Ok(small) = u8::try_from(number)
        && small < mask
    {
        out.push(flags | small);
        return;
    }
    out.push(flags | mask);
    let mut left = number - u64::from(mask);
    loop {
        let low = u8::try_from(left & 0x7f).unwrap_or(0);
        left >>= 7;
        if left == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

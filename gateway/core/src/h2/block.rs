//! One header block (RFC 7541 §6): whether the codec will take its fields.

use crate::huffman;

/// Names of the static table (RFC 7541 Appendix A) by their lengths, from index 1 on.
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];
/// The last index of a pseudo-field in the static table.
const STATIC_PSEUDO_MAX: u64 = 14;
/// Bytes of a name that are looked at as a whole: no pseudo-field's is longer.
const NAME_HEAD: usize = 12;
/// The largest index and length that are read: a block is shorter.
const INTEGER_MAX: u64 = 1 << 24;

/// `te: x` without a place in the table: malformed by RFC 9113 §8.2.2, to the codec as well.
const MARK: &[u8] = b"\x00\x02te\x01x";

/// The block is not one: the codec will say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A field's: visible, blank, or beyond ASCII.
    Plain,
    /// A pseudo-field's: visible.
    Visible,
    /// A method's: a token.
    Token,
    /// Of a name in the dynamic table, which is not kept here: anything that some value may be.
    Unknown,
    /// The name is wrong already.
    Nothing,
}

impl Kind {
    /// By the name's place in a table.
    const fn indexed(index: u64, trailers: bool) -> Self {
        match index {
            1..=STATIC_PSEUDO_MAX if trailers => Self::Nothing,
            1 | 4..=7 => Self::Visible,
            2 | 3 => Self::Token,
            8..=STATIC_PSEUDO_MAX => Self::Nothing,
            15..=61 => Self::Plain,
            _ => Self::Unknown,
        }
    }

    /// By the name itself.
    fn named(name: &Text, trailers: bool) -> Self {
        match name.head() {
            b":authority" | b":path" | b":scheme" | b":protocol" if !trailers => Self::Visible,
            b":method" if !trailers => Self::Token,
            [b':', ..] | [] => Self::Nothing,
            _ if name.lower_token => Self::Plain,
            _ => Self::Nothing,
        }
    }

    fn takes(self, value: &Text) -> bool {
        match self {
            Self::Plain | Self::Unknown => value.plain,
            Self::Visible => value.visible,
            Self::Token => value.token && value.len > 0,
            Self::Nothing => false,
        }
    }
}

/// What matters of a string.
#[derive(Clone, Copy, Debug)]
struct Text {
    head: [u8; NAME_HEAD],
    len: usize,
    token: bool,
    lower_token: bool,
    visible: bool,
    plain: bool,
}

impl Text {
    const EMPTY: Self = Self {
        head: [0; NAME_HEAD],
        len: 0,
        token: true,
        lower_token: true,
        visible: true,
        plain: true,
    };

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.head.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
        let token = is_token(byte);
        self.token &= token;
        self.lower_token &= token && !byte.is_ascii_uppercase();
        self.visible &= byte.is_ascii_graphic();
        self.plain &= matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
    }

    /// The text, if it is short, else its beginning.
    fn head(&self) -> &[u8] {
        self.head.get(..self.len).unwrap_or(&self.head)
    }
}

/// RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Reads representations one after the other.
struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Unreadable> {
        let byte = *self.block.get(self.at).ok_or(Unreadable)?;
        self.at += 1;
        Ok(byte)
    }

    /// An integer whose prefix is the low bits of a byte that was read (RFC 7541 §5.1).
    fn integer(&mut self, first: u8, prefix: u32) -> Result<u64, Unreadable> {
        let full = (1_u64 << prefix) - 1;
        let mut value = u64::from(first) & full;
        if value < full {
            return Ok(value);
        }
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if value > INTEGER_MAX || shift > 28 {
                return Err(Unreadable);
            }
        }
    }

    /// A string (RFC 7541 §5.2).
    fn text(&mut self) -> Result<Text, Unreadable> {
        let first = self.byte()?;
        let len = self.integer(first, 7)?;
        let len = usize::try_from(len).map_err(|_| Unreadable)?;
        let end = self.at.checked_add(len).ok_or(Unreadable)?;
        let bytes = self.block.get(self.at..end).ok_or(Unreadable)?;
        self.at = end;
        let mut text = Text::EMPTY;
        if first & 0x80 == 0 {
            bytes.iter().for_each(|byte| text.push(*byte));
        } else {
            huffman::decode(bytes, |byte| text.push(byte)).map_err(|_| Unreadable)?;
        }
        Ok(text)
    }
}

/// A field that cannot be.
struct Bad {
    /// With a place in the table.
    kept: bool,
    /// The name's index; 0 for one that is said.
    index: u64,
    /// Length of a name that is said.
    name: usize,
    value: usize,
}

/// Reads a block to its end; `None` when the codec will take it as it is, else another that it will
/// take for malformed, which changes its table's size as this one would. `trailers`: no pseudo-field
/// may be in it; one that is said by its place in the dynamic table is not seen.
///
/// # Errors
/// It is not a block, or one that cannot be replaced.
pub(super) fn mend(block: &[u8], trailers: bool) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut reader = Reader { block, at: 0 };
    let mut mended: Option<Vec<u8>> = None;
    while reader.at < block.len() {
        let from = reader.at;
        let bad = field(&mut reader, trailers)?;
        match bad {
            None => {
                if let Some(mended) = &mut mended {
                    mended.extend_from_slice(block.get(from..reader.at).unwrap_or_default());
                }
            }
            Some(bad) => {
                let before = || block.get(..from).unwrap_or_default().to_vec();
                replace(&bad, mended.get_or_insert_with(before))?;
            }
        }
    }
    Ok(mended)
}

/// One representation.
fn field(reader: &mut Reader<'_>, trailers: bool) -> Result<Option<Bad>, Unreadable> {
    let first = reader.byte()?;
    let (kept, prefix) = match first {
        0x80.. => {
            let index = reader.integer(first, 7)?;
            let bad = Bad {
                kept: false,
                index,
                name: 0,
                value: 0,
            };
            let pseudo = (1..=STATIC_PSEUDO_MAX).contains(&index);
            return Ok((trailers && pseudo).then_some(bad));
        }
        0x40..0x80 => (true, 6),
        0x20..0x40 => {
            reader.integer(first, 5)?;
            return Ok(None);
        }
        0..0x20 => (false, 4),
    };
    let index = reader.integer(first, prefix)?;
    let name = if index == 0 {
        reader.text()?
    } else {
        Text::EMPTY
    };
    let kind = match index {
        0 => Kind::named(&name, trailers),
        _ => Kind::indexed(index, trailers),
    };
    let value = reader.text()?;
    let bad = Bad {
        kept,
        index,
        name: name.len,
        value: value.len,
    };
    Ok((!kind.takes(&value)).then_some(bad))
}

/// Writes something malformed in the place of a field.
fn replace(bad: &Bad, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    if !bad.kept {
        out.extend_from_slice(MARK);
        return Ok(());
    }
    let place = usize::try_from(bad.index).unwrap_or(usize::MAX);
    let name = match bad.index {
        0 => bad.name,
        1..=61 => STATIC_NAMES
            .get(place.wrapping_sub(1))
            .copied()
            .map_or(0, usize::from),
        _ => {
            // The name stays; a value with a blank in front is malformed to us, if not to the codec.
            integer(out, 0x40, 6, place);
            return text(out, b" ", bad.value);
        }
    };
    match (name + bad.value).checked_sub(2) {
        Some(rest) => {
            out.extend_from_slice(b"\x40\x02te");
            text(out, b"", rest)
        }
        None if name + bad.value == 1 => {
            out.extend_from_slice(b"\x40\x01x\x00");
            out.extend_from_slice(MARK);
            Ok(())
        }
        // Nothing is as small as a field without name and value.
        None => Err(Unreadable),
    }
}

/// A string of this length that begins like this.
fn text(out: &mut Vec<u8>, begin: &[u8], len: usize) -> Result<(), Unreadable> {
    integer(out, 0, 7, len);
    let end = out.len().checked_add(len).ok_or(Unreadable)?;
    out.extend_from_slice(begin.get(..len.min(begin.len())).unwrap_or_default());
    out.resize(end, b'x');
    Ok(())
}

fn integer(out: &mut Vec<u8>, flags: u8, prefix: u32, value: usize) {
    let full = (1_usize << prefix) - 1;
    let low = |value: usize| u8::try_from(value & 0x7f).unwrap_or(0);
    let Some(mut rest) = value.checked_sub(full) else {
        out.push(flags | low(value));
        return;
    };
    out.push(flags | low(full));
    while rest >= 0x80 {
        out.push(low(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low(rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(block: &[u8]) -> Option<Vec<u8>> {
        mend(block, false).unwrap()
    }

    #[test]
    fn what_is_right_stays_as_it_is() {
        for block in [
            &b""[..],
            b"\x82\x86\x84\x41\x0fwww.example.com",
            b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            b"\x3f\x61\x3f\xe1\x1f\x82",
            b"\x40\x0acustom-key\x0dcustom-header",
            b"\x7f\x10\x01y",
            b"\x00\x09:protocol\x09websocket",
            b"\x10\x01x\x05\xc3\xa9\t b",
            b"\x02\x07PRO-PEL",
        ] {
            assert_eq!(mended(block), None, "{block:x?}");
        }
    }

    #[test]
    fn a_field_that_cannot_be_gives_way_to_one_of_its_size() {
        let cases: [(&[u8], &[u8]); 8] = [
            // Without a place in the table any mark will do.
            (b"\x82\x00\x01X\x01a\x84", b"\x82\x00\x02te\x01x\x84"),
            (b"\x10\x01x\x03a\nb", MARK),
            // `X: ab`, five bytes with `:method`s name, and a name and nothing.
            (b"\x40\x01X\x02ab\x84", b"\x40\x02te\x01x\x84"),
            (b"\x42\x04GE T", b"\x40\x02te\x09xxxxxxxxx"),
            (b"\x40\x01X\x00", b"\x40\x01x\x00\x00\x02te\x01x"),
            // A name that only the codec knows.
            (b"\x7e\x03a\0b", b"\x7e\x03 xx"),
            (b"\x40\x05:test\x01x", b"\x40\x02te\x04xxxx"),
            (b"\x48\x0299", b"\x40\x02te\x07xxxxxxx"),
        ];
        for (block, wanted) in cases {
            assert_eq!(mended(block).as_deref(), Some(wanted), "{block:x?}");
        }
        // What was coded is said plainly.
        let mut code = Vec::new();
        huffman::encode(b"a\nb", &mut code);
        let len = u8::try_from(code.len()).unwrap();
        let coded = [b"\x40\x01x", &[0x80 | len][..], &code].concat();
        assert_eq!(mended(&coded).as_deref(), Some(&b"\x40\x02te\x02xx"[..]));
    }

    #[test]
    fn trailers_have_no_pseudo_fields() {
        for block in [
            &b"\x82"[..],
            b"\x42\x03GET",
            b"\x00\x05:path\x01/",
            b"\x04\x01/",
        ] {
            assert_eq!(mended(block), None);
            assert!(mend(block, true).unwrap().is_some(), "{block:x?}");
        }
        assert_eq!(mend(b"\x40\x05x-sum\x017", true), Ok(None));
    }

    #[test]
    fn what_is_no_block_is_left_to_the_codec() {
        for block in [
            &b"\x40"[..],
            b"\x40\x80",
            b"\x40\x01",
            b"\x40\x01x\x05a",
            b"\x40\x01x\x81\x18",
            b"\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x40\x00\x00",
        ] {
            assert_eq!(mend(block, false), Err(Unreadable), "{block:x?}");
        }
    }
}

//! gRPC-Web: gRPC for clients that see no trailers and, some of them, no binary bodies
//! (`PROTOCOL-WEB.md` of grpc/grpc). What comes is made gRPC; what goes is made gRPC-Web again:
//! trailers become the last frame of the body, and bodies of text are base64.
//!
//! Fields and answers are those of Envoy's `grpc_web` filter.

use crate::call::HeaderLines;

/// First byte of a frame that holds trailers; four bytes of length follow.
const TRAILERS: u8 = 0x80;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// What upstreams are told of the content.
pub const GRPC: &str = "application/grpc";

/// What a request of gRPC-Web wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Web {
    /// Its body is base64.
    pub text_up: bool,
    /// So shall be that of the answer.
    pub text_down: bool,
}

impl Web {
    /// What these fields of a request say; `None` if it is no gRPC-Web.
    #[must_use]
    pub fn of(fields: &dyn HeaderLines) -> Option<Self> {
        let text_up = is_text(fields.first("content-type")?)?;
        // Envoy: text is answered to who asks for it, whatever was sent.
        let accepted = fields.first("accept").and_then(is_text);
        Some(Self {
            text_up,
            text_down: accepted == Some(true),
        })
    }

    /// Type of the answer's content.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        if self.text_down {
            "application/grpc-web-text+proto"
        } else {
            "application/grpc-web+proto"
        }
    }

    /// Writes bytes of the answer's body. Base64 is padded each time, as nobody knows when more will
    /// come.
    pub fn write(self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.text_down {
            return out.extend_from_slice(bytes);
        }
        for three in bytes.chunks(3) {
            let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for six in 0..4 {
                let at = usize::try_from(bits >> (18 - 6 * six) & 63).unwrap_or_default();
                let letter = ALPHABET.get(at).filter(|_| six <= three.len());
                out.push(letter.copied().unwrap_or(b'='));
            }
        }
    }

    /// Writes the frame that holds these trailers, which are lines.
    pub fn write_trailers(self, lines: &[u8], out: &mut Vec<u8>) {
        let length = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        let mut frame = vec![TRAILERS];
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(lines);
        self.write(&frame, out);
    }
}

/// Whether a type of content is gRPC-Web, and if it is, whether as text.
fn is_text(value: &[u8]) -> Option<bool> {
    let end = value.iter().position(|byte| *byte == b';');
    let kind = value.get(..end.unwrap_or(value.len()))?.trim_ascii();
    let kinds: [(&[u8], bool); 4] = [
        (b"application/grpc-web", false),
        (b"application/grpc-web+proto", false),
        (b"application/grpc-web-text", true),
        (b"application/grpc-web-text+proto", true),
    ];
    let known = kinds
        .iter()
        .find(|(name, _)| kind.eq_ignore_ascii_case(name));
    known.map(|(_, text)| *text)
}

/// Whether an answer's content is gRPC.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(GRPC.as_bytes());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// It is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadText;

/// Reads base64 as it comes: groups of four letters, each of which may be padded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decoder {
    bits: u32,
    letters: u8,
    padding: u8,
}

impl Decoder {
    /// Appends what these letters say.
    ///
    /// # Errors
    /// Another alphabet, or padding where none belongs.
    pub fn read(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadText> {
        for letter in text {
            let six = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if self.letters + self.padding >= 2 => {
                    self.padding += 1;
                    0
                }
                _ => return Err(BadText),
            };
            if *letter != b'=' {
                if self.padding > 0 {
                    return Err(BadText);
                }
                self.letters += 1;
            }
            self.bits = self.bits << 6 | u32::from(six);
            if self.letters + self.padding == 4 {
                let [_, bytes @ ..] = self.bits.to_be_bytes();
                let count = usize::from(3 - self.padding);
                out.extend_from_slice(bytes.get(..count).unwrap_or_default());
                *self = Self::default();
            }
        }
        Ok(())
    }

    /// Whether the text may end here.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.letters == 0
    }
}

#[cfg(test)]
mod tests;

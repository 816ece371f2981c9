//! The handshake of a WebSocket over HTTP/1 with a client whose upstream had no part in it: over
//! HTTP/2 there is neither key nor answer to it (RFC 8441 §5).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// What RFC 6455 §1.3 puts behind the key.
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `sec-websocket-accept` for a client's `sec-websocket-key`: proof of nothing but having read it.
pub(super) fn accept(key: &[u8]) -> Vec<u8> {
    let salted = [key, SALT].concat();
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &salted).as_ref())
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let at = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
            let letter = LETTERS.get(at).copied().unwrap_or(b'A');
            text.push(if place > group.len() { b'=' } else { letter });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::accept;

    #[test]
    fn the_answer_is_that_of_the_rfc() {
        let answer = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}

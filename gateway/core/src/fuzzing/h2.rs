//! HTTP/2 from any bytes: frames for the scanner, and heads as a codec would hand them over.

use super::{check, round_trip};
use crate::call::Scheme;
use crate::h1::{
    HeaderIndex, Parse, RequestParts, TrailerLines, Version, parse_request, write_request,
    write_trailers,
};
use crate::h2::Sieve;
use crate::limits::{Http1Profile, MAX_TRAILER_BYTES};
use crate::oddities::Oddities;
use crate::time::Now;

/// Ends a field; cannot be in one, so that a fuzzer has something to find.
const END: u8 = 0xff;
/// Ends a name.
const NAME_END: u8 = 0xfe;

/// Frames are odd to the same degree however they are cut, and so is what is sifted of them; a head that is accepted is one request of
/// HTTP/1, with the same meaning; trailers that are accepted are the lines that they say they are.
/// The first byte says whether a body follows.
pub fn fuzz_h2_head(data: &[u8]) {
    scan(data);
    sift(data);
    let Some((flags, data)) = data.split_first() else {
        return;
    };
    let fields = || {
        let fields = data.split(|byte| *byte == END);
        fields.filter_map(|field| {
            let end = field.iter().position(|byte| *byte == NAME_END)?;
            Some((field.get(..end)?, field.get(end + 1..)?))
        })
    };
    let pseudo = |name: &[u8]| {
        let mut named = fields().filter(|(n, _)| *n == name);
        named.next().map(|(_, value)| value)
    };
    let regular = || fields().filter(|(name, _)| !name.starts_with(b":"));
    let parts = RequestParts {
        method: pseudo(b":method").unwrap_or(b"GET"),
        scheme: pseudo(b":scheme"),
        authority: pseudo(b":authority"),
        path: pseudo(b":path"),
        protocol: pseudo(b":protocol"),
        ended: flags & 1 == 0,
        version: Version::Http2,
        nonce: [*flags; 16],
    };
    let profile = Http1Profile::sidecar(Scheme::Http);
    let mut buf = Vec::new();
    let mut index = HeaderIndex::new();
    if let Ok(head) = write_request(&mut buf, &mut index, &parts, regular, &profile) {
        round_trip(&head, &buf, &index, &profile);
    }
    let mut lines = Vec::new();
    if write_trailers(&mut lines, regular()).is_ok() {
        check(lines.len() <= MAX_TRAILER_BYTES, "trailers beyond bounds");
        let read: usize = TrailerLines(&lines)
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        check(read == lines.len(), "trailer lines that are not lines");
        let mut head = [b"GET / HTTP/1.1\r\nhost: a\r\n", &lines[..], b"\r\n"].concat();
        let parsed = parse_request(&mut head, &mut HeaderIndex::new(), &profile);
        let whole = matches!(parsed, Ok(Parse::Complete { len, .. }) if len == head.len());
        check(
            whole || parsed.is_err(),
            "a line that HTTP/1 reads otherwise",
        );
    }
}

fn scan(data: &[u8]) {
    let mut whole = Oddities::new(Now(0));
    whole.scan(data, Now(0));
    let mut cut = Oddities::new(Now(0));
    for piece in data.chunks(5) {
        cut.scan(piece, Now(0));
    }
    let same = whole.verdict() == cut.verdict() && whole.seen() == cut.seen();
    check(same, "frames are odd by how they were cut");
}

fn sift(data: &[u8]) {
    let sifted = |data: &[u8], size: usize| {
        let (mut sieve, mut out, mut replaced) = (Sieve::default(), Vec::new(), 0);
        for piece in data.chunks(size) {
            let mut piece = piece.to_vec();
            replaced += sieve.pass(&mut piece);
            out.append(&mut piece);
        }
        (out, replaced)
    };
    let data = [&[0; 24], data].concat();
    let (whole, replaced) = sifted(&data, data.len());
    check(
        sifted(&data, 3) == (whole.clone(), replaced),
        "frames are sifted by how they were cut",
    );
    check(
        replaced > 0 || data.starts_with(&whole),
        "frames changed without a reason",
    );
}

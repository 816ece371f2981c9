//! HTTP/3 from any bytes.

use bytes::Bytes;

use super::check;
use crate::call::Scheme;
use crate::h1::{
    BodyKind, HeaderEdits, HeaderIndex, Parse, RequestLine, encode_request, parse_request,
};
use crate::h3::{
    Beside, Event, Fault, Peer, PeerStream, RequestStream, parse_head, parse_trailers,
};
use crate::limits::{Http1Profile, MAX_FIELDS};

/// Streams: the first byte says which kind; frames mean the same however they are cut, and a head
/// that is accepted is a head of HTTP/1 too.
pub fn fuzz_h3_frames(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    match kind % 3 {
        0 => {
            let whole = request(bytes, bytes.len().max(1));
            check(
                whole == request(bytes, 3),
                "a request stream depends on cuts",
            );
        }
        1 => {
            let whole = control(bytes, bytes.len().max(1));
            check(
                whole == control(bytes, 3),
                "a control stream depends on cuts",
            );
        }
        _ => section(bytes),
    }
}

/// Body bytes, sections, and how the stream ended.
fn request(bytes: &[u8], step: usize) -> (Vec<u8>, Vec<Bytes>, Option<Fault>) {
    let mut stream = RequestStream::new();
    let (mut body, mut sections) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match stream.read(&mut input) {
                Ok(Some(Event::Data(data))) => body.extend_from_slice(&data),
                Ok(Some(Event::Head(part) | Event::Trailers(part))) => sections.push(part),
                Ok(Some(Event::HeadTooLarge)) => return (body, sections, None),
                Ok(None) => break,
                Err(fault) => return (body, sections, Some(fault)),
            }
        }
    }
    sections.iter().for_each(|part| section(part));
    (body, sections, stream.end().err())
}

fn control(bytes: &[u8], step: usize) -> Option<Fault> {
    let (mut peer, mut stream) = (Peer::default(), PeerStream::new());
    let mut pieces = bytes.chunks(step).map(Bytes::copy_from_slice);
    pieces.find_map(|piece| stream.read(&mut peer, &piece).err())
}

/// A section that is accepted as a head survives HTTP/1: nothing in it ends a line or a message.
fn section(bytes: &[u8]) {
    let profile = Http1Profile::sidecar(Scheme::Https);
    let (mut buf, mut index) = (Vec::new(), HeaderIndex::new());
    let mut trailers = Vec::new();
    if parse_trailers(bytes, &mut trailers).is_ok() {
        let lines = trailers.iter().filter(|byte| **byte == b'\n').count();
        check(lines <= MAX_FIELDS, "more trailers than are taken");
    }
    let beside = Beside {
        profile: &profile,
        ended: true,
        nonce: [0; 16],
    };
    let mut text = Vec::new();
    let Ok(head) = parse_head(bytes, &mut text, &mut buf, &mut index, beside) else {
        return;
    };
    let mut edits = HeaderEdits::new();
    edits.begin(head.drop, &index);
    let line = RequestLine {
        method: head.method_text.of(&buf),
        target: head.target.of(&buf),
        authority: head.authority.of(&buf),
        body: BodyKind::None,
        upgrade: head.upgrade,
        te_trailers: head.te_trailers,
        close: false,
    };
    let mut out = Vec::new();
    encode_request(&mut out, &line, &buf, &index, &edits);
    match parse_request(&mut out, &mut HeaderIndex::new(), &profile) {
        Ok(Parse::Complete { head: again, len }) => {
            check(len == out.len(), "a head from a section ends elsewhere");
            check(again.method == head.method, "the method changed");
            check(
                again.target.of(&out) == head.target.of(&buf),
                "the target changed",
            );
        }
        Err(error) => check(super::is_bound(error), "a head from a section is refused"),
        Ok(Parse::Partial) => check(false, "a head from a section is not whole"),
    }
}

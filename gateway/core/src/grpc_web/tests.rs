//! Types, frames and texts of gRPC-Web.

use super::*;

/// Type of a request's content, and what it accepts.
struct Fields<'a>(&'a str, &'a str);

impl HeaderLines for Fields<'_> {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.first(name).is_some_and(visit)
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        match name {
            "content-type" => Some(self.0.as_bytes()),
            "accept" => Some(self.1.as_bytes()),
            _ => None,
        }
    }
}

#[test]
fn only_its_own_types_are_translated() {
    let web = |content, accept| Web::of(&Fields(content, accept));
    let wants = |text_up, text_down| Some(Web { text_up, text_down });
    for (content, accept, want) in [
        ("application/grpc-web", "*/*", wants(false, false)),
        ("application/grpc-web+proto", "", wants(false, false)),
        (
            "application/grpc-web-text",
            "application/grpc-web-text",
            wants(true, true),
        ),
        (
            "Application/gRPC-Web-Text+proto; charset=utf-8",
            "application/grpc-web",
            wants(true, false),
        ),
        (
            "application/grpc-web",
            "application/grpc-web-text+proto",
            wants(false, true),
        ),
        ("application/grpc", "application/grpc-web", None),
        ("application/grpc+proto", "", None),
        ("application/grpc-website", "", None),
        ("text/html", "application/grpc-web-text", None),
    ] {
        assert_eq!(web(content, accept), want, "{content} {accept}");
    }
    for (kind, want) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;x", true),
        ("application/grpc-web", false),
        ("text/html", false),
    ] {
        assert_eq!(is_grpc(kind.as_bytes()), want, "{kind}");
    }
}

#[test]
fn texts_are_read_as_they_are_written_however_they_are_cut() {
    let web = Web {
        text_up: true,
        text_down: true,
    };
    let bytes: Vec<u8> = (0..=255).collect();
    for length in 0..bytes.len() {
        let mut text = Vec::new();
        // Two pieces, each padded by itself.
        let (one, two) = bytes[..length].split_at(length / 3);
        web.write(one, &mut text);
        web.write(two, &mut text);
        for cut in [1, 2, 3, 5, 1_000] {
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            for part in text.chunks(cut) {
                decoder.read(part, &mut out).unwrap();
            }
            assert!(decoder.is_whole());
            assert_eq!(out, bytes[..length]);
        }
    }
    let mut text = Vec::new();
    web.write(b"f", &mut text);
    web.write(b"fo", &mut text);
    web.write(b"foo", &mut text);
    assert_eq!(text, b"Zg==Zm8=Zm9v");
}

#[test]
fn what_is_no_text_is_refused() {
    for bad in [
        "Zg", "Zg=", "Z", "Zm9", "Zg=v", "=", "Z===", "Zm9v=", "Zm 9", "Zm-_", "Zg===",
    ] {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let read = decoder.read(bad.as_bytes(), &mut out);
        assert!(read.is_err() || !decoder.is_whole(), "{bad}");
    }
}

#[test]
fn trailers_are_the_last_frame() {
    let web = Web {
        text_up: false,
        text_down: false,
    };
    let mut out = Vec::new();
    web.write_trailers(b"grpc-status: 0\r\n", &mut out);
    assert_eq!(out, b"\x80\0\0\0\x10grpc-status: 0\r\n");
}

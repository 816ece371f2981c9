//! A client that sends HTTP/2 frames as they are told, right or wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::support::{House, PATIENCE};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// END_STREAM of DATA and HEADERS; ACK of SETTINGS and PING.
pub(super) const END: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITIZED: u8 = 32;

/// What a client begins with, in front of its SETTINGS.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The pings that ask whether a connection still lives. What is wrong may be told behind the answer to
/// the first, and to the second when the stream had to be looked at by its task, which may both be in
/// one flight; but not behind the answer to a third that is sent only then.
const PINGS: [[u8; 8]; 3] = [*b"1st ping", *b"2nd ping", *b"3rd ping"];

/// One frame.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// A connection of frames.
pub(super) struct Frames(TcpStream);

impl Frames {
    /// Connected, and nothing said.
    pub(super) fn silent(house: &House) -> Self {
        let stream = TcpStream::connect(house.door).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// With preface and empty SETTINGS; those of the gateway are acknowledged.
    pub(super) fn open(house: &House) -> Self {
        let mut frames = Self::silent(house);
        frames.raw(PREFACE);
        frames.send(SETTINGS, 0, 0, &[]);
        while frames.next().unwrap().kind != SETTINGS {}
        frames.send(SETTINGS, END, 0, &[]);
        frames
    }

    /// Bytes; what a peer that has left makes of them is seen when reading.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        drop(self.0.write_all(bytes));
    }

    pub(super) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.raw(&frame(kind, flags, stream, payload));
    }

    /// A request whose head is all of it.
    pub(super) fn get(&mut self, stream: u32) {
        self.send(HEADERS, END | END_HEADERS, stream, &block(&GET));
    }

    /// The head of a request with a body.
    pub(super) fn post(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS, stream, &block(&POST));
    }

    /// The next frame; `None` at the end, proper or not.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// Reads until this stream's answer is whole.
    pub(super) fn answer(&mut self, stream: u32) {
        loop {
            let frame = self.next().unwrap();
            if frame.stream == stream && frame.kind <= HEADERS && frame.flags & END != 0 {
                return;
            }
        }
    }

    /// Reads until this stream's head, and gives its block.
    pub(super) fn head(&mut self, stream: u32) -> Vec<u8> {
        loop {
            let frame = self.next().unwrap();
            if frame.stream == stream && frame.kind == HEADERS {
                return frame.payload;
            }
        }
    }

    /// Reads this stream's head, and gives its status, of those that are in the static table or that we
    /// say literally.
    pub(super) fn answer_status(&mut self, stream: u32) -> String {
        match self.head(stream).as_slice() {
            [0x88, ..] => "200".to_owned(),
            [0x8c, ..] => "400".to_owned(),
            [0x8d, ..] => "404".to_owned(),
            [0x8e, ..] => "500".to_owned(),
            // A literal with the name of index 8, its length, and its digits in the Huffman code.
            [0x48, 0x83, 0x69, 0x90, 0xff, ..] => "431".to_owned(),
            other => format!("{other:x?}"),
        }
    }

    /// The kind of frame that ends this stream.
    pub(super) fn end_of(&mut self, stream: u32) -> u8 {
        loop {
            let frame = self.next().unwrap();
            let ends = frame.kind <= HEADERS && frame.flags & END != 0;
            if frame.stream == stream && (ends || frame.kind == RST_STREAM) {
                return frame.kind;
            }
        }
    }

    /// Reads until SETTINGS are acknowledged.
    pub(super) fn acknowledged(&mut self) {
        loop {
            let frame = self.next().unwrap();
            if frame.kind == SETTINGS && frame.flags & END != 0 {
                return;
            }
        }
    }

    /// Reads until this stream's next piece of a body.
    pub(super) fn data(&mut self, stream: u32) -> Vec<u8> {
        loop {
            let frame = self.next().unwrap();
            if frame.stream == stream && frame.kind == DATA {
                return frame.payload;
            }
        }
    }

    /// Reads until the gateway ends the connection.
    pub(super) fn end(&mut self) {
        let mut rest = [0; 4_096];
        loop {
            match self.0.read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it lives on"),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// What the gateway makes of what was sent: streams reset, then how the connection fares. Words
    /// are `reset CODE`, `goaway CODE`, `pong`, `closed`; each once. Answers may come at any time, and
    /// with them the end of an upload that was not needed, so they do not count.
    pub(super) fn outcome(&mut self) -> String {
        self.outcome_like("pong")
    }

    /// The same where this is expected: a stream is reset by a task of its own, which may come after
    /// three answered pings, so a reset that is to come is waited for.
    pub(super) fn outcome_like(&mut self, expected: &str) -> String {
        self.send(PING, 0, 0, &PINGS[0]);
        let mut words: Vec<String> = Vec::new();
        let mut pongs = 0;
        loop {
            let word = match self.next() {
                None => "closed".to_owned(),
                Some(frame) => match frame.kind {
                    RST_STREAM if frame.payload[3] == 0 => continue,
                    RST_STREAM => format!("reset {}", frame.payload[3]),
                    GOAWAY => format!("goaway {}", frame.payload[7]),
                    PING if PINGS.contains(&frame.payload.as_slice().try_into().unwrap()) => {
                        pongs += 1;
                        if let Some(ping) = PINGS.get(pongs) {
                            self.send(PING, 0, 0, ping);
                        }
                        String::new()
                    }
                    _ => continue,
                },
            };
            let closed = word == "closed";
            if !word.is_empty() && !words.contains(&word) {
                words.push(word);
            }
            let waits = expected.starts_with("reset") && words.is_empty();
            if !closed && !waits && pongs >= PINGS.len() {
                words.push("pong".to_owned());
            } else if !closed {
                continue;
            }
            return words.join(", ");
        }
    }
}

pub(super) const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "a.example"),
];

pub(super) const POST: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "a.example"),
];

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields as literals that no table keeps (RFC 7541 §6.2.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            length(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(bytes: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        bytes.push(u8::try_from(length).unwrap());
        return;
    };
    bytes.push(127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// One setting.
pub(super) fn setting(id: u16, value: u32) -> [u8; 6] {
    let ([a, b], [c, d, e, f]) = (id.to_be_bytes(), value.to_be_bytes());
    [a, b, c, d, e, f]
}

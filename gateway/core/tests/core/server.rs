//! A strict server made of the codec: bytes in, requests or a refusal out.

use sallyport_core::call::Scheme;
use sallyport_core::h1::{BodyReader, HeaderIndex, Parse, RequestHead, parse_request};
use sallyport_core::limits::{Http1Profile, Underscores};

use crate::corpus::{Expect, Profile, Seen};

/// One connection's reading end.
pub(crate) struct Server {
    profile: Http1Profile,
    index: HeaderIndex,
    buf: Vec<u8>,
    body: Option<(Seen, BodyReader)>,
    done: Vec<Seen>,
    refused: Option<u16>,
}

impl Server {
    pub(crate) fn new(profile: Profile) -> Self {
        let mut rules = Http1Profile::edge(Scheme::Http);
        match profile {
            Profile::Edge => {}
            Profile::Sidecar => rules.underscores = Underscores::Pass,
            Profile::Http10 => rules.http10 = true,
            Profile::EdgeTls => rules.scheme = Scheme::Https,
        }
        Self {
            profile: rules,
            index: HeaderIndex::new(),
            buf: Vec::new(),
            body: None,
            done: Vec::new(),
            refused: None,
        }
    }

    /// Takes one segment.
    pub(crate) fn push(&mut self, segment: &[u8]) {
        self.buf.extend_from_slice(segment);
        while self.refused.is_none() && self.step() {}
    }

    /// Does one thing; whether there may be more to do.
    fn step(&mut self) -> bool {
        if let Some((seen, reader)) = &mut self.body {
            match reader.advance(&self.buf) {
                Ok(progress) => {
                    seen.body
                        .extend_from_slice(&self.buf[progress.payload.clone()]);
                    self.buf.drain(..progress.consumed);
                    if progress.done {
                        self.done.extend(self.body.take().map(|(seen, _)| seen));
                        return true;
                    }
                    return progress.consumed > 0;
                }
                Err(error) => self.refused = Some(error.status()),
            }
            return false;
        }
        if self.buf.is_empty() {
            return false;
        }
        match parse_request(&mut self.buf, &mut self.index, &self.profile) {
            Ok(Parse::Complete { head, len }) => {
                let seen = describe(&head, &self.buf);
                self.body = Some((seen, BodyReader::new(head.body)));
                self.buf.drain(..len);
                true
            }
            Ok(Parse::Partial) => false,
            Err(error) => {
                self.refused = Some(error.status());
                false
            }
        }
    }

    /// The verdict at the end of the input; an unfinished message shows as status 0.
    pub(crate) fn verdict(self) -> Expect {
        let unfinished = self.body.is_some() || !self.buf.is_empty();
        match self.refused {
            Some(status) => Expect::Reject {
                after: self.done,
                status,
            },
            None if unfinished => Expect::Reject {
                after: self.done,
                status: 0,
            },
            None => Expect::Accept(self.done),
        }
    }
}

fn describe(head: &RequestHead, buf: &[u8]) -> Seen {
    let text = |span: sallyport_core::h1::Span| span.text(buf).to_owned();
    Seen {
        method: text(head.method_text).leak(),
        target: text(head.target),
        authority: text(head.authority).leak(),
        body: Vec::new(),
    }
}

//! HTTP/1 of the tests' own, for clients and origins: every byte is theirs, so that either side can
//! stop at any of them.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};

use super::halves::Broken;

/// Room for what is read at once.
const READ_BYTES: usize = 64 * 1024;

/// A connection, encrypted or not.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Splits a connection into what comes and what goes.
pub(super) fn split(io: Box<dyn Io>) -> (Source, Sink) {
    let (read, write) = tokio::io::split(io);
    let source = Source {
        io: read,
        seen: BytesMut::new(),
        body: Body::None,
        trailers: HeaderMap::new(),
    };
    let sink = Sink {
        io: write,
        chunked: false,
    };
    (source, sink)
}

/// How what follows a head ends.
#[derive(Debug, Clone, Copy)]
enum Body {
    None,
    Length(u64),
    Chunk(u64),
    UntilClose,
}

/// What comes.
pub(super) struct Source {
    io: ReadHalf<Box<dyn Io>>,
    seen: BytesMut,
    body: Body,
    trailers: HeaderMap,
}

/// The first line of a head, and its fields.
pub(super) struct Lines {
    pub(super) first: String,
    pub(super) fields: HeaderMap,
}

impl Source {
    async fn more(&mut self) -> Result<(), Broken> {
        self.seen.reserve(READ_BYTES);
        match self.io.read_buf(&mut self.seen).await {
            Ok(count) if count > 0 => Ok(()),
            _ => Err(Broken),
        }
    }

    async fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(at) = self.seen.windows(2).position(|two| two == b"\r\n") {
                let line = self.seen.split_to(at);
                self.seen.advance(2);
                return Ok(String::from_utf8(line.to_vec()).unwrap());
            }
            self.more().await?;
        }
    }

    /// The lines up to an empty one.
    async fn fields(&mut self) -> Result<HeaderMap, Broken> {
        let mut fields = HeaderMap::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(": ").expect("a field");
            let name: HeaderName = name.parse().unwrap();
            fields.append(name, HeaderValue::from_str(value).unwrap());
        }
    }

    /// A whole head; behind it comes what it says.
    pub(super) async fn head(&mut self) -> Result<Lines, Broken> {
        let first = self.line().await?;
        let fields = self.fields().await?;
        let bodiless = first
            .strip_prefix("HTTP/1.1 ")
            .is_some_and(|rest| rest.starts_with('1') || rest.starts_with("204"));
        let length = fields.get("content-length");
        self.body = match length {
            _ if bodiless => Body::None,
            Some(length) => Body::Length(length.to_str().unwrap().parse().unwrap()),
            None if fields.contains_key("transfer-encoding") => Body::Chunk(0),
            None if first.starts_with("HTTP/") => Body::UntilClose,
            None => Body::None,
        };
        Ok(Lines { first, fields })
    }

    /// From now on everything is payload.
    pub(super) fn tunnel(&mut self) {
        self.body = Body::UntilClose;
    }

    /// More of the body; `None` at its end.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, Broken> {
        if let Body::Chunk(0) = self.body {
            let size = u64::from_str_radix(&self.line().await?, 16).unwrap();
            if size == 0 {
                self.trailers = self.fields().await?;
                self.body = Body::None;
                return Ok(None);
            }
            self.body = Body::Chunk(size);
        }
        let left = match self.body {
            Body::None | Body::Length(0) => return Ok(None),
            Body::Length(left) | Body::Chunk(left) => left,
            Body::UntilClose => u64::MAX,
        };
        if self.seen.is_empty() && self.more().await.is_err() {
            return match self.body {
                Body::UntilClose => Ok(None),
                _ => Err(Broken),
            };
        }
        let taken = left.min(self.seen.len() as u64);
        let data = self.seen.split_to(usize::try_from(taken).unwrap()).freeze();
        match &mut self.body {
            Body::Length(left) => *left -= taken,
            Body::Chunk(left) => {
                *left -= taken;
                if *left == 0 {
                    assert_eq!(self.line().await?, "", "behind a chunk");
                }
            }
            Body::None | Body::UntilClose => {}
        }
        Ok(Some(data))
    }

    /// What came behind the last chunk.
    pub(super) fn trailers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.trailers)
    }
}

/// What goes.
pub(super) struct Sink {
    io: WriteHalf<Box<dyn Io>>,
    chunked: bool,
}

impl Sink {
    /// Writes a head. What follows is in chunks, unless the fields give a length or `bare` says
    /// otherwise.
    pub(super) async fn head(
        &mut self,
        first: &str,
        fields: &HeaderMap,
        bare: bool,
    ) -> Result<(), Broken> {
        self.chunked = !bare && !fields.contains_key("content-length");
        let mut text = format!("{first}\r\n");
        for (name, value) in fields {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        if self.chunked {
            text.push_str("transfer-encoding: chunked\r\n");
        }
        text.push_str("\r\n");
        self.write(text.as_bytes()).await
    }

    pub(super) async fn data(&mut self, data: &[u8]) -> Result<(), Broken> {
        if !self.chunked {
            return self.write(data).await;
        }
        if data.is_empty() {
            return Ok(());
        }
        let size = format!("{:x}\r\n", data.len());
        self.io
            .write_all(size.as_bytes())
            .await
            .map_err(|_| Broken)?;
        self.io.write_all(data).await.map_err(|_| Broken)?;
        self.write(b"\r\n").await
    }

    pub(super) async fn end(&mut self, trailers: &HeaderMap) -> Result<(), Broken> {
        if !self.chunked {
            assert!(trailers.is_empty(), "trailers behind what has no chunks");
            return Ok(());
        }
        let mut text = "0\r\n".to_owned();
        for (name, value) in trailers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        text.push_str("\r\n");
        self.write(text.as_bytes()).await
    }

    /// Says that nothing more comes.
    pub(super) async fn close(&mut self) {
        // Whoever is gone need not be told.
        drop(self.io.shutdown().await);
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.io.write_all(bytes).await.map_err(|_| Broken)?;
        self.io.flush().await.map_err(|_| Broken)
    }
}

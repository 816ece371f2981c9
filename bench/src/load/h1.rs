//! HTTP/1.1: one request at a time on each connection.

use super::Shared;
use super::target::Target;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes read at once, and the longest head.
const READ_BYTES: usize = 32 * 1024;
/// Fields of a head.
const FIELDS_MAX: usize = 64;

/// A byte stream in clear or over TLS.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Bytes for T {}

/// One connection.
pub(super) struct Connection {
    stream: Box<dyn Bytes>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were received.
    filled: usize,
}

/// Asks whenever a request is due, until the time is over.
pub(super) async fn serve(shared: Rc<Shared>) {
    let mut kept: Option<Connection> = None;
    while let Some(due) = shared.schedule.next().await {
        if shared.abandons() {
            match leave(&shared.target, kept.take()).await {
                Ok(()) => shared.tally.abandoned(due),
                Err(error) => shared.tally.failed(due, &error),
            }
            continue;
        }
        match turn(&shared.target, kept.take()).await {
            Ok((status, bytes, connection)) => {
                shared.tally.answered(due, status, bytes);
                kept = connection.filter(|_| !shared.target.fresh);
            }
            Err(error) => {
                shared.tally.failed(due, &error);
                // A target that refuses is not asked in a tight loop.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Asks, and leaves before the answer.
async fn leave(target: &Target, kept: Option<Connection>) -> io::Result<()> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(target).await?,
    };
    connection.stream.write_all(&target.request).await?;
    connection.stream.flush().await
}

/// One request; the connection too, if it can be used again.
async fn turn(
    target: &Target,
    kept: Option<Connection>,
) -> io::Result<(u16, usize, Option<Connection>)> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(target).await?,
    };
    let (status, bytes, keep) = connection.ask(target).await?;
    Ok((status, bytes, keep.then_some(connection)))
}

impl Connection {
    /// Connects, and shakes hands.
    pub(super) async fn open(target: &Target) -> io::Result<Self> {
        Ok(Self {
            stream: connect(target).await?,
            buffer: vec![0; READ_BYTES],
            filled: 0,
        })
    }

    /// Sends one request and receives its answer: status, bytes of the body, and whether the
    /// connection stays.
    pub(super) async fn ask(&mut self, target: &Target) -> io::Result<(u16, usize, bool)> {
        self.stream.write_all(&target.request).await?;
        self.stream.flush().await?;
        self.filled = 0;
        let head = loop {
            self.more().await?;
            if let Some(head) = self.head()? {
                break head;
            }
        };
        let mut left = (head.head + head.body).saturating_sub(self.filled);
        while left > 0 {
            let room = self.buffer.len().min(left);
            let read = self
                .stream
                .read(self.buffer.get_mut(..room).unwrap_or_default());
            match read.await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => left -= count,
            }
        }
        Ok((head.status, head.body, head.keep))
    }

    async fn more(&mut self) -> io::Result<()> {
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match self.stream.read(room).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.filled += count;
                Ok(())
            }
        }
    }

    /// The head of the answer, when all of it is there.
    fn head(&self) -> io::Result<Option<Head>> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let received = self.buffer.get(..self.filled).unwrap_or_default();
        let parsed = response.parse(received).map_err(io::Error::other)?;
        let httparse::Status::Complete(head) = parsed else {
            return Ok(None);
        };
        let field = |name: &str| {
            let mut fields = response.headers.iter();
            let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
            str::from_utf8(field.value).ok()
        };
        let length = field("content-length").and_then(|length| length.parse().ok());
        let body = length.ok_or_else(|| io::Error::other("an answer without content-length"))?;
        Ok(Some(Head {
            status: response.code.unwrap_or_default(),
            head,
            body,
            keep: field("connection") != Some("close"),
        }))
    }
}

/// A stream to the target, in clear or over TLS.
pub(super) async fn connect(target: &Target) -> io::Result<Box<dyn Bytes>> {
    let socket = TcpStream::connect(target.address).await?;
    socket.set_nodelay(true)?;
    Ok(match &target.tls {
        None => Box::new(socket),
        Some(config) => {
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
            Box::new(connector.connect(target.name.clone(), socket).await?)
        }
    })
}

/// What a head says.
struct Head {
    status: u16,
    /// Bytes of the head.
    head: usize,
    /// Bytes of the body.
    body: usize,
    keep: bool,
}

//! The two halves of an exchange, of whatever wire: what comes and what goes, for clients and for
//! origins alike.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::Poll;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use quinn::VarInt;
use sallyport_core::h3::{Event, RequestStream, varint};

use super::plain::{Sink, Source};

type Incoming = h3::client::RequestStream<h3_quinn::RecvStream, Bytes>;
type Outgoing = h3::client::RequestStream<h3_quinn::SendStream<Bytes>, Bytes>;

/// `H3_REQUEST_CANCELLED`.
const CANCELLED: u32 = 0x10c;
/// What a section begins with whose first field is `:status: 200`.
const STATUS_200: &[u8] = &[0, 0, 0xd9];

/// The other side has ended what was not over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) fields: HeaderMap,
}

/// What comes.
pub(super) enum Inlet {
    H1(Source),
    H2 {
        response: Option<ResponseFuture>,
        body: Option<RecvStream>,
    },
    H3(Box<Incoming>),
    /// HTTP/3 frame by frame: where the library does not know a protocol.
    Frames {
        stream: quinn::RecvStream,
        reader: RequestStream,
        came: Bytes,
    },
}

impl Inlet {
    /// The next head of an answer, interim ones included.
    pub(super) async fn head(&mut self) -> Result<Head, Broken> {
        let (parts, ()) = match self {
            Self::H1(source) => {
                let lines = source.head().await?;
                let status = lines.first.split(' ').nth(1).unwrap().parse().unwrap();
                if status == 101 {
                    source.tunnel();
                }
                return Ok(Head {
                    status,
                    fields: lines.fields,
                });
            }
            Self::H2 { response, body } => {
                let waiting = response.as_mut().expect("a request");
                let answer = poll_fn(|context| {
                    if let Poll::Ready(Some(interim)) = waiting.poll_informational(context) {
                        return Poll::Ready(interim.map(|interim| interim.map(|()| None)));
                    }
                    let answered = Pin::new(&mut *waiting).poll(context);
                    answered.map_ok(|answer| answer.map(Some))
                });
                let (parts, stream) = answer.await.map_err(|_| Broken)?.into_parts();
                if stream.is_some() {
                    *body = stream;
                }
                (parts, ())
            }
            Self::H3(stream) => stream
                .recv_response()
                .await
                .map_err(|_| Broken)?
                .into_parts(),
            Self::Frames { .. } => {
                let Some(Event::Head(section)) = self.event().await? else {
                    return Err(Broken);
                };
                assert!(section.starts_with(STATUS_200), "{section:?}");
                let opened = Response::new(());
                opened.into_parts()
            }
        };
        Ok(Head {
            status: parts.status.as_u16(),
            fields: parts.headers,
        })
    }

    async fn event(&mut self) -> Result<Option<Event>, Broken> {
        let Self::Frames {
            stream,
            reader,
            came,
        } = self
        else {
            panic!("not frame by frame");
        };
        loop {
            if let Some(event) = reader.read(came).unwrap() {
                return Ok(Some(event));
            }
            match stream.read_chunk(64 * 1024, true).await {
                Ok(Some(chunk)) => *came = chunk.bytes,
                Ok(None) => return Ok(None),
                Err(_) => return Err(Broken),
            }
        }
    }

    /// More of the body; `None` at its end.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, Broken> {
        match self {
            Self::H1(source) => source.data().await,
            Self::H2 { body, .. } => {
                let body = body.as_mut().expect("a head");
                let Some(data) = body.data().await else {
                    return Ok(None);
                };
                let data = data.map_err(|_| Broken)?;
                let released = body.flow_control().release_capacity(data.len());
                released.map_err(|_| Broken)?;
                Ok(Some(data))
            }
            Self::H3(stream) => {
                let data = stream.recv_data().await.map_err(|_| Broken)?;
                Ok(data.map(|mut data| data.copy_to_bytes(data.remaining())))
            }
            Self::Frames { .. } => match self.event().await? {
                Some(Event::Data(data)) => Ok(Some(data)),
                Some(_) => Err(Broken),
                None => Ok(None),
            },
        }
    }

    /// What came behind the body.
    pub(super) async fn trailers(&mut self) -> Result<HeaderMap, Broken> {
        let trailers = match self {
            Self::H1(source) => Some(source.trailers()),
            Self::H2 { body, .. } => {
                let body = body.as_mut().expect("a head");
                body.trailers().await.map_err(|_| Broken)?
            }
            Self::H3(stream) => stream.recv_trailers().await.map_err(|_| Broken)?,
            Self::Frames { .. } => None,
        };
        Ok(trailers.unwrap_or_default())
    }

    /// All of the body.
    pub(super) async fn whole(&mut self) -> Result<Vec<u8>, Broken> {
        let mut all = Vec::new();
        while let Some(data) = self.data().await? {
            all.extend_from_slice(&data);
        }
        Ok(all)
    }

    /// So much of the body, at least.
    pub(super) async fn some(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend_from_slice(&self.data().await?.ok_or(Broken)?);
        }
        Ok(all)
    }
}

/// What goes.
pub(super) enum Outlet {
    H1(Sink),
    H2 {
        respond: Option<SendResponse<Bytes>>,
        stream: Option<SendStream<Bytes>>,
    },
    H3(Box<Outgoing>),
    /// HTTP/3 frame by frame.
    Frames(quinn::SendStream),
}

impl Outlet {
    /// Sends the head of an answer, of an interim one below 200. `last`: nothing follows it.
    pub(super) async fn answer(
        &mut self,
        status: u16,
        fields: &HeaderMap,
        last: bool,
    ) -> Result<(), Broken> {
        match self {
            Self::H1(sink) => {
                let first = format!("HTTP/1.1 {status} x");
                sink.head(&first, fields, status < 200).await
            }
            Self::H2 { respond, stream } => {
                let mut response = Response::new(());
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                *response.headers_mut() = fields.clone();
                let respond = respond.as_mut().expect("an origin");
                if status < 200 {
                    return respond.send_informational(response).map_err(|_| Broken);
                }
                let sent = respond.send_response(response, last).map_err(|_| Broken)?;
                *stream = (!last).then_some(sent);
                Ok(())
            }
            Self::H3(_) | Self::Frames(_) => panic!("no origin of HTTP/3"),
        }
    }

    /// Sends payload, as fast as the other side takes it.
    pub(super) async fn data(&mut self, mut data: Bytes) -> Result<(), Broken> {
        match self {
            Self::H1(sink) => sink.data(&data).await,
            Self::H2 { stream, .. } => {
                let stream = stream.as_mut().ok_or(Broken)?;
                while !data.is_empty() {
                    stream.reserve_capacity(data.len());
                    let room = poll_fn(|context| stream.poll_capacity(context)).await;
                    let room = room.ok_or(Broken)?.map_err(|_| Broken)?;
                    let part = data.split_to(room.min(data.len()));
                    stream.send_data(part, false).map_err(|_| Broken)?;
                }
                Ok(())
            }
            Self::H3(stream) => stream.send_data(data).await.map_err(|_| Broken),
            Self::Frames(stream) => {
                let mut frame = Vec::new();
                varint::write(&mut frame, 0);
                varint::write(&mut frame, data.len() as u64);
                frame.extend_from_slice(&data);
                stream.write_all(&frame).await.map_err(|_| Broken)
            }
        }
    }

    /// Ends what was sent.
    pub(super) async fn end(&mut self, trailers: &HeaderMap) -> Result<(), Broken> {
        match self {
            Self::H1(sink) => sink.end(trailers).await,
            Self::H2 { stream, .. } => {
                let Some(mut stream) = stream.take() else {
                    return Ok(());
                };
                let sent = if trailers.is_empty() {
                    stream.send_data(Bytes::new(), true)
                } else {
                    stream.send_trailers(trailers.clone())
                };
                sent.map_err(|_| Broken)
            }
            Self::H3(stream) => {
                if !trailers.is_empty() {
                    let sent = stream.send_trailers(trailers.clone()).await;
                    sent.map_err(|_| Broken)?;
                }
                stream.finish().await.map_err(|_| Broken)
            }
            Self::Frames(stream) => stream.finish().map_err(|_| Broken),
        }
    }

    /// Ends a tunnel.
    pub(super) async fn close(&mut self) {
        match self {
            Self::H1(sink) => sink.close().await,
            _ => drop(self.end(&HeaderMap::new()).await),
        }
    }

    /// Ends it so that it looks cut off.
    pub(super) async fn cut(&mut self) {
        match self {
            Self::H1(sink) => sink.close().await,
            Self::H2 { respond, stream } => match (stream, respond) {
                (Some(stream), _) => stream.send_reset(Reason::CANCEL),
                (None, Some(respond)) => respond.send_reset(Reason::INTERNAL_ERROR),
                (None, None) => {}
            },
            Self::H3(stream) => stream.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED),
            Self::Frames(stream) => drop(stream.reset(VarInt::from_u32(CANCELLED))),
        }
    }
}

/// Fields from text.
pub(super) fn fields(of: &[(&'static str, &'static str)]) -> HeaderMap {
    let one = |(name, value): &(&'static str, &'static str)| {
        (
            http::HeaderName::from_static(name),
            http::HeaderValue::from_static(value),
        )
    };
    of.iter().map(one).collect()
}

/// A body whose every byte is known by its place.
pub(super) fn pattern(from: usize, count: usize) -> Bytes {
    /// A prime, so that no buffer's size hides a shift.
    const PERIOD: usize = 251;
    const AT_ONCE: usize = 64 * 1024;
    static BYTES: LazyLock<Bytes> = LazyLock::new(|| {
        let bytes: BytesMut = (0..AT_ONCE + PERIOD)
            .map(|at| u8::try_from(at % PERIOD).unwrap())
            .collect();
        bytes.freeze()
    });
    let start = from % PERIOD;
    BYTES.slice(start..start + count.min(AT_ONCE))
}

//! gRPC through a worker, with a client and a server that are not ours.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use sallyport_config::ir;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, tokio_stream};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::support::{House, Lines, PATIENCE, on_each_driver, snapshot};

#[derive(Clone, PartialEq, prost::Message)]
struct Note {
    #[prost(string, tag = "1")]
    text: String,
}

fn note(text: &str) -> Note {
    Note {
        text: text.to_owned(),
    }
}

fn codec() -> ProstCodec<Note, Note> {
    ProstCodec::default()
}

/// A service whose methods do what their names say.
#[derive(Debug, Clone, Default)]
pub(super) struct Echo {
    /// A call that hangs was dropped.
    dropped: Arc<AtomicBool>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(codec());
            Ok(match request.uri().path() {
                "/test.Echo/Chat" => grpc.streaming(echo, request).await,
                "/test.Echo/Many" => grpc.server_streaming(echo, request).await,
                _ => grpc.unary(echo, request).await,
            })
        })
    }
}

/// One note back for one; some words mean something.
impl Service<Request<Note>> for Echo {
    type Response = Response<Note>;
    type Error = Status;
    type Future = BoxFuture<Response<Note>, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Note>) -> Self::Future {
        struct Dropped(Arc<AtomicBool>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let dropped = Dropped(Arc::clone(&self.dropped));
        Box::pin(async move {
            let note = request.into_inner();
            match note.text.as_str() {
                "missing" => Err(Status::not_found("no such note")),
                "hang" => {
                    let _held = dropped;
                    std::future::pending().await
                }
                _ => Ok(Response::new(note)),
            }
        })
    }
}

/// Every note back as it comes.
impl tonic::server::StreamingService<Note> for Echo {
    type Response = Note;
    type ResponseStream = Streaming<Note>;
    type Future = BoxFuture<Response<Streaming<Note>>, Status>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(request.into_inner())) })
    }
}

/// A hundred notes for one.
impl tonic::server::ServerStreamingService<Note> for Echo {
    type Response = Note;
    type ResponseStream = tokio_stream::Iter<std::vec::IntoIter<Result<Note, Status>>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Note>) -> Self::Future {
        let note = request.into_inner();
        Box::pin(async move {
            let notes: Vec<_> = (0..100).map(|_| Ok(note.clone())).collect();
            Ok(Response::new(tokio_stream::iter(notes)))
        })
    }
}

pub(super) fn serve(echo: Echo) -> SocketAddr {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let incoming = TcpIncoming::bind(address).unwrap();
            sender.send(incoming.local_addr().unwrap()).unwrap();
            let server = Server::builder().add_service(echo);
            server.serve_with_incoming(incoming).await.unwrap();
        });
    });
    address.recv().unwrap()
}

/// Runs calls of a client on each driver, through the gateway to the service.
fn calls(test: impl AsyncFn(tonic::client::Grpc<Channel>, &Echo) + Copy) {
    on_each_driver(|driver| {
        let echo = Echo::default();
        let lines = Lines::new("grpc");
        let mut snapshot = snapshot(serve(echo.clone()));
        snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
        lines.write_to(
            &mut snapshot,
            "%GRPC_STATUS% %PROTOCOL% %UPSTREAM_PROTOCOL%",
        );
        let house = House::open(driver, snapshot);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://{}", house.door)).unwrap();
            let endpoint = endpoint.origin("http://a.example".parse().unwrap());
            let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
            client.ready().await.unwrap();
            let work = test(client, &echo);
            tokio::time::timeout(PATIENCE, work).await.unwrap();
        });
        assert!(lines.take(1)[0].ends_with(" HTTP/2 HTTP/2"));
        house.close();
    });
}

fn method(name: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(name)
}

#[test]
fn unary_calls_and_their_errors() {
    calls(async |mut client, _| {
        let path = || method("/test.Echo/One");
        let asked = Request::new(note("hello"));
        let answer = client.unary(asked, path(), codec()).await.unwrap();
        assert_eq!(answer.into_inner(), note("hello"));
        client.ready().await.unwrap();
        let asked = Request::new(note("missing"));
        let error = client.unary(asked, path(), codec()).await.unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (Code::NotFound, "no such note")
        );
    });
}

#[test]
fn notes_stream_one_way_and_both_ways() {
    calls(async |mut client, _| {
        let asked = Request::new(note("many"));
        let path = method("/test.Echo/Many");
        let mut notes = client.server_streaming(asked, path, codec()).await.unwrap();
        let mut count = 0;
        while let Some(got) = notes.get_mut().message().await.unwrap() {
            assert_eq!(got, note("many"));
            count += 1;
        }
        assert_eq!(count, 100);

        client.ready().await.unwrap();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let stream = Notes(receiver);
        let path = method("/test.Echo/Chat");
        let chat = client.streaming(Request::new(stream), path, codec());
        let mut chat = chat.await.unwrap().into_inner();
        // Each is answered before the next is said.
        for word in ["one", "two", "three"] {
            sender.send(note(word)).await.unwrap();
            assert_eq!(chat.message().await.unwrap(), Some(note(word)));
        }
        drop(sender);
        assert_eq!(chat.message().await.unwrap(), None);
    });
}

/// Notes as they are handed over.
struct Notes(tokio::sync::mpsc::Receiver<Note>);

impl tokio_stream::Stream for Notes {
    type Item = Note;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Note>> {
        self.0.poll_recv(context)
    }
}

#[test]
fn deadlines_and_cancels_reach_the_service() {
    calls(async |mut client, echo| {
        let path = || method("/test.Echo/One");
        let mut asked = Request::new(note("hang"));
        asked.set_timeout(Duration::from_millis(100));
        let error = client.unary(asked, path(), codec()).await.unwrap_err();
        let late = [Code::DeadlineExceeded, Code::Cancelled, Code::Unavailable];
        assert!(late.contains(&error.code()), "{error:?}");
        wait(&echo.dropped).await;

        echo.dropped.store(false, Ordering::Relaxed);
        client.ready().await.unwrap();
        let call = client.unary(Request::new(note("hang")), path(), codec());
        let cut = tokio::time::timeout(Duration::from_millis(100), call).await;
        assert!(cut.is_err(), "it did not hang");
        wait(&echo.dropped).await;
    });
}

/// The service has seen the end of a call.
async fn wait(dropped: &AtomicBool) {
    while !dropped.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! gRPC-Web through a worker to a gRPC server that is not ours, over every wire.

use bytes::{Buf, Bytes};
use http::{Method, Request};
use sallyport_config::ir;
use sallyport_core::grpc_web::{Decoder, Web};

use super::grpc::{Echo, serve};
use super::support::{Client, House, Lines, field, on_each_driver, snapshot};
use super::tls::{pair, secured};
use super::{h3, http2};

/// A client's side: what it sends, and what it wants.
const BINARY: (&str, Web) = ("application/grpc-web+proto", web(false));
const TEXT: (&str, Web) = ("application/grpc-web-text", web(true));

const fn web(text: bool) -> Web {
    Web {
        text_up: text,
        text_down: text,
    }
}

/// A message that holds one text, in its frame.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0, 0, 0, 0, length + 2, 0x0a, length], text.as_bytes()].concat()
}

/// A body as the client sends it: as text, each byte is padded by itself.
fn sent(web: Web, frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame.chunks(1).for_each(|byte| web.write(byte, &mut out));
    out
}

/// The whole frames of a body: first byte and payload.
fn frames(web: Web, body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut bytes = body.to_vec();
    if web.text_down {
        let mut decoder = Decoder::default();
        bytes.clear();
        decoder.read(body, &mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    let mut out = Vec::new();
    while let [kind, a, b, c, d, more @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap();
        let Some((payload, after)) = more.split_at_checked(length) else {
            break;
        };
        out.push((*kind, payload.to_vec()));
        rest = after;
    }
    out
}

/// Whether the last frame says that all went well.
fn went_well(last: &(u8, Vec<u8>)) -> bool {
    let trailers = String::from_utf8(last.1.clone()).unwrap();
    last.0 == 0x80 && trailers.lines().any(|line| line == "grpc-status: 0")
}

/// A house that translates, in front of a server of gRPC.
fn house(driver: crate::rt::DriverChoice, lines: &Lines) -> House {
    let mut snapshot = snapshot(serve(Echo::default()));
    snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
    let ir::ListenerKind::Plain(ir::Service::Http(http)) = &mut snapshot.listeners[0].kind else {
        panic!("no HTTP");
    };
    http.grpc_web = true;
    lines.write_to(&mut snapshot, "%RESPONSE_CODE% %GRPC_STATUS% %PROTOCOL%");
    House::open(driver, snapshot)
}

/// Head and body of an answer over HTTP/1.
fn ask(house: &House, method: &str, kind: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut client: Client<_> = house.client();
    let head = format!(
        "POST /test.Echo/{method} HTTP/1.1\r\nhost: a.example\r\ncontent-type: {kind}\r\n\
         accept: {kind}\r\nx-grpc-web: 1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let asked = [head.as_bytes(), body].concat();
    std::io::Write::write_all(&mut client.stream, &asked).unwrap();
    let head = client.head().unwrap();
    let body = match field(&head, "transfer-encoding") {
        Some(_) => client.whole_chunks().unwrap(),
        None => Vec::new(),
    };
    (head, body)
}

#[test]
fn calls_over_http1_end_with_a_frame_of_trailers() {
    on_each_driver(|driver| {
        let lines = Lines::new("grpc-web");
        let house = house(driver, &lines);
        for (count, (kind, web)) in [(1, BINARY), (3, TEXT)] {
            let (head, body) = ask(&house, "One", kind, &sent(web, &frame("hello")));
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(field(&head, "content-type"), Some(web.content_type()));
            let seen = frames(web, &body);
            assert_eq!(seen[0], (0, frame("hello")[5..].to_vec()));
            assert!(seen.len() == 2 && went_well(&seen[1]), "{seen:?}");
            assert_eq!(lines.take(count)[count - 1], "200 OK HTTP/1.1");
            let (_, body) = ask(&house, "Many", kind, &sent(web, &frame("many")));
            let seen = frames(web, &body);
            assert!(seen.len() == 101 && went_well(&seen[100]), "{}", seen.len());
            lines.take(count + 1);
        }
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn answers_without_a_message_are_heads_only() {
    on_each_driver(|driver| {
        let lines = Lines::new("grpc-web-failed");
        let house = house(driver, &lines);
        for (kind, web) in [BINARY, TEXT] {
            let (head, body) = ask(&house, "One", kind, &sent(web, &frame("missing")));
            assert_eq!(field(&head, "grpc-status"), Some("5"), "{head}");
            assert_eq!(field(&head, "content-type"), Some(web.content_type()));
            assert!(body.is_empty());
        }
        // An answer of our own to what is no text.
        let (head, _) = ask(&house, "One", TEXT.0, b"!!!!");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(field(&head, "grpc-status"), Some("13"), "{head}");
        assert_eq!(field(&head, "content-type"), Some(TEXT.1.content_type()));
        assert_eq!(
            lines.take(3),
            [
                "200 NotFound HTTP/1.1",
                "200 NotFound HTTP/1.1",
                "200 Internal HTTP/1.1"
            ]
        );
        house.close();
    });
}

#[test]
fn calls_over_http2_stream_in_both_directions() {
    on_each_driver(|driver| {
        let lines = Lines::new("grpc-web-h2");
        let house = house(driver, &lines);
        for (kind, web) in [BINARY, TEXT] {
            http2::client(&house, async |send| {
                let mut send = send.ready().await.unwrap();
                let request = Request::builder().method(Method::POST);
                let request = request
                    .uri("http://a.example/test.Echo/Chat")
                    .header("content-type", kind)
                    .header("accept", kind);
                let (response, mut up) =
                    send.send_request(request.body(()).unwrap(), false).unwrap();
                up.send_data(Bytes::from(sent(web, &frame("one"))), false)
                    .unwrap();
                let response = response.await.unwrap();
                assert_eq!(response.headers()["content-type"], web.content_type());
                let mut down = response.into_body();
                // The first is answered before the second is said.
                let mut body = Vec::new();
                while frames(web, &body).is_empty() {
                    body.extend(down.data().await.unwrap().unwrap());
                }
                up.send_data(Bytes::from(sent(web, &frame("two"))), true)
                    .unwrap();
                let (rest, trailers) = http2::whole(&mut down).await.unwrap();
                assert!(trailers.is_none());
                let seen = frames(web, &[body, rest].concat());
                assert_eq!(seen[1], (0, frame("two")[5..].to_vec()));
                assert!(seen.len() == 3 && went_well(&seen[2]), "{seen:?}");
            });
        }
        assert_eq!(lines.take(2)[1], "200 OK HTTP/2");
        house.close();
    });
}

#[test]
fn calls_over_http3_stream_in_both_directions() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let lines = Lines::new("grpc-web-h3");
        let mut snapshot = secured(serve(Echo::default()), &[("a.example", &a)]);
        snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
        if let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind
            && let ir::Service::Http(http) = &mut chains[0].service
        {
            http.grpc_web = true;
        }
        lines.write_to(&mut snapshot, "%RESPONSE_CODE% %GRPC_STATUS% %PROTOCOL%");
        let house = House::open(driver, snapshot);
        h3::run(async {
            let client = h3::endpoint(&a);
            let (_connection, mut send) = h3::connect(&client, house.door, "a.example").await;
            for (kind, web) in [BINARY, TEXT] {
                let request = Request::post("https://a.example/test.Echo/Chat")
                    .header("content-type", kind)
                    .header("accept", kind);
                let mut stream = send.send_request(request.body(()).unwrap()).await.unwrap();
                let said = |text| Bytes::from(sent(web, &frame(text)));
                stream.send_data(said("one")).await.unwrap();
                let response = stream.recv_response().await.unwrap();
                assert_eq!(response.headers()["content-type"], web.content_type());
                // The first is answered before the second is said.
                let mut body = Vec::new();
                while frames(web, &body).is_empty() {
                    body.extend(chunk(&mut stream).await.unwrap());
                }
                stream.send_data(said("two")).await.unwrap();
                stream.finish().await.unwrap();
                while let Some(more) = chunk(&mut stream).await {
                    body.extend(more);
                }
                assert!(stream.recv_trailers().await.unwrap().is_none());
                let seen = frames(web, &body);
                assert_eq!(seen[1], (0, frame("two")[5..].to_vec()));
                assert!(seen.len() == 3 && went_well(&seen[2]), "{seen:?}");
            }
        });
        assert_eq!(lines.take(2), ["200 OK HTTP/3"; 2]);
        house.close();
    });
}

/// The next piece of an answer over HTTP/3.
async fn chunk(stream: &mut h3::Stream) -> Option<Vec<u8>> {
    let mut data = stream.recv_data().await.unwrap()?;
    let mut out = vec![0; data.remaining()];
    data.copy_to_slice(&mut out);
    Some(out)
}

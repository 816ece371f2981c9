//! What every cell must be able to do, one small function each.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::super::support::PATIENCE;
use super::cell::{Bench, Cell, Wire};
use super::client::{Ask, Call};
use super::halves::{Broken, fields, pattern};

/// One thing that every cell must be able to do, if it can be asked for there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    Empty,
    Small,
    Large,
    Trailers,
    Early,
    ClientCancels,
    OriginCancels,
    Retry,
    Mirror,
    WebSocket,
    Continue,
    EarlyHints,
    Grpc,
}

/// Bytes of a small body, of a large one, and of a large one in the cells that are not on the
/// diagonal.
const SMALL: usize = 1024;
const LARGE: usize = 64 * 1024 * 1024;
const LESS_LARGE: usize = 4 * 1024 * 1024;

impl Feature {
    pub(super) const ALL: [Self; 13] = [
        Self::Empty,
        Self::Small,
        Self::Large,
        Self::Trailers,
        Self::Early,
        Self::ClientCancels,
        Self::OriginCancels,
        Self::Retry,
        Self::Mirror,
        Self::WebSocket,
        Self::Continue,
        Self::EarlyHints,
        Self::Grpc,
    ];

    /// As the table heads its column.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "0 B",
            Self::Small => "1 KiB",
            Self::Large => "large",
            Self::Trailers => "trailers",
            Self::Early => "early answer",
            Self::ClientCancels => "client cancels",
            Self::OriginCancels => "origin cancels",
            Self::Retry => "retry",
            Self::Mirror => "mirror",
            Self::WebSocket => "WebSocket",
            Self::Continue => "100",
            Self::EarlyHints => "103",
            Self::Grpc => "gRPC",
        }
    }

    /// Why a cell cannot be asked for it.
    pub(super) fn without(self, cell: Cell) -> Option<&'static str> {
        match self {
            Self::EarlyHints if cell.client == Wire::H1 => Some("not sent"),
            Self::Grpc if cell.client == Wire::H1 => Some("not spoken"),
            _ => None,
        }
    }

    /// Tries it; panics if it does not work.
    pub(super) async fn run(self, bench: &mut Bench) {
        match self {
            Self::Empty => body(bench, 0).await,
            Self::Small => body(bench, SMALL).await,
            Self::Large => {
                let diagonal =
                    bench.cell.client == bench.cell.origin || bench.cell.client == Wire::H3;
                body(bench, if diagonal { LARGE } else { LESS_LARGE }).await;
            }
            Self::Trailers => trailers(bench).await,
            Self::Early => early(bench).await,
            Self::ClientCancels => client_cancels(bench).await,
            Self::OriginCancels => origin_cancels(bench).await,
            Self::Retry => retry(bench).await,
            Self::Mirror => mirror(bench).await,
            Self::WebSocket => websocket(bench).await,
            Self::Continue => expectation(bench).await,
            Self::EarlyHints => early_hints(bench).await,
            Self::Grpc => grpc(bench).await,
        }
    }
}

/// A body that is on its way up and down at the same time.
async fn body(bench: &mut Bench, size: usize) {
    let Call { mut up, mut down } = bench.client.call(&Ask::post("/echo")).await;
    let sending = async {
        let mut sent = 0;
        while sent < size {
            let part = pattern(sent, size - sent);
            sent += part.len();
            up.data(part).await.unwrap();
        }
        up.end(&HeaderMap::new()).await.unwrap();
    };
    let receiving = async {
        let head = down.head().await.unwrap();
        assert_eq!(head.status, 200);
        let mut came = 0;
        while let Some(mut data) = down.data().await.unwrap() {
            while !data.is_empty() {
                let want = pattern(came, data.len());
                let part = data.split_to(want.len());
                assert!(part == want, "another byte than was sent, near {came}");
                came += part.len();
            }
        }
        assert_eq!(came, size);
    };
    tokio::join!(sending, receiving);
}

async fn trailers(bench: &mut Bench) {
    let Call { mut up, mut down } = bench.client.call(&Ask::post("/echo")).await;
    up.data(Bytes::from_static(b"body")).await.unwrap();
    up.end(&fields(&[("x-sum", "7")])).await.unwrap();
    assert_eq!(down.head().await.unwrap().status, 200);
    assert_eq!(down.whole().await.unwrap(), b"body");
    let came = down.trailers().await.unwrap();
    assert_eq!(came.get("x-sum").unwrap(), "7", "up and down again");
    assert_eq!(came.get("x-end").unwrap(), "true");
}

/// The answer comes whole although the request never does.
async fn early(bench: &mut Bench) {
    let Call { mut up, mut down } = bench.client.call(&Ask::post("/early")).await;
    up.data(Bytes::from_static(b"the first of many"))
        .await
        .unwrap();
    assert_eq!(down.head().await.unwrap().status, 403);
    assert_eq!(down.whole().await.unwrap(), b"early");
}

/// Waits for something that the origin sees.
async fn seen(bench: &Bench, what: &str, is: impl Fn(&Bench) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is(bench) {
        assert!(Instant::now() < end, "the origin never saw {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The client leaves after some bytes of either direction; the origin is told.
async fn client_cancels(bench: &mut Bench) {
    let points: [(&'static str, usize, usize); 4] = [
        ("/echo", 0, 0),
        ("/echo", 10, 10),
        ("/echo", 100_000, 0),
        ("/download", 0, 200_000),
    ];
    for (path, sent, received) in points {
        let (before, begun) = {
            let seen = bench.origin.seen();
            (seen.broken, seen.requests.len())
        };
        let Call { mut up, mut down } = bench.client.call(&Ask::post(path)).await;
        if sent > 0 {
            let sending = async {
                let mut left = sent;
                while left > 0 {
                    let part = pattern(0, left);
                    left -= part.len();
                    up.data(part).await.unwrap();
                }
            };
            // What is sent back fills the way down unless it is taken.
            let receiving = async {
                assert_eq!(down.head().await.unwrap().status, 200);
                down.some(sent).await.unwrap();
            };
            tokio::join!(sending, receiving);
        } else if received > 0 {
            assert_eq!(down.head().await.unwrap().status, 200);
            down.some(received).await.unwrap();
        }
        // Without a request there is nothing to break off.
        seen(bench, "the request", |b| {
            b.origin.seen().requests.len() > begun
        })
        .await;
        up.cut().await;
        drop((up, down));
        seen(bench, "the end", |b| b.origin.seen().broken > before).await;
    }
}

/// The origin breaks off: before its head, and in the midst of its body.
async fn origin_cancels(bench: &mut Bench) {
    let Call { mut down, .. } = bench.client.call(&Ask::get("/reset")).await;
    assert_eq!(down.head().await.unwrap().status, 503);
    let Call { mut up, mut down } = bench.client.call(&Ask::post("/torn")).await;
    assert_eq!(down.head().await.unwrap().status, 200);
    assert_eq!(down.some(4).await.unwrap(), b"half");
    up.data(Bytes::from_static(b"go on")).await.unwrap();
    assert_eq!(down.whole().await, Err(Broken));
}

/// The first try fails; the second gets the same body.
async fn retry(bench: &mut Bench) {
    let Call { mut up, mut down } = bench.client.call(&Ask::post("/retry")).await;
    up.data(Bytes::from_static(b"again")).await.unwrap();
    up.end(&HeaderMap::new()).await.unwrap();
    assert_eq!(down.head().await.unwrap().status, 200);
    assert_eq!(down.whole().await.unwrap(), b"again");
    let tries = bench.origin.seen().requests.clone();
    assert!(tries.ends_with(&["POST /retry 1".to_owned(), "POST /retry 2".to_owned()]));
}

async fn mirror(bench: &mut Bench) {
    let Call { mut down, .. } = bench.client.call(&Ask::get("/copy")).await;
    assert_eq!(down.head().await.unwrap().status, 200);
    assert_eq!(down.whole().await.unwrap(), b"");
    seen(bench, "the copy", |b| {
        b.shadow.seen().requests == ["GET /copy 1"]
    })
    .await;
}

/// Bytes both ways, those that come early included; the end of one direction is the other's.
async fn websocket(bench: &mut Bench) {
    let Call { mut up, mut down } = bench.client.call(&Ask::websocket("/socket")).await;
    up.data(Bytes::from_static(b"early ")).await.unwrap();
    let head = down.head().await.unwrap();
    let switched = if bench.cell.client == Wire::H1 {
        101
    } else {
        200
    };
    assert_eq!(head.status, switched, "{:?}", head.fields);
    let accept = head.fields.get("sec-websocket-accept");
    if (bench.cell.client, bench.cell.origin) == (Wire::H1, Wire::H2) {
        assert_eq!(
            accept.unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "RFC 6455 §1.3"
        );
    }
    up.data(Bytes::from_static(b"birds")).await.unwrap();
    assert_eq!(down.some(11).await.unwrap(), b"early birds");
    up.close().await;
    assert_eq!(down.whole().await.unwrap(), b"");
}

/// The client sends its body when it is told to.
async fn expectation(bench: &mut Bench) {
    let ask = Ask::post("/expect").with("expect", "100-continue");
    let Call { mut up, mut down } = bench.client.call(&ask).await;
    assert_eq!(down.head().await.unwrap().status, 100);
    up.data(Bytes::from_static(b"body")).await.unwrap();
    up.end(&HeaderMap::new()).await.unwrap();
    assert_eq!(down.head().await.unwrap().status, 200);
    assert_eq!(down.whole().await.unwrap(), b"body");
}

/// Hints come before the answer.
async fn early_hints(bench: &mut Bench) {
    let Call { mut down, .. } = bench.client.call(&Ask::get("/hints")).await;
    let hints = down.head().await.unwrap();
    assert_eq!(hints.status, 103);
    assert_eq!(hints.fields["link"], "</style.css>; rel=preload");
    assert_eq!(down.head().await.unwrap().status, 200);
    assert_eq!(down.whole().await.unwrap(), b"");
}

/// A call whose status comes behind its messages, and one whose status is in the head.
async fn grpc(bench: &mut Bench) {
    let ask = |path| Ask::post(path).with("content-type", "application/grpc");
    let Call { mut up, mut down } = bench.client.call(&ask("/grpc")).await;
    up.data(Bytes::from_static(b"\0\0\0\0\x02hi"))
        .await
        .unwrap();
    assert_eq!(down.head().await.unwrap().status, 200);
    assert_eq!(
        down.some(7).await.unwrap(),
        b"\0\0\0\0\x02hi",
        "before the request's end"
    );
    up.end(&HeaderMap::new()).await.unwrap();
    assert_eq!(down.whole().await.unwrap(), b"");
    assert_eq!(down.trailers().await.unwrap()["x-end"], "true");

    let Call { mut up, mut down } = bench.client.call(&ask("/grpc-only")).await;
    up.end(&HeaderMap::new()).await.unwrap();
    let head = down.head().await.unwrap();
    assert_eq!(
        (head.status, &head.fields["grpc-status"]),
        (200, &"5".parse().unwrap())
    );
    assert_eq!(down.whole().await.unwrap(), b"");
    assert!(down.trailers().await.unwrap().is_empty());
}

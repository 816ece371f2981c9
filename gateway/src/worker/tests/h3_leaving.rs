//! How HTTP/3 connections end: with notice where the client did nothing wrong, and with the code that
//! says why where it did.

use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};
use sallyport_config::ir::Millis;
use sallyport_core::h3::varint;

use super::h3::{closed_with, endpoint, meanwhile, run};
use super::h3_frames::get_with;
use super::support::{Act, House, Origin, on_each_driver};
use super::tls::{pair, secured};

const CANCELLED: VarInt = VarInt::from_u32(0x10c);

async fn connect(client: &quinn::Endpoint, house: &House) -> Connection {
    let connecting = client.connect(house.door, "a.example").unwrap();
    connecting.await.unwrap()
}

/// Sends a request that ends with its head.
async fn ask(connection: &Connection) -> (SendStream, RecvStream) {
    let (mut send, receive) = connection.open_bi().await.unwrap();
    send.write_all(&get_with(&[])).await.unwrap();
    send.finish().unwrap();
    (send, receive)
}

/// Requests of the next GOAWAY on the gateway's control stream, whose beginning has been read.
async fn goaway(control: &mut RecvStream) -> u64 {
    let mut frame = [0; 2];
    control.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[0], 7, "GOAWAY");
    let mut id = vec![0; frame[1].into()];
    control.read_exact(&mut id).await.unwrap();
    varint::read(&id).unwrap().0
}

/// The gateway's control stream behind its SETTINGS.
async fn control(connection: &Connection) -> RecvStream {
    let mut control = connection.accept_uni().await.unwrap();
    let mut head = [0; 3];
    control.read_exact(&mut head).await.unwrap();
    assert_eq!(head[..2], [0, 4], "SETTINGS");
    let mut settings = vec![0; head[2].into()];
    control.read_exact(&mut settings).await.unwrap();
    control
}

#[test]
fn a_client_is_told_before_its_requests_are_refused() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        // the origin never answers
        let origin = Origin::script(vec![Act::Read(1 << 30)]);
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let client = endpoint(&a);
            let connection = connect(&client, &house).await;
            let mut control = control(&connection).await;
            let (_send, mut receive) = ask(&connection).await;
            while origin.connections() == 0 {
                tokio::task::yield_now().await;
            }
            let draining = house.start_drain();
            assert_eq!(goaway(&mut control).await, (1 << 62) - 4);
            assert_eq!(goaway(&mut control).await, 4);
            let (_late, mut refused) = ask(&connection).await;
            let end = refused.read_chunk(1, true).await;
            let rejected = VarInt::from_u32(0x10b);
            assert!(matches!(end, Err(ReadError::Reset(code)) if code == rejected));
            receive.stop(CANCELLED).unwrap();
            let end = connection.closed().await;
            assert_eq!(closed_with(&end), Some(0x100), "{end:?}");
            assert_eq!(draining.await, Ok(0));
        });
    });
}

#[test]
fn connections_that_are_idle_or_old_end() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        for old in [false, true] {
            let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            let mut snapshot = secured(origin.address, &[("a.example", &a)]);
            let limits = &mut snapshot.settings.connection;
            let limit = if old {
                &mut limits.max_connection_duration
            } else {
                &mut limits.idle_timeout
            };
            *limit = Some(Millis(50));
            let house = House::open(driver, snapshot);
            run(async {
                let client = endpoint(&a);
                let connection = connect(&client, &house).await;
                let mut control = control(&connection).await;
                assert_eq!(goaway(&mut control).await, (1 << 62) - 4);
                let end = connection.closed().await;
                assert_eq!(closed_with(&end), Some(0x100), "{end:?}");
            });
            assert_eq!(house.close(), 0);
        }
    });
}

#[test]
fn what_was_answered_arrives_before_the_end() {
    let a = pair("a.example");
    let body = vec![b'x'; 512 * 1024];
    let mut reply = b"HTTP/1.1 200 OK\r\ncontent-length: 524288\r\n\r\n".to_vec();
    reply.extend(&body);
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Send(reply.clone())]);
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let client = endpoint(&a);
            let connection = connect(&client, &house).await;
            let (_send, mut receive) = ask(&connection).await;
            let first = receive.read_chunk(1_024, true).await.unwrap().unwrap();
            // This thread is the client's: while it waits here nothing is acknowledged.
            meanwhile(|| house.report_when(|report| report.in_flight == 0));
            let draining = house.start_drain();
            let rest = receive.read_to_end(1 << 20).await.unwrap();
            assert!(first.bytes.len() + rest.len() > body.len());
            let end = connection.closed().await;
            assert_eq!(closed_with(&end), Some(0x100), "{end:?}");
            assert_eq!(draining.await, Ok(0));
        });
    });
}

/// A request that was given up before its head came is a reset and nothing worse: a client that
/// gives up every fourth stays for as long as it likes.
#[test]
fn a_client_that_gives_up_some_of_its_requests_is_kept() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let client = endpoint(&a);
            let connection = connect(&client, &house).await;
            for _ in 0..200 {
                let (mut send, mut receive) = connection.open_bi().await.unwrap();
                send.write_all(&get_with(&[])).await.unwrap();
                send.reset(CANCELLED).unwrap();
                receive.stop(CANCELLED).unwrap();
                for _ in 0..3 {
                    let (_send, mut receive) = ask(&connection).await;
                    assert!(receive.read_to_end(4_096).await.unwrap().ends_with(b"ok"));
                }
            }
            connection.close(VarInt::from_u32(0x100), b"");
            client.wait_idle().await;
        });
        let report = house.report_when(|report| report.oddities > 0);
        assert_eq!(report.oddities, 200);
        assert_eq!(house.close(), 0);
    });
}

/// CVE-2023-44487 over QUIC: requests that are given up as soon as they are sent.
#[test]
fn a_client_that_only_resets_is_sent_away() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Read(1 << 30)]);
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let asked = run(async {
            let client = endpoint(&a);
            let connection = connect(&client, &house).await;
            let mut asked = 0;
            // A stream is granted when an earlier one has ended.
            while let Ok((mut send, mut receive)) = connection.open_bi().await {
                asked += 1;
                drop(send.write_all(&get_with(&[])).await);
                drop(send.reset(CANCELLED));
                drop(receive.stop(CANCELLED));
            }
            let end = connection.closed().await;
            assert_eq!(closed_with(&end), Some(0x107), "H3_EXCESSIVE_LOAD: {end:?}");
            asked
        });
        assert!(asked <= 400, "{asked} requests were taken");
        let report = house.report_when(|report| report.oddities > 0);
        assert!(report.oddities >= 100, "{}", report.oddities);
        assert_eq!(house.close(), 0);
    });
}

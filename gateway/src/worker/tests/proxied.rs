//! Connections that a proxy announces, in both versions of its protocol.

use std::io::Write;
use std::net::SocketAddr;

use sallyport_config::ir;
use sallyport_core::proxy_protocol::{Ends, write_v1, write_v2};

use super::support::{GET, House, Lines, Origin, field, on_each_driver, snapshot};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn announced(source: &str, write: fn(&Ends, &mut Vec<u8>)) -> Vec<u8> {
    let ends = Ends {
        source: source.parse().unwrap(),
        destination: SocketAddr::from(([10, 0, 0, 1], 443)),
    };
    let mut out = Vec::new();
    write(&ends, &mut out);
    out
}

fn proxied(origin: &Origin) -> ir::Snapshot {
    let mut snapshot = snapshot(origin.address);
    snapshot.settings.proxy_protocol = true;
    snapshot
}

#[test]
fn the_client_is_whom_the_proxy_announces() {
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let lines = Lines::new("proxied");
        let mut snapshot = proxied(&origin);
        let format = "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%";
        lines.write_to(&mut snapshot, format);
        let house = House::open(driver, snapshot);
        for (count, write) in [(1, write_v1 as fn(&Ends, &mut Vec<u8>)), (2, write_v2)] {
            let mut client = house.client();
            client.stream.set_nodelay(true).unwrap();
            // In one piece with the request, then byte by byte.
            let head = announced("9.8.7.6:5432", write);
            if count == 1 {
                assert_eq!(client.ask(&[&head, GET].concat()).status, 200);
            } else {
                head.iter()
                    .for_each(|b| client.stream.write_all(&[*b]).unwrap());
                assert_eq!(client.ask(GET).status, 200);
            }
            assert_eq!(client.ask(GET).status, 200);
            assert_eq!(
                lines.take(2 * count).pop().unwrap(),
                "9.8.7.6:5432 127.0.0.1"
            );
        }
        for head in origin.heads.lock().unwrap().iter().flatten() {
            assert_eq!(field(head, "x-forwarded-for"), Some("9.8.7.6"), "{head}");
        }
        // A proxy that speaks for itself is its own client.
        let mut client = house.client();
        let itself = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        assert_eq!(client.ask(&[itself, GET].concat()).status, 200);
        assert!(lines.take(5)[4].starts_with("127.0.0.1:"));
    });
}

#[test]
fn trusted_hops_count_from_the_announced_client() {
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let lines = Lines::new("proxied-hops");
        let mut snapshot = proxied(&origin);
        snapshot.settings.trusted_hops = 1;
        lines.write_to(&mut snapshot, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%");
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        let get =
            b"GET /x HTTP/1.1\r\nhost: a.example\r\nx-forwarded-for: 1.1.1.1, 2.2.2.2\r\n\r\n";
        let head = announced("[2001:db8::5]:1", write_v2);
        assert_eq!(client.ask(&[&head[..], get].concat()).status, 200);
        assert_eq!(lines.take(1), ["2.2.2.2"]);
        let head = origin.heads.lock().unwrap()[0][0].clone();
        let chain = field(&head, "x-forwarded-for");
        assert_eq!(chain, Some("1.1.1.1, 2.2.2.2,2001:db8::5"));
    });
}

#[test]
fn who_is_not_announced_is_not_served() {
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let lines = Lines::new("proxied-not");
        let mut snapshot = proxied(&origin);
        lines.write_to(&mut snapshot, "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%");
        let house = House::open(driver, snapshot);
        for bad in [GET, b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n"] {
            let mut client = house.client();
            client.stream.write_all(bad).unwrap();
            assert!(client.is_closed());
        }
        // Who only looks whether somebody listens leaves no line.
        drop(house.client());
        assert_eq!(lines.take(2), ["DPE proxy_protocol_error"; 2]);
        assert_eq!(origin.connections(), 0);
        house.close();
    });
}

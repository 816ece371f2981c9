//! Calls that have something to do with the worlds.

use super::dice::Bytes;
use super::worlds::{HOSTS, IDENTITIES, PATHS, TLS_PORT, VALUES};
use sallyport_config::model::{Call, Dice};
use std::net::{IpAddr, Ipv4Addr};

const QUERIES: &[&str] = &[
    "",
    "",
    "?",
    "?a",
    "?a=x",
    "?a=xy&b=y",
    "?b=y&a=",
    "??a=x",
    "?A=x",
    "?a=%78&a=x",
    "?b=x=y&",
];

const METHODS: &[&str] = &["GET", "GET", "POST", "OPTIONS", "get"];

const PORTS: &[&str] = &["", "", "", ":80", ":443", ":8080", ":"];

const ORIGINS: &[&str] = &["http://a.com", "https://b.a.com", "null", ""];

pub(super) fn call(bytes: &mut Bytes<'_>) -> Call {
    let authority = authority(bytes);
    let tls = bytes.chance(60);
    let sni = match bytes.below(4) {
        0 => String::new(),
        1 => bytes.text(HOSTS),
        _ => authority.split(':').next().unwrap_or_default().to_owned(),
    };
    let mut headers = bytes.some(4, |bytes| {
        let name = bytes.text(&["x-a", "x-b", "x-c", "x-a", "x-d"]);
        (name, bytes.text(VALUES))
    });
    let preflight = bytes.chance(15);
    let percent = if preflight { 95 } else { 25 };
    for (name, values) in [
        ("origin", ORIGINS),
        ("access-control-request-method", &["GET", "GET", "PUT", ""]),
        ("x-forwarded-proto", &["http", "https", "ftp"]),
        (
            "content-type",
            &["application/grpc", "application/grpc-web", "text/plain"],
        ),
    ] {
        headers.extend(bytes.maybe(percent, |bytes| (name.to_owned(), bytes.text(values))));
    }
    Call {
        port: if tls { TLS_PORT } else { 80 },
        // now and then TLS on the cleartext port and the other way round
        sni: (tls != bytes.chance(2)).then_some(sni),
        alpn: bytes.some(2, |bytes| bytes.text(&["h2", "istio", "istio-h2"])),
        method: if preflight {
            "OPTIONS".to_owned()
        } else {
            bytes.text(METHODS)
        },
        authority,
        path: bytes.text(PATHS) + &bytes.text(&["", "", "b", "/b", "/é"]) + bytes.pick(QUERIES),
        headers,
        claims: bytes.some(2, |bytes| {
            let path = bytes.pick::<&[&str]>(&[&["sub"], &["a", "b"], &["iss"]]);
            let path = path.iter().map(|part| (*part).to_owned()).collect();
            (path, bytes.some(2, |bytes| bytes.text(VALUES)))
        }),
        refused: bytes.maybe(50, |bytes| bytes.pick(&[401, 403, 302])),
        identity: bytes.maybe(40, |bytes| format!("spiffe://{}", bytes.pick(IDENTITIES))),
        peer: bytes.maybe(60, address),
        client: bytes.maybe(40, address),
        spent: bytes.chance(30),
        local: None,
        dice: Dice {
            target: bytes.below(255).into(),
            delay: u32::from(bytes.below(100)) * 10_000,
            abort: u32::from(bytes.below(100)) * 10_000,
            mirror: u32::from(bytes.below(100)) * 10_000,
        },
    }
}

fn address(bytes: &mut Bytes<'_>) -> IpAddr {
    let v4 = |a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    match bytes.below(4) {
        0 => v4(10, 1, 2, 3),
        1 => v4(10, 2, 0, 1),
        2 => v4(127, 0, 0, 1),
        _ => IpAddr::V6(Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped()),
    }
}

fn authority(bytes: &mut Bytes<'_>) -> String {
    let host = bytes.text(HOSTS);
    // what a pattern stands for, not the pattern itself
    let host = host.replace('*', bytes.pick(&["", "z", "b", "z.y"]));
    let host = if bytes.chance(15) {
        host.to_ascii_uppercase()
    } else {
        host
    };
    host + bytes.pick(PORTS)
}

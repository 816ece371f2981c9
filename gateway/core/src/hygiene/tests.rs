//! Each rule of the edge as a head before and the fields after.

use super::*;
use crate::h1::{HeaderView, Parse, parse_request};
use crate::limits::Http1Profile;

/// The fields of a request after cleaning, sorted, with random ids shown as `<id>`.
fn cleaned(fields: &str, settings: &HygieneSettings, cert: Option<&[u8]>) -> (IpAddr, String) {
    let mut buf = format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n").into_bytes();
    let mut index = HeaderIndex::new();
    let profile = Http1Profile::edge(Scheme::Http);
    let Ok(Parse::Complete { head, .. }) = parse_request(&mut buf, &mut index, &profile) else {
        panic!("not a request: {fields}");
    };
    let mut edits = HeaderEdits::new();
    let peer = Peer {
        address: "10.0.0.1".parse().unwrap(),
        text: "10.0.0.1",
        scheme: Scheme::Https,
        client_cert: cert,
    };
    let mut rng = Rng::new(1);
    let client = clean_request(
        &mut edits, head.drop, &buf, &index, settings, peer, &mut rng,
    );
    let view = HeaderView {
        buf: &buf,
        index: &index,
        edits: &edits,
    };
    let mut lines: Vec<String> = view
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value).into_owned();
            let is_id = name == b"x-request-id" && value.len() == 36;
            let value = if is_id { "<id>".to_owned() } else { value };
            format!("{}: {value}", String::from_utf8_lossy(name))
        })
        .filter(|line| line != "host: a")
        .collect();
    lines.sort();
    (client, lines.join("\n"))
}

/// The additions that every request gets, around what a case expects.
fn with_usual(extra: &[&str]) -> String {
    let mut lines = vec!["x-envoy-attempt-count: 1"];
    let has = |name: &str| extra.iter().any(|line| line.starts_with(name));
    if !has("x-forwarded-for:") {
        lines.push("x-forwarded-for: 10.0.0.1");
    }
    if !has("x-envoy-external-address:") {
        lines.push("x-envoy-external-address: 10.0.0.1");
    }
    if !has("x-forwarded-proto:") {
        lines.push("x-forwarded-proto: https");
    }
    if !has("x-request-id:") {
        lines.push("x-request-id: <id>");
    }
    lines.extend(extra);
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn a_client_outside_is_not_believed() {
    let settings = HygieneSettings::default();
    let rows: [(&str, &[&str]); 9] = [
        ("", &[]),
        (
            "x-envoy-retry-on: 5xx\r\nX-Envoy-Max-Retries: 9\r\nx-envoy-internal: true\r\n",
            &[],
        ),
        (
            "x-envoy-attempt-count: 7\r\nx-envoy-external-address: 1.1.1.1\r\n",
            &[],
        ),
        ("x-request-id: mine\r\n", &[]),
        ("x-forwarded-proto: ftp\r\n", &[]),
        ("x-forwarded-client-cert: By=spiffe://x\r\n", &[]),
        (
            "x-forwarded-for: 1.1.1.1\r\n",
            &["x-forwarded-for: 1.1.1.1,10.0.0.1"],
        ),
        (
            "x-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\n",
            &["x-forwarded-for: 1.1.1.1,2.2.2.2, 3.3.3.3,10.0.0.1"],
        ),
        (
            "x-forwarded-host: h\r\nx-forwarded-port: 1\r\nforwarded: for=x\r\n",
            &["x-forwarded-host: h", "x-forwarded-port: 1"],
        ),
    ];
    for (fields, expected) in rows {
        let (client, lines) = cleaned(fields, &settings, None);
        assert_eq!(lines, with_usual(expected), "{fields}");
        assert_eq!(client.to_string(), "10.0.0.1", "{fields}");
    }
}

#[test]
fn trusted_proxies_are_believed_as_far_as_they_reach() {
    let list = "x-forwarded-for: 56.5.6.7, 72.9.5.6, 98.1.2.3\r\n";
    for (proxies, fields, client) in [
        (0, list, "10.0.0.1"),
        (1, list, "98.1.2.3"),
        (2, list, "72.9.5.6"),
        (3, list, "56.5.6.7"),
        (4, list, "10.0.0.1"),
        (1, "x-forwarded-for: nonsense\r\n", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (
            2,
            "x-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n",
            "1.1.1.1",
        ),
        (1, "x-forwarded-for: 2001:db8::1\r\n", "2001:db8::1"),
        // an address with a zone is none of a client's
        (1, "x-forwarded-for: fe80::1%eth0\r\n", "10.0.0.1"),
    ] {
        let settings = HygieneSettings {
            trusted_proxies: proxies,
            ..HygieneSettings::default()
        };
        let (address, lines) = cleaned(fields, &settings, None);
        assert_eq!(address.to_string(), client, "{proxies} {fields}");
        assert!(
            lines.contains(&format!("x-envoy-external-address: {client}")),
            "{lines}"
        );
    }
    let settings = HygieneSettings {
        trusted_proxies: 1,
        ..HygieneSettings::default()
    };
    let fields = "x-request-id: theirs\r\nx-forwarded-proto: http\r\nforwarded: for=x\r\n\
                  x-envoy-retry-on: 5xx\r\n";
    let (_, lines) = cleaned(fields, &settings, None);
    let kept = [
        "x-request-id: theirs",
        "x-forwarded-proto: http",
        "forwarded: for=x",
    ];
    assert_eq!(lines, with_usual(&kept));
}

#[test]
fn only_trusted_proxies_say_what_the_scheme_was() {
    for (trusted_proxies, fields, scheme) in [
        (0, "x-forwarded-proto: https\r\n", Scheme::Http),
        (1, "x-forwarded-proto: https\r\n", Scheme::Https),
        (
            1,
            "x-forwarded-proto: https\r\nx-forwarded-proto: http\r\n",
            Scheme::Http,
        ),
        (1, "x-forwarded-proto: HTTPS\r\n", Scheme::Http),
        (1, "x-forwarded-proto: gopher\r\n", Scheme::Http),
        (1, "", Scheme::Http),
    ] {
        let mut buf = format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n").into_bytes();
        let mut index = HeaderIndex::new();
        let profile = Http1Profile::edge(Scheme::Http);
        assert!(parse_request(&mut buf, &mut index, &profile).is_ok());
        let settings = HygieneSettings {
            trusted_proxies,
            ..HygieneSettings::default()
        };
        let told = client_scheme(&buf, &index, &settings, Scheme::Http);
        assert_eq!(told, scheme, "{trusted_proxies} {fields:?}");
    }
}

#[test]
fn client_certificates() {
    use ClientCertDetails as D;
    let theirs = "x-forwarded-client-cert: theirs\r\n";
    for (details, cert, expected) in [
        (D::Sanitize, Some(&b"ours"[..]), None),
        (D::ForwardOnly, None, None),
        (D::ForwardOnly, Some(b"ours"), Some("theirs")),
        (D::AppendForward, None, None),
        (D::AppendForward, Some(b"ours"), Some("theirs,ours")),
        (D::SanitizeSet, None, None),
        (D::SanitizeSet, Some(b"ours"), Some("ours")),
        (D::AlwaysForwardOnly, None, Some("theirs")),
    ] {
        let settings = HygieneSettings {
            client_cert: details,
            ..HygieneSettings::default()
        };
        let (_, lines) = cleaned(theirs, &settings, cert);
        let expected = expected.map(|value| format!("x-forwarded-client-cert: {value}"));
        let extra: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_eq!(lines, with_usual(&extra), "{details:?} {cert:?}");
    }
}

#[test]
fn request_ids_are_random_uuids_of_version_4() {
    let mut rng = Rng::new(3);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1000 {
        let id = request_id(&mut rng);
        assert_eq!(
            (id[8], id[13], id[14], id[18], id[23]),
            (b'-', b'-', b'4', b'-', b'-')
        );
        assert!(b"89ab".contains(&id[19]));
        assert!(seen.insert(id));
    }
}

#[test]
fn hexadecimal_digits() {
    for bits in [0, 1, 0x0123_4567, 0x89ab_cdef, 0xffff_ffff, 0x9a9a_a9a9] {
        assert_eq!(hex_digits(bits), *format!("{bits:08x}").as_bytes());
    }
}

#[test]
fn attempts_are_counted() {
    let (index, mut edits) = (HeaderIndex::new(), HeaderEdits::new());
    edits.add(b"x-envoy-attempt-count", b"1");
    set_attempt(&mut edits, &index, 12);
    let view = HeaderView {
        buf: b"",
        index: &index,
        edits: &edits,
    };
    let all: Vec<_> = view.values(b"x-envoy-attempt-count").collect();
    assert_eq!(all, [b"12"]);
}

#[test]
fn responses_say_who_served_them() {
    use crate::h1::{Asked, parse_response};
    let mut buf = b"HTTP/1.1 200 OK\r\nserver: nginx\r\nx-envoy-upstream-service-time: 9\r\n\
        connection: x-a\r\nx-a: 1\r\nx-b: 2\r\ncontent-length: 0\r\n\r\n"
        .to_vec();
    let mut index = HeaderIndex::new();
    let asked = Asked {
        method: crate::method::Method::Get,
        upgrade: false,
    };
    let Ok(Parse::Complete { head, .. }) = parse_response(&mut buf, &mut index, asked) else {
        panic!("not a response");
    };
    let mut edits = HeaderEdits::new();
    let settings = HygieneSettings::default();
    clean_response(&mut edits, head.drop, &index, &settings, 12, b"today");
    let view = HeaderView {
        buf: &buf,
        index: &index,
        edits: &edits,
    };
    let known = |known| {
        view.known(known)
            .map(|v| String::from_utf8_lossy(v).into_owned())
    };
    assert_eq!(known(KnownHeader::Server).as_deref(), Some("istio-envoy"));
    assert_eq!(
        known(KnownHeader::XEnvoyUpstreamServiceTime).as_deref(),
        Some("12")
    );
    assert_eq!(known(KnownHeader::Date).as_deref(), Some("today"));
    assert_eq!(view.value(b"x-a"), None);
    assert_eq!(view.value(b"x-b"), Some(&b"2"[..]));
}

#[test]
fn http3_is_advertised_unless_the_upstream_speaks_of_it() {
    let advertised = |said: &[u8]| {
        let (mut buf, mut index) = (Vec::new(), HeaderIndex::new());
        if !said.is_empty() {
            index.push(&mut buf, b"alt-svc", said).unwrap();
        }
        let mut edits = HeaderEdits::new();
        edits.begin(FieldSet::NONE, &index);
        advertise_http3(&mut edits, &index, 8443);
        let view = HeaderView {
            buf: &buf,
            index: &index,
            edits: &edits,
        };
        let all: Vec<_> = view.values(b"alt-svc").map(<[u8]>::to_vec).collect();
        all
    };
    assert_eq!(advertised(b""), [b"h3=\":8443\"; ma=86400".to_vec()]);
    assert_eq!(advertised(b"clear"), [b"clear".to_vec()]);
}

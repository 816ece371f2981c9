//! Header values with operators.

use super::*;
use crate::call::{NoHeaders, Scheme};
use sallyport_config::template;

fn call() -> Call<'static> {
    Call {
        scheme: Scheme::Https,
        method: "GET",
        authority: "a.com:8443",
        path: "/p",
        query: Some("q=1"),
        headers: &NoHeaders,
        client: ([10, 0, 0, 1], 5000).into(),
        peer: ([10, 0, 0, 2], 6000).into(),
        local: ([10, 0, 0, 3], 443).into(),
        sni: Some("a.com"),
        identity: None,
    }
}

fn format(text: &str) -> Format {
    Format::new(&template::parse(text).unwrap())
}

#[test]
fn header_values_render_what_is_known() {
    let call = call();
    let facts = CallFacts {
        call: &call,
        protocol: "HTTP/1.1",
        start_us: 1_767_323_045_678_901,
        route: "r",
    };
    for (text, want) in [
        ("plain", "plain"),
        ("%REQ(:path)%", "/p?q=1"),
        ("%REQ(X-A?:AUTHORITY)%", "a.com:8443"),
        ("%REQ(:authority):5%", "a.com"),
        ("[%REQ(x-none)%]", "[]"),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", "10.0.0.1:5000"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.1"),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "10.0.0.2:6000"),
        ("%REQUESTED_SERVER_NAME%/%ROUTE_NAME%", "a.com/r"),
        ("%START_TIME%", "2026-01-02T03:04:05.678Z"),
        ("%START_TIME(%s.%3f)%", "1767323045.678"),
        (
            "%START_TIME(%a, %d %b %Y %T.%6f %j %z)%",
            "Fri, 02 Jan 2026 03:04:05.678901 002 +0000",
        ),
        ("%START_TIME(%E6S %q)%", "05.678901 %q"),
        ("%UPSTREAM_HOST%", ""),
    ] {
        let mut out = Vec::new();
        format(text).render(&facts, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), want, "{text}");
    }
}

#[test]
fn dates_are_the_calendars() {
    for (seconds, want) in [
        (0_u64, "1970-01-01 001 Thu"),
        (951_782_399, "2000-02-28 059 Mon"),
        (951_782_400, "2000-02-29 060 Tue"),
        (951_868_800, "2000-03-01 061 Wed"),
        (978_220_800, "2000-12-31 366 Sun"),
        (1_078_012_800, "2004-02-29 060 Sun"),
        (4_107_542_400, "2100-03-01 060 Mon"),
    ] {
        let mut out = Vec::new();
        TimeFormat::new(Some("%F %j %a")).write(seconds * 1_000_000, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), want, "{seconds}");
    }
}

#[test]
fn every_field_is_an_operator_that_the_parser_knows() {
    for name in field::NAMES {
        assert_eq!(
            template::check_format(&format!("%{name}%")),
            Ok(()),
            "{name}"
        );
        assert!(Field::named(name).is_some());
    }
}

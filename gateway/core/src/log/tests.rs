//! Formats of the access log, and lines written by them.

use super::*;
use crate::call::NoHeaders;

/// Fields by name.
struct Fields(&'static [(&'static str, &'static [u8])]);

impl HeaderLines for Fields {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut lines = self.0.iter().filter(|(key, _)| *key == name);
        lines.any(|(_, value)| visit(value))
    }
    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.0.iter().filter(|(key, _)| *key == name);
        lines.next().map(|(_, value)| *value)
    }
}

/// Istio's default text format.
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
    %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
    %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% \
    %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
    \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" \
    %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% \
    %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// No policy watches.
const NOTHING: Observed = Observed {
    audited: None,
    deny: None,
    allow: None,
};

fn record() -> Record<'static> {
    Record {
        start_us: 1_767_323_045_678_901,
        duration_us: 12_999,
        request_us: Some(1_000),
        request_tx_us: Some(1_500),
        response_us: Some(9_000),
        method: "GET",
        scheme: "https",
        authority: "up.com",
        path: "/new?q",
        original_path: "/old?q",
        protocol: "HTTP/1.1",
        request: &Fields(&[
            ("user-agent", b"evil\"\r\n[2026] \xff\x1b"),
            ("x-forwarded-for", b"10.0.0.1"),
            ("x-empty", b""),
        ]),
        response: &Fields(&[("x-envoy-upstream-service-time", b"8")]),
        trailers: &Fields(&[("grpc-status", b"0")]),
        status: 200,
        flags: Flags::NONE,
        details: "via_upstream",
        termination: "",
        transport_failure: "",
        bytes_received: 0,
        bytes_sent: 1_024,
        grpc_status: Some(0),
        upstream_host: Some(([10, 0, 0, 9], 8080).into()),
        upstream_socket: "",
        upstream_local: Some(([10, 0, 0, 3], 40_000).into()),
        upstream_cluster: "outbound|80||s",
        upstream_protocol: "HTTP/1.1",
        attempts: 1,
        client: ([10, 0, 0, 1], 5000).into(),
        peer: ([10, 0, 0, 2], 6000).into(),
        local: ([10, 0, 0, 3], 443).into(),
        sni: "a.com",
        route: "",
        chain: "https.443",
        tls_version: "TLSv1.3",
        tls_cipher: "TLS_AES_128_GCM_SHA256",
        peer_subject: "",
        peer_uri: "",
        hostname: "gw-0",
        connection: 7,
        observed: &NOTHING,
    }
}

fn text(format: LogFormat, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    Line::new(&format).write(record, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_default_line_cannot_be_forged() {
    assert_eq!(
        text(LogFormat::Text(DEFAULT.to_owned()), &record()),
        "[2026-01-02T03:04:05.678Z] \"GET /old?q HTTP/1.1\" 200 - via_upstream - \"-\" 0 1024 12 8 \
         \"10.0.0.1\" \"evil\\\"\\r\\n[2026] \\xff\\u001b\" \"-\" \"up.com\" \"10.0.0.9:8080\" \
         outbound|80||s 10.0.0.3:40000 10.0.0.3:443 10.0.0.1:5000 a.com -\n"
    );
}

#[test]
fn json_keeps_numbers_numbers_and_missing_null() {
    let members = [
        ("code", "%RESPONSE_CODE%"),
        ("flags", "%RESPONSE_FLAGS%"),
        ("route", "%ROUTE_NAME%"),
        ("agent", "%REQ(USER-AGENT)%"),
        ("mixed", "%RESPONSE_CODE% \"%ROUTE_NAME%\""),
        ("with\"quote", "a\\b"),
        ("start", "%START_TIME(%s)%"),
        ("cut", "%REQ(:PATH):4%"),
        ("empty", "%REQ(X-EMPTY)%"),
        ("unserved", "%DYNAMIC_METADATA(a:b)%"),
        ("grpc", "%TRAILER(grpc-status)%"),
    ];
    let members = members.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let line = text(LogFormat::Json(members.into()), &record());
    let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        line,
        "{\"code\":200,\"flags\":\"-\",\"route\":null,\
         \"agent\":\"evil\\\"\\r\\n[2026] \\ufffd\\u001b\",\"mixed\":\"200 \\\"-\\\"\",\
         \"with\\\"quote\":\"a\\\\b\",\"start\":\"1767323045\",\"cut\":\"/new\",\"empty\":\"\",\
         \"unserved\":null,\"grpc\":\"0\"}\n"
    );
    assert_eq!(parsed["agent"], "evil\"\r\n[2026] \u{fffd}\u{1b}");
    assert_eq!(text(LogFormat::Json(Vec::new()), &record()), "{}\n");
}

#[test]
fn every_operator_has_its_value() {
    for (format, want) in [
        ("%REQUEST_DURATION% %REQUEST_TX_DURATION%", "1 1"),
        ("%RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "9 3"),
        (
            "%UPSTREAM_CLUSTER% %UPSTREAM_PROTOCOL%",
            "outbound|80||s HTTP/1.1",
        ),
        ("%UPSTREAM_REMOTE_ADDRESS%", "10.0.0.9:8080"),
        (
            "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT%",
            "10.0.0.9 8080",
        ),
        (
            "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_LOCAL_PORT%",
            "10.0.0.3 40000",
        ),
        ("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "1"),
        (
            "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%",
            "10.0.0.3 443",
        ),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%",
            "10.0.0.1 5000",
        ),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "10.0.0.2:6000"),
        (
            "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            "10.0.0.2",
        ),
        ("%DOWNSTREAM_DIRECT_REMOTE_PORT%", "6000"),
        (
            "%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER%",
            "TLSv1.3 TLS_AES_128_GCM_SHA256",
        ),
        ("%DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_URI_SAN%", "- -"),
        (
            "%HOSTNAME% %CONNECTION_ID% %FILTER_CHAIN_NAME%",
            "gw-0 7 https.443",
        ),
        (
            "%GRPC_STATUS_NUMBER% %GRPC_STATUS% %GRPC_STATUS(NUMBER)% %RESP(:STATUS)% %REQ(:SCHEME)%",
            "0 OK 0 200 https",
        ),
        ("%REQ(X-EMPTY?:PATH)%|%REQ(X-NONE?:PATH)%", "|/new?q"),
        ("100%% %START_TIME(%H:%M:%S.%3f)%", "100% 03:04:05.678"),
        ("50% is literal", "50% is literal"),
    ] {
        let line = text(LogFormat::Text(format.to_owned()), &record());
        assert_eq!(line, format!("{want}\n"), "{format}");
    }
}

#[test]
fn what_policies_say_that_decide_nothing_has_istios_names() {
    let observed = Observed {
        audited: Some(true),
        deny: Some(Shadow {
            allowed: false,
            policy: Some("ns[a]-policy[b]-rule[0]".into()),
        }),
        allow: None,
    };
    let record = Record {
        observed: &observed,
        ..record()
    };
    let format = "%DYNAMIC_METADATA(envoy.common:access_log_hint)% \
        %DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_deny_shadow_engine_result)% \
        %DYNAMIC_METADATA(envoy.filters.network.rbac:istio_dry_run_deny_shadow_effective_policy_id)% \
        %DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_allow_shadow_engine_result)%";
    assert_eq!(
        text(LogFormat::Text(format.to_owned()), &record),
        "true denied ns[a]-policy[b]-rule[0] -\n"
    );
    let hint = "%DYNAMIC_METADATA(envoy.common:access_log_hint)%".to_owned();
    let json = LogFormat::Json(vec![("hint".to_owned(), hint)]);
    assert_eq!(text(json, &record), "{\"hint\":true}\n");
}

#[test]
fn nothing_happened_is_said_with_dashes() {
    let record = Record {
        request: &NoHeaders,
        response: &NoHeaders,
        trailers: &NoHeaders,
        status: 0,
        flags: Flags::DC,
        grpc_status: None,
        upstream_host: None,
        upstream_socket: "",
        upstream_local: None,
        upstream_cluster: "",
        response_us: None,
        original_path: "",
        ..record()
    };
    let format = "%GRPC_STATUS% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_HOST% %UPSTREAM_LOCAL_ADDRESS% \
        %RESPONSE_DURATION% %RESPONSE_TX_DURATION% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%";
    assert_eq!(
        text(LogFormat::Text(format.to_owned()), &record),
        "- 0 DC - - - - /new?q\n"
    );
}

#[test]
fn only_the_fields_that_a_format_asks_for_are_kept() {
    let line = Line::new(&LogFormat::Text(DEFAULT.to_owned()));
    let names: Vec<&str> = line.request_names().iter().map(|name| &**name).collect();
    assert_eq!(
        names,
        [
            "x-envoy-original-path",
            "x-forwarded-for",
            "user-agent",
            "x-request-id"
        ]
    );
    assert_eq!(*line.response_names()[0], *"x-envoy-upstream-service-time");
    assert!(line.trailer_names().is_empty());

    let long: &'static [u8] = &[b'a'; CAPTURED_VALUE_BYTES_MAX + 1];
    let lines = Fields(Box::leak(Box::new([
        ("user-agent", long),
        ("other", b"x".as_slice()),
    ])));
    let mut capture = Capture::new(line.request_names());
    assert_eq!(capture.first("user-agent"), None);
    capture.take(&lines);
    assert_eq!(
        capture.first("user-agent").unwrap().len(),
        CAPTURED_VALUE_BYTES_MAX
    );
    assert_eq!(capture.first("other"), None);
    assert!(capture.any("user-agent", &mut |_| true));
    capture.take(&NoHeaders);
    assert_eq!(capture.first("user-agent"), None);
}

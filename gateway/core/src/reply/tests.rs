//! The whole table of answers.

use super::*;
use crate::failure::FailureKind as K;

/// One of each kind. The match makes the compiler ask for a new line here.
fn every_kind() -> Vec<K> {
    let all = vec![
        K::NoRoute,
        K::Misdirected,
        K::BrokenRoute(500),
        K::MissingCluster,
        K::NoHealthyUpstream,
        K::HostUnknown,
        K::HostRefused,
        K::UnservedUpstream,
        K::Overflow,
        K::ConnectRefused,
        K::ConnectTimeout,
        K::ConnectTls,
        K::ConnectLocal,
        K::UpstreamClosed,
        K::UpstreamReset,
        K::UpstreamRefused,
        K::UpstreamProtocol,
        K::RouteTimeout,
        K::PerTryTimeout,
        K::HeadTimeout,
        K::RequestTimeout,
        K::StreamIdle {
            request_complete: false,
        },
        K::StreamIdle {
            request_complete: true,
        },
        K::MaxDuration {
            request_complete: false,
        },
        K::MaxDuration {
            request_complete: true,
        },
        K::Downstream {
            status: 400,
            details: "http1.codec_error",
        },
        K::Downstream {
            status: 431,
            details: "http1.headers_too_large",
        },
        K::MissingHost,
        K::LowVersion,
        K::UpgradeRefused,
        K::BadPath,
        K::BodyTooLarge,
        K::ClientGone,
        K::Overload,
        K::Draining,
        K::RateLimited,
        K::FaultAbort(418),
        K::Internal,
    ];
    for kind in &all {
        match kind {
            K::NoRoute | K::Misdirected | K::BrokenRoute(_) | K::MissingCluster => {}
            K::HostUnknown | K::HostRefused => {}
            K::NoHealthyUpstream | K::UnservedUpstream | K::Overflow | K::ConnectRefused => {}
            K::ConnectTimeout | K::ConnectTls | K::ConnectLocal | K::UpstreamClosed => {}
            K::UpstreamReset | K::UpstreamRefused | K::UpstreamProtocol | K::RouteTimeout => {}
            K::PerTryTimeout | K::HeadTimeout | K::RequestTimeout | K::StreamIdle { .. } => {}
            K::MaxDuration { .. } | K::Downstream { .. } | K::MissingHost | K::LowVersion => {}
            K::UpgradeRefused | K::BadPath | K::BodyTooLarge | K::ClientGone | K::Overload => {}
            K::Draining | K::RateLimited | K::FaultAbort(_) | K::Internal => {}
        }
    }
    all
}

const ONCE: Attempts = Attempts {
    tried: 1,
    exhausted: false,
};

fn line(reply: &Reply<'_>) -> String {
    let close = if reply.close { " close" } else { "" };
    let headers: String = reply
        .headers
        .iter()
        .map(|(name, value)| format!(" {name}={value}"))
        .collect();
    format!(
        "{} {} {} {:?}{headers}{close}",
        reply.status,
        reply.flags,
        reply.details,
        String::from_utf8_lossy(&reply.body)
    )
}

#[test]
fn every_failure_has_its_answer() {
    let table: String = every_kind()
        .into_iter()
        .map(|kind| {
            format!(
                "{:?} {:?}: {}\n",
                kind.origin(),
                kind.retriable(),
                line(&reply(&kind.into(), &ONCE))
            )
        })
        .collect();
    assert_eq!(table, TABLE, "\n{table}");
}

const TABLE: &str = r#"Downstream Never: 404 NR route_not_found ""
Downstream Never: 421 NR misdirected_request "Misdirected Request"
Gateway Never: 500 - route_broken "route configuration is broken"
Gateway Never: 503 NC cluster_not_found ""
Upstream Never: 503 UH no_healthy_upstream "no healthy upstream"
Upstream Never: 503 DF dns_resolution_failure "DNS resolution failure"
Downstream Never: 403 DF host_not_allowed "host not allowed"
Gateway Never: 503 UF upstream_reset_before_response_started{remote_connection_failure} "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
Gateway Never: 503 UO upstream_reset_before_response_started{overflow} "upstream connect error or disconnect/reset before headers. reset reason: overflow" x-envoy-overloaded=true
Upstream Connect: 503 UF upstream_reset_before_response_started{remote_connection_failure} "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
Upstream Connect: 503 UF upstream_reset_before_response_started{connection_timeout} "upstream connect error or disconnect/reset before headers. reset reason: connection timeout"
Upstream Connect: 503 UF upstream_reset_before_response_started{remote_connection_failure} "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
Gateway Connect: 503 UF upstream_reset_before_response_started{local_connection_failure} "upstream connect error or disconnect/reset before headers. reset reason: local connection failure"
Upstream Reset: 503 UC upstream_reset_before_response_started{connection_termination} "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
Upstream Reset: 503 UR upstream_reset_before_response_started{remote_reset} "upstream connect error or disconnect/reset before headers. reset reason: remote reset"
Upstream Refused: 503 UR upstream_reset_before_response_started{remote_refused_stream_reset} "upstream connect error or disconnect/reset before headers. reset reason: remote refused stream reset"
Upstream Reset: 502 UPE upstream_reset_before_response_started{protocol_error} "upstream connect error or disconnect/reset before headers. reset reason: protocol error"
Upstream Never: 504 UT response_timeout "upstream request timeout"
Upstream Reset: 504 UT upstream_per_try_timeout "upstream request timeout"
Downstream Never: 408 - request_header_timeout "" close
Downstream Never: 408 - request_overall_timeout "" close
Downstream Never: 408 SI stream_idle_timeout "stream timeout" close
Upstream Never: 504 SI stream_idle_timeout "stream timeout" close
Downstream Never: 408 DT max_duration_timeout "downstream duration timeout" close
Upstream Never: 504 DT max_duration_timeout "downstream duration timeout" close
Downstream Never: 400 DPE http1.codec_error "Bad Request" close
Downstream Never: 431 DPE http1.headers_too_large "Request Header Fields Too Large" close
Downstream Never: 400 - missing_host_header "" close
Downstream Never: 426 - low_version "Upgrade Required" close
Downstream Never: 403 - upgrade_failed ""
Downstream Never: 400 - path_normalization_failed ""
Downstream Never: 413 - request_payload_too_large "Payload Too Large" close
Downstream Never: 499 DC downstream_remote_disconnect "" close
Gateway Never: 503 OM overload "envoy overloaded" close
Gateway Never: 503 - draining "draining" close
Downstream Never: 429 RL request_rate_limited "rate limited"
Gateway Never: 418 FI fault_filter_abort "fault filter abort"
Gateway Never: 500 - internal_error "internal error" close
"#;

#[test]
fn retries_are_told() {
    let refused = Failure {
        kind: K::ConnectRefused,
        transport: "delayed_connect_error:_Connection_refused",
        relayed: false,
    };
    let cases = [
        (
            refused,
            Attempts {
                tried: 3,
                exhausted: true,
            },
            "503 URX,UF upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused} \"upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure\"",
        ),
        (
            K::PerTryTimeout.into(),
            Attempts {
                tried: 2,
                exhausted: true,
            },
            "504 URX,UT upstream_per_try_timeout \"upstream request timeout\"",
        ),
        (
            Failure {
                relayed: true,
                ..K::UpstreamClosed.into()
            },
            ONCE,
            "503 UC upstream_reset_after_response_started{connection_termination} \"upstream connect error or disconnect/reset before headers. reset reason: connection termination\"",
        ),
    ];
    for (failure, attempts, expected) in cases {
        assert_eq!(line(&reply(&failure, &attempts)), expected);
    }
}

#[test]
fn grpc_gets_its_own_form() {
    let cases = [
        (
            K::NoHealthyUpstream,
            "200 UH no_healthy_upstream \"\" content-type=application/grpc grpc-status=14 grpc-message=no healthy upstream",
        ),
        (
            K::NoRoute,
            "200 NR route_not_found \"\" content-type=application/grpc grpc-status=12",
        ),
        (
            K::FaultAbort(500),
            "200 FI fault_filter_abort \"\" content-type=application/grpc grpc-status=2 grpc-message=fault filter abort",
        ),
    ];
    for (kind, expected) in cases {
        assert_eq!(line(&for_grpc(reply(&kind.into(), &ONCE))), expected);
    }
    let again = for_grpc(for_grpc(reply(&K::NoRoute.into(), &ONCE)));
    assert_eq!(again.headers.len(), 2, "an existing grpc-status stays");
}

#[test]
fn grpc_statuses_of_http_statuses() {
    for (http, grpc) in [
        (200, 2),
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (409, 2),
        (429, 14),
        (500, 2),
        (502, 14),
        (503, 14),
        (504, 14),
        (505, 2),
    ] {
        assert_eq!(grpc_status(http), grpc, "{http}");
    }
}

#[test]
fn grpc_messages_are_percent_encoded() {
    assert_eq!(percent_encode("50 % ä\n".as_bytes()), "50 %25 %C3%A4%0A");
}

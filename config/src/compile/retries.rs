//! Retry policies. Istio `pilot/pkg/networking/core/route/retry/retry.go`.

use super::millis;
use crate::api::virtual_service::HttpRetry;
use crate::ir::{Retry, RetryOn};

/// The policy of a route, else the mesh's, else Istio's default.
pub(super) fn policy(route: Option<&HttpRetry>, mesh: Option<&HttpRetry>) -> Retry {
    let Some(said) = route.or(mesh) else {
        return Retry::default();
    };
    let default = Retry::default();
    let attempts = u32::try_from(said.attempts).unwrap_or(0);
    if attempts == 0 {
        return Retry {
            attempts: 0,
            ..default
        };
    }
    let (on, status_codes) = match said.retry_on.as_str() {
        "" => (default.on, Vec::new()),
        list => conditions(list),
    };
    Retry {
        attempts,
        per_try_timeout: said.per_try_timeout.map(millis).filter(|t| t.0 > 0),
        on,
        status_codes,
        backoff_base: said
            .backoff
            .map(millis)
            .filter(|t| t.0 > 0)
            .unwrap_or(default.backoff_base),
        ignore_previous_hosts: said.retry_ignore_previous_hosts.unwrap_or(true),
        remote_localities: said.retry_remote_localities.unwrap_or(false),
    }
}

/// `retryOn`: Envoy's words and status codes. Validation has refused anything else.
fn conditions(list: &str) -> (RetryOn, Vec<u16>) {
    let mut on = RetryOn::default();
    let mut codes = Vec::new();
    for word in list.split(',') {
        match word {
            "5xx" => on.five_xx = true,
            "gateway-error" => on.gateway_error = true,
            "reset" => on.reset = true,
            "reset-before-request" => on.reset_before_request = true,
            "connect-failure" => on.connect_failure = true,
            "envoy-ratelimited" => on.envoy_ratelimited = true,
            "retriable-4xx" => on.retriable_4xx = true,
            "refused-stream" => on.refused_stream = true,
            "retriable-status-codes" => on.retriable_status_codes = true,
            "retriable-headers" => on.retriable_headers = true,
            "http3-post-connect-failure" => on.http3_post_connect_failure = true,
            "cancelled" => on.cancelled = true,
            "deadline-exceeded" => on.deadline_exceeded = true,
            "internal" => on.internal = true,
            "resource-exhausted" => on.resource_exhausted = true,
            "unavailable" => on.unavailable = true,
            other => codes.extend(other.parse::<u16>().ok().filter(|c| (100..600).contains(c))),
        }
    }
    if !codes.is_empty() {
        on.retriable_status_codes = true;
    }
    (on, codes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Millis;
    use std::time::Duration;

    fn retry(attempts: i32, retry_on: &str) -> HttpRetry {
        HttpRetry {
            attempts,
            retry_on: retry_on.to_owned(),
            ..HttpRetry::default()
        }
    }

    #[test]
    fn without_a_policy_the_mesh_or_istio_decides() {
        assert_eq!(policy(None, None), Retry::default());
        assert_eq!(policy(None, Some(&retry(5, ""))).attempts, 5);
        assert_eq!(policy(Some(&retry(1, "")), Some(&retry(5, ""))).attempts, 1);
    }

    #[test]
    fn no_attempts_means_never() {
        for attempts in [0, -1] {
            assert_eq!(policy(Some(&retry(attempts, "5xx")), None).attempts, 0);
        }
    }

    #[test]
    fn numbers_are_status_codes() {
        let policy = policy(Some(&retry(3, "503,connect-failure,418")), None);
        assert_eq!(policy.status_codes, [503, 418]);
        let want = RetryOn {
            connect_failure: true,
            retriable_status_codes: true,
            ..RetryOn::default()
        };
        assert_eq!(policy.on, want);
    }

    #[test]
    fn times_are_taken_as_written() {
        let said = HttpRetry {
            per_try_timeout: Some(Duration::from_secs(2)),
            backoff: Some(Duration::from_millis(7)),
            retry_ignore_previous_hosts: Some(false),
            retry_remote_localities: Some(true),
            ..retry(1, "")
        };
        let policy = policy(Some(&said), None);
        assert_eq!(policy.per_try_timeout, Some(Millis(2000)));
        assert_eq!(policy.backoff_base, Millis(7));
        assert_eq!(
            (policy.ignore_previous_hosts, policy.remote_localities),
            (false, true)
        );
    }
}

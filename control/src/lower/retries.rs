//! Retry policies.

use super::values::{any, duration, number};
use sallyport_config::ir::{Millis, Retry, RetryOn};
use sallyport_wire::envoy::envoy::config::route::v3::{
    RetryPolicy,
    retry_policy::{
        RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority,
    },
};
use sallyport_wire::envoy::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use sallyport_wire::envoy::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;

/// How often another endpoint is drawn instead of one that was tried (Istio's number).
const REDRAWS: i64 = 5;
/// Envoy's base of the back-off.
const BASE: Millis = Millis(25);
/// The longest back-off is this many bases.
const LONGEST: u64 = 10;
/// Tries after which priorities are weighed anew (Istio's number).
const UPDATE_FREQUENCY: i32 = 2;

/// A retry policy; none where nothing is tried twice.
pub(super) fn policy(retry: &Retry) -> Option<RetryPolicy> {
    if retry.attempts == 0 {
        return None;
    }
    let mut policy = RetryPolicy {
        retry_on: words(retry.on).join(","),
        num_retries: number(retry.attempts),
        per_try_timeout: retry.per_try_timeout.and_then(duration),
        retriable_status_codes: retry.status_codes.iter().copied().map(u32::from).collect(),
        ..RetryPolicy::default()
    };
    if retry.ignore_previous_hosts {
        policy.host_selection_retry_max_attempts = REDRAWS;
        policy.retry_host_predicate = vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(any(
                &PreviousHostsPredicate {},
            ))),
        }];
    }
    if retry.remote_localities {
        let priorities = PreviousPrioritiesConfig {
            update_frequency: UPDATE_FREQUENCY,
        };
        policy.retry_priority = Some(RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(retry_priority::ConfigType::TypedConfig(any(&priorities))),
        });
    }
    if retry.backoff_base != BASE {
        let longest = Millis(retry.backoff_base.0.saturating_mul(LONGEST));
        policy.retry_back_off = Some(RetryBackOff {
            base_interval: duration(retry.backoff_base),
            max_interval: duration(longest),
        });
    }
    Some(policy)
}

fn words(on: RetryOn) -> Vec<&'static str> {
    let all = [
        (on.five_xx, "5xx"),
        (on.gateway_error, "gateway-error"),
        (on.reset, "reset"),
        (on.reset_before_request, "reset-before-request"),
        (on.connect_failure, "connect-failure"),
        (on.envoy_ratelimited, "envoy-ratelimited"),
        (on.retriable_4xx, "retriable-4xx"),
        (on.refused_stream, "refused-stream"),
        (on.retriable_status_codes, "retriable-status-codes"),
        (on.retriable_headers, "retriable-headers"),
        (on.http3_post_connect_failure, "http3-post-connect-failure"),
        (on.cancelled, "cancelled"),
        (on.deadline_exceeded, "deadline-exceeded"),
        (on.internal, "internal"),
        (on.resource_exhausted, "resource-exhausted"),
        (on.unavailable, "unavailable"),
    ];
    all.iter()
        .filter(|(is, _)| *is)
        .map(|(_, word)| *word)
        .collect()
}

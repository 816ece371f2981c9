//! Retries: the words of `retryOn`, and the misunderstandings that go with retries.

use std::time::Duration;

use super::{Path, Scope, words};
use crate::api::virtual_service::{HttpRetry, HttpRoute};
use crate::diag::codes;
use crate::message::nearest;

/// Every word of `retryOn` beside numbers of statuses.
const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// Words that retry what the server may have executed.
const AFTER_EXECUTION: [&str; 3] = ["5xx", "gateway-error", "reset"];

/// Methods that may be repeated (RFC 9110 section 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];

/// Refuses what Istio refuses.
pub(super) fn check(retries: &HttpRetry, at: &Path<'_>, scope: &mut Scope<'_>) {
    if retries.attempts < 0 {
        let message = format!("{} attempts are less than none", retries.attempts);
        scope.error(&at.field("attempts"), message, "use 0 to turn retries off");
    }
    let shaped = retries.per_try_timeout.is_some() || !retries.retry_on.is_empty();
    if retries.attempts == 0 && shaped {
        let help =
            "set `attempts`, or remove the other fields: 0, also when unset, turns retries off";
        scope.error(
            &at.field("attempts"),
            "retries are described, but `attempts` is 0",
            help,
        );
    }
    if let Some(timeout) = retries.per_try_timeout {
        scope.judge(&at.field("perTryTimeout"), words::duration(timeout), "");
    }
    if let Some(backoff) = retries.backoff {
        scope.judge(&at.field("backoff"), words::duration(backoff), "");
    }
    if !retries.retry_on.is_empty() {
        for word in retries.retry_on.split(',') {
            retry_word(word, &at.field("retryOn"), scope);
        }
    }
}

fn retry_word(word: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    let status = word.parse::<u32>().is_ok_and(|n| (100..=599).contains(&n));
    if status || RETRY_ON.contains(&word) {
        return;
    }
    let trimmed = word.trim();
    let help = if trimmed != word && RETRY_ON.contains(&trimmed) {
        "write the words without spaces between them".to_owned()
    } else {
        nearest(trimmed, RETRY_ON.iter().copied()).map_or_else(
            || {
                format!(
                    "the words are {}, and numbers of statuses",
                    RETRY_ON.join(", ")
                )
            },
            |n| format!("did you mean `{n}`?"),
        )
    };
    scope.error(at, format!("`{word}` is not a word of `retryOn`"), &help);
}

/// Says what the settings mean where people often expect something else.
pub(super) fn hints(rule: &HttpRoute, retries: &HttpRetry, at: &Path<'_>, scope: &mut Scope<'_>) {
    let on: Vec<&str> = retries.retry_on.split(',').collect();
    if on.contains(&"retriable-4xx") {
        let help = "name the statuses, like `409,429`";
        scope.note(
            codes::SP0204,
            &at.field("retryOn"),
            "`retriable-4xx` means status 409 only",
            help,
        );
    }
    if retries.retry_remote_localities == Some(true) {
        let message = "`retryRemoteLocalities` lets retries leave the locality; it does not restrict them to idempotent methods";
        scope.note(
            codes::SP0205,
            &at.field("retryRemoteLocalities"),
            message,
            "to restrict them match on the method",
        );
    }
    let after: Vec<&str> = on
        .iter()
        .copied()
        .filter(|w| AFTER_EXECUTION.contains(w))
        .collect();
    if retries.attempts > 0 && !after.is_empty() && !only_idempotent(rule) {
        let message = format!(
            "`{}` repeats requests that may have been executed, also POST",
            after.join(",")
        );
        let help = "give POST and PATCH a rule with retryOn: connect-failure,refused-stream,reset-before-request, or match the idempotent methods";
        scope.note(codes::SP0206, &at.field("retryOn"), message, help);
    }
    if let (Some(timeout), Some(each)) = (rule.timeout, retries.per_try_timeout) {
        too_long(timeout, each, retries.attempts, at, scope);
    }
}

fn too_long(
    timeout: Duration,
    each: Duration,
    attempts: i32,
    at: &Path<'_>,
    scope: &mut Scope<'_>,
) {
    let tries = u32::try_from(attempts).unwrap_or(0).saturating_add(1);
    let all = each.saturating_mul(tries);
    if tries > 1 && all > timeout {
        let message = format!(
            "{tries} tries of {} take up to {}, but the timeout of the route ends them after {}",
            shown(each),
            shown(all),
            shown(timeout)
        );
        let help = format!("set timeout: {}, or shorten the tries", shown(all));
        scope.note(codes::SP0203, &at.field("perTryTimeout"), message, &help);
    }
}

/// A duration as people write it.
pub(super) fn shown(value: Duration) -> String {
    if value.subsec_nanos() == 0 {
        format!("{}s", value.as_secs())
    } else {
        format!("{}ms", value.as_millis())
    }
}

/// Whether every match of the rule names methods that may be repeated.
fn only_idempotent(rule: &HttpRoute) -> bool {
    let one = |method: &str| IDEMPOTENT.contains(&method);
    !rule.match_.is_empty()
        && rule.match_.iter().all(|m| {
            m.method
                .as_ref()
                .is_some_and(|method| match (&method.exact, &method.regex) {
                    (Some(exact), _) => one(exact),
                    (_, Some(regex)) => {
                        regex.trim_matches(['^', '$', '(', ')']).split('|').all(one)
                    }
                    _ => false,
                })
        })
}

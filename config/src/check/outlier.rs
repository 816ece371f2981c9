//! `outlierDetection`: its bounds, and what its numbers do together.

use std::time::Duration;

use super::{Path, Scope, words};
use crate::api::destination_rule::OutlierDetection;
use crate::diag::codes;

/// What Envoy takes when `consecutive5xxErrors` is unset.
const DEFAULT_5XX: u32 = 5;

pub(super) fn check(detection: &OutlierDetection, at: &Path<'_>, scope: &mut Scope<'_>) {
    for (name, value) in [
        ("interval", detection.interval),
        ("baseEjectionTime", detection.base_ejection_time),
    ] {
        if let Some(value) = value {
            scope.judge(&at.field(name), words::duration(value), "");
        }
    }
    let percents = [
        ("maxEjectionPercent", detection.max_ejection_percent),
        ("minHealthPercent", detection.min_health_percent),
    ];
    for (name, value) in percents {
        scope.judge(&at.field(name), words::percentage(f64::from(value)), "");
    }
    for (i, code) in detection
        .outlier_detection_http_error_codes
        .iter()
        .enumerate()
    {
        let known = (100..=599).contains(code);
        scope.require(
            known,
            &at.item("outlierDetectionHttpErrorCodes", i),
            &format!("{code} is not a status of HTTP"),
            "use 100 to 599",
        );
    }
    let locally = detection.consecutive_local_origin_failures;
    if locally.is_some_and(|n| n > 0) && !detection.split_external_local_origin_errors {
        let help = "set splitExternalLocalOriginErrors: true";
        scope.error(
            &at.field("consecutiveLocalOriginFailures"),
            "it counts nothing unless local errors are split from others",
            help,
        );
    }
    if detection.consecutive_errors != 0 {
        outdated(detection, at, scope);
    }
    together(detection, at, scope);
}

fn outdated(detection: &OutlierDetection, at: &Path<'_>, scope: &mut Scope<'_>) {
    let at = at.field("consecutiveErrors");
    let n = detection.consecutive_errors;
    if n < 0 {
        return scope.error(&at, format!("{n} is negative"), "");
    }
    let help = format!(
        "write consecutive5xxErrors: {n}, or consecutiveGatewayErrors: {n} to count 502, 503 and 504 only"
    );
    let message = if detection.consecutive_5xx_errors.is_some() {
        "`consecutiveErrors` no longer exists and is ignored beside `consecutive5xxErrors`"
            .to_owned()
    } else {
        format!(
            "`consecutiveErrors` no longer exists in Istio, where {DEFAULT_5XX} would apply; it is read as consecutive5xxErrors: {n}"
        )
    };
    scope.note(codes::SP0105, &at, message, &help);
}

fn together(detection: &OutlierDetection, at: &Path<'_>, scope: &mut Scope<'_>) {
    let any = detection.consecutive_5xx_errors.unwrap_or(DEFAULT_5XX);
    let gateway = detection.consecutive_gateway_errors.unwrap_or(0);
    if gateway > 0 && any > 0 && gateway >= any {
        let message = format!(
            "{gateway} gateway errors are never reached: they are 5xx too, and {any} of those eject first"
        );
        scope.note(
            codes::SP0207,
            &at.field("consecutiveGatewayErrors"),
            message,
            "make it smaller than `consecutive5xxErrors`, or remove it",
        );
    }
    if detection.max_ejection_percent == 100 && detection.min_health_percent == 0 {
        let message = "every endpoint may be ejected, and then each request is answered 503";
        let help = "lower it, or set `minHealthPercent` to use all endpoints when few are healthy";
        scope.note(
            codes::SP0208,
            &at.field("maxEjectionPercent"),
            message,
            help,
        );
    }
    if detection.min_health_percent > 0 {
        let message = format!(
            "with less than {} % of the endpoints healthy, load goes to all of them, the ejected ones too",
            detection.min_health_percent
        );
        scope.note(
            codes::SP0209,
            &at.field("minHealthPercent"),
            message,
            "to limit ejection itself use `maxEjectionPercent`",
        );
    }
    if detection
        .base_ejection_time
        .is_some_and(|t| t > Duration::from_secs(300))
    {
        scope.warn(
            &at.field("baseEjectionTime"),
            "ejection is capped at 300s",
            "use 300s or less",
        );
    }
}

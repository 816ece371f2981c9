//! What a refused client is told of the limit: `RateLimit` and `RateLimit-Policy` of
//! draft-ietf-httpapi-ratelimit-headers-09, and `Retry-After` (RFC 9110 §10.2.3).
//!
//! The drafts up to 07 had other fields or another form of these; Envoy sends that of 03.

use super::bucket::Taken;
use crate::reply::Reply;
use sallyport_config::ir::{Limit, Rate};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Adds the fields of a limit that tells.
pub(super) fn tell(limit: &Limit, taken: Taken, reply: &mut Reply<'_>) {
    let Some(name) = &limit.told else {
        return;
    };
    let wait = taken.wait.div_ceil(SECOND).max(1);
    let (quota, window) = quota(limit.rate);
    let policy = format!("\"{name}\";q={quota};w={window}");
    let state = format!("\"{name}\";r={};t={wait}", taken.remaining);
    reply.headers.extend([
        ("ratelimit-policy".into(), policy.into()),
        ("ratelimit".into(), state.into()),
        ("retry-after".into(), wait.to_string().into()),
    ]);
}

/// Requests in a window of whole seconds.
fn quota(rate: Rate) -> (u64, u64) {
    let millis = rate.interval.0.max(1);
    let window = millis.div_ceil(1_000);
    let quota = u64::from(rate.tokens).saturating_mul(window.saturating_mul(1_000)) / millis;
    (quota, window)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_config::ir::Millis;

    #[test]
    fn windows_are_whole_seconds() {
        let quota = |tokens, millis| {
            quota(Rate {
                burst: 1,
                tokens,
                interval: Millis(millis),
            })
        };
        assert_eq!(quota(100, 60_000), (100, 60));
        assert_eq!(quota(10, 250), (40, 1));
        assert_eq!(quota(3, 1_500), (4, 2));
    }
}

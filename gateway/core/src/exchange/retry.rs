//! Which failures and responses a retry policy wants to try again, where, and after how long.
//!
//! The words and their meaning are Envoy's (`source/common/router/retry_state_impl.cc`,
//! docs "x-envoy-retry-on").

use super::{AVOID_MAX, BACKOFF_CAP, Policy};
use crate::failure::Retriable;
use crate::rng::Rng;
use sallyport_config::ir::{Millis, RetryOn};

/// What a retry policy looks at in a response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Final status: 101, or 200..=599.
    pub status: u16,
    /// `grpc-status` of a response that is headers only.
    pub grpc_status: Option<u8>,
    /// `x-envoy-ratelimited` is present.
    pub rate_limited: bool,
    /// A header that the policy calls retriable is present.
    pub retriable_header: bool,
}

impl Head {
    /// A head of which only the status matters.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

/// Whether the policy wants another try after a failure without response.
pub(super) fn wants_after_failure(on: &RetryOn, how: Retriable, request_begun: bool) -> bool {
    let any_reset =
        on.reset || on.five_xx || on.gateway_error || (on.reset_before_request && !request_begun);
    match how {
        Retriable::Never => false,
        Retriable::Reset => any_reset,
        Retriable::Connect => any_reset || on.connect_failure,
        Retriable::Refused => any_reset || on.refused_stream,
    }
}

/// Whether the policy wants another try instead of this response.
pub(super) fn wants_after_head(policy: &Policy<'_>, head: &Head) -> bool {
    let on = &policy.retry.on;
    // a rate limiter's answer is never retried under any other word
    if head.rate_limited {
        return on.envoy_ratelimited;
    }
    if policy.early && head.status == 425 {
        return false;
    }
    let by_status = match head.status {
        409 => on.retriable_4xx,
        502..=504 => on.five_xx || on.gateway_error,
        500..=599 => on.five_xx,
        _ => false,
    };
    let by_code = on.retriable_status_codes && policy.retry.status_codes.contains(&head.status);
    let by_header = on.retriable_headers && head.retriable_header;
    let by_grpc = policy.grpc
        && match head.grpc_status {
            Some(1) => on.cancelled,
            Some(4) => on.deadline_exceeded,
            Some(8) => on.resource_exhausted,
            Some(13) => on.internal,
            Some(14) => on.unavailable,
            _ => false,
        };
    by_status || by_code || by_header || by_grpc
}

/// Microseconds before retry number `retry` (from 1): full jitter over `(2^n - 1) × base`, at
/// most [`BACKOFF_CAP`] times the base.
pub(super) fn backoff_micros(base: Millis, retry: u32, rng: &mut Rng) -> u64 {
    let steps = 1_u64
        .checked_shl(retry)
        .map_or(BACKOFF_CAP, |power| power.saturating_sub(1))
        .clamp(1, BACKOFF_CAP);
    rng.below(base.0.saturating_mul(1_000).saturating_mul(steps))
}

/// Endpoints already tried in vain; of more than [`AVOID_MAX`] the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Avoid {
    tried: [u32; AVOID_MAX],
    count: usize,
}

impl Avoid {
    pub(super) fn push(&mut self, endpoint: u32) {
        if self.as_slice().contains(&endpoint) {
            return;
        }
        if self.count == AVOID_MAX {
            self.tried.rotate_left(1);
            self.count -= 1;
        }
        if let Some(slot) = self.tried.get_mut(self.count) {
            *slot = endpoint;
            self.count += 1;
        }
    }

    /// Indexes into the cluster's endpoints.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        self.tried.get(..self.count).unwrap_or_default()
    }
}

//! The life of an issuer's keys: where they are, when they are fetched, when again.
//!
//! Keys that were fetched once stay good while the issuer cannot be reached: an outage there must
//! not lock everybody out here. Who presents a token with an unknown key may cause a fetch, at a
//! bounded rate.

use crate::time::Now;
use sallyport_config::ir::Millis;
use serde_json::Value;

/// Keys are fetched anew after this (Istio's `PILOT_JWT_PUB_KEY_REFRESH_INTERVAL`).
pub const REFRESH: Millis = Millis(20 * 60 * 1_000);
/// The first fetch after a failed one; each further failure doubles it.
pub const RETRY_FIRST: Millis = Millis(1_000);
/// Longest wait after a failure.
pub const RETRY_MAX: Millis = Millis(60_000);
/// Least time between two fetches that tokens with unknown keys cause.
pub const MISSING_MIN: Millis = Millis(10_000);
/// Waits are longer by up to this share, so that gateways do not fall into step: one in so many.
const JITTER: u64 = 10;

/// When the keys of one issuer are fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life {
    due: Now,
    tried: bool,
    failures: u32,
    /// When the last fetch was due that tokens with unknown keys caused.
    caused: Option<Now>,
}

impl Life {
    /// When they are fetched next; the past means now.
    #[must_use]
    pub fn due(&self) -> Now {
        self.due
    }

    /// Fetches in a row that failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether a fetch ended yet, well or not.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        self.tried
    }

    /// A fetch has ended; `die` is thrown in `0..1_000_000`.
    pub fn fetched(&mut self, good: bool, now: Now, die: u32) {
        let wait = if good {
            self.failures = 0;
            REFRESH
        } else {
            let doubled = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
            self.failures = self.failures.saturating_add(1);
            Millis(RETRY_FIRST.0.saturating_mul(doubled)).min(RETRY_MAX)
        };
        let jitter = wait.0 / JITTER * u64::from(die.min(1_000_000)) / 1_000_000;
        self.tried = true;
        self.due = now + Millis(wait.0 + jitter);
    }

    /// A token was signed with a key that is not among them: perhaps it is new.
    pub fn missing(&mut self, now: Now) {
        let soonest = self.caused.map_or(now, |last| last + MISSING_MIN).max(now);
        if soonest < self.due {
            self.due = soonest;
            self.caused = Some(soonest);
        }
    }
}

/// Where an issuer describes itself (OpenID Connect Discovery 1.0, §4).
#[must_use]
pub fn description_url(issuer: &str) -> String {
    let issuer = issuer.trim_end_matches('/');
    format!("{issuer}/.well-known/openid-configuration")
}

/// Where the keys are, as an issuer's description says.
///
/// # Errors
/// It is none, it is another issuer's (§4.3), or it leads from https to something else.
pub fn keys_url(description: &str, issuer: &str) -> Result<String, String> {
    let description: Value = serde_json::from_str(description)
        .map_err(|_| "the description of the issuer is not JSON".to_owned())?;
    let text = |name: &str| description.get(name).and_then(Value::as_str);
    let plain = |url: &str| url.trim_end_matches('/').to_owned();
    match text("issuer") {
        Some(named) if plain(named) != plain(issuer) => {
            let named: String = named.chars().take(200).collect();
            return Err(format!("the description is of another issuer: {named:?}"));
        }
        _ => {}
    }
    let url = text("jwks_uri").ok_or("the description has no `jwks_uri`")?;
    if issuer.starts_with("https://") && !url.starts_with("https://") {
        return Err("an https issuer must keep its keys at https".to_owned());
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Millis = Millis(60_000);

    #[test]
    fn good_keys_are_fetched_anew_and_failed_fetches_sooner() {
        let mut life = Life::default();
        let now = Now(1_000_000);
        assert!(life.due() <= now && !life.is_tried());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            life.fetched(false, now, 0);
            assert_eq!(life.due(), now + Millis(seconds * 1_000));
        }
        assert_eq!(life.failures(), 8);
        life.fetched(true, now, 500_000);
        assert_eq!(life.due(), now + Millis(21 * 60_000), "half of the jitter");
        assert_eq!(life.failures(), 0);
        for _ in 0..100 {
            life.fetched(false, now, 0);
        }
        assert_eq!(life.due(), now + MINUTE);
    }

    #[test]
    fn unknown_keys_cause_a_fetch_at_a_bounded_rate() {
        let mut life = Life::default();
        let start = Now(0);
        life.fetched(true, start, 0);
        let soon = start + Millis(4_000);
        life.missing(soon);
        assert_eq!(life.due(), soon, "the first at once");
        life.missing(soon);
        assert_eq!(life.due(), soon, "and once only");
        life.fetched(true, soon, 0);
        life.missing(soon);
        assert_eq!(life.due(), soon + MISSING_MIN);
        life.fetched(false, soon + MISSING_MIN, 0);
        let retry = soon + MISSING_MIN + RETRY_FIRST;
        life.missing(soon + MISSING_MIN);
        assert_eq!(life.due(), retry, "a retry that is due sooner stays");
        life.fetched(true, retry, 0);
        let later = retry + MINUTE;
        life.missing(later);
        assert_eq!(life.due(), later);
    }

    #[test]
    fn a_description_says_where_the_keys_are() {
        assert_eq!(
            description_url("https://a.test/x/"),
            "https://a.test/x/.well-known/openid-configuration"
        );
        let url = |text: &str| keys_url(text, "https://a.test/");
        assert_eq!(
            url(r#"{"issuer":"https://a.test","jwks_uri":"https://b.test/k"}"#).unwrap(),
            "https://b.test/k"
        );
        for (text, why) in [
            ("<html>", "not JSON"),
            ("{}", "no `jwks_uri`"),
            (r#"{"jwks_uri":7}"#, "no `jwks_uri`"),
            (r#"{"jwks_uri":"http://b.test/k"}"#, "https"),
            (
                r#"{"issuer":"https://evil.test","jwks_uri":"https://b.test/k"}"#,
                "another issuer",
            ),
        ] {
            assert!(url(text).unwrap_err().contains(why), "{text}");
        }
    }
}

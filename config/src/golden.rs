//! Golden calls: requests with their expected outcome, written in YAML.
//!
//! The same calls run against [`crate::model`], against the gateway's tables, and against real
//! proxies with echoing origins; so reading them and judging an outcome is here, once. A case is a
//! directory of `*.yaml` files (all but `calls.yaml` are configuration). Endpoints are in
//! 127.77.0.0/16: a harness that runs cases side by side gives each another prefix.

mod decode;

use crate::model::{Call, Verdict};

pub use decode::decode;

/// A request and what should become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    /// Name, unique in its case.
    pub id: String,
    /// The request.
    pub call: Call,
    /// The outcome.
    pub expect: Expect,
}

/// What should become of a call. Unset fields may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// `refused`: nothing listens.
    Refused,
    /// `closed`: no answer.
    Closed,
    /// `no_certificate`: the handshake fails.
    NoCertificate,
    /// `denied`: `status`, `details`.
    Denied {
        /// Status.
        status: u16,
        /// Envoy's details.
        details: Option<String>,
    },
    /// `misdirected`: 421.
    Misdirected,
    /// `no_route`: 404 NR.
    NoRoute,
    /// `tcp`: bytes go to this cluster.
    Tcp(String),
    /// `redirect`: `status`, `location`.
    Redirect {
        /// Status.
        status: u16,
        /// Location.
        location: String,
    },
    /// `direct`: `status`, `body`, `details`.
    Direct {
        /// Status.
        status: u16,
        /// Body.
        body: Option<String>,
        /// Envoy's details.
        details: Option<String>,
    },
    /// `preflight`: fields of the answer, all of them.
    Preflight(Vec<(String, String)>),
    /// `forward`
    Forward(Box<ExpectForward>),
}

/// Expectations on a forwarded request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpectForward {
    /// Cluster.
    pub cluster: Option<String>,
    /// The cluster does not exist: 503 NC.
    pub unknown: bool,
    /// Name of the route.
    pub route: Option<String>,
    /// Path and query that the upstream sees.
    pub path: Option<String>,
    /// Authority that the upstream sees.
    pub authority: Option<String>,
    /// Fields with all their lines, as the upstream sees them.
    pub headers: Vec<(String, Vec<String>)>,
    /// Names of fields that the upstream does not see.
    pub absent: Vec<String>,
    /// Edits of the response, as [`crate::model::Forwarded::response`] writes them; all of them.
    pub response: Option<Vec<String>>,
    /// Timeout in milliseconds.
    pub timeout: Option<u64>,
    /// Retries.
    pub attempts: Option<u32>,
    /// Clusters of the copies, all of them.
    pub mirrors: Option<Vec<String>>,
    /// Injected delay in milliseconds.
    pub delay: Option<u64>,
}

impl Expect {
    /// Says in which way a verdict differs; nothing when it is as expected.
    #[must_use]
    pub fn differs(&self, got: &Verdict) -> Option<String> {
        let same = match (self, got) {
            (Self::Refused, Verdict::Refused)
            | (Self::Closed, Verdict::Closed)
            | (Self::NoCertificate, Verdict::NoCertificate)
            | (Self::Misdirected, Verdict::Misdirected)
            | (Self::NoRoute, Verdict::NoRoute) => true,
            (Self::Tcp(want), Verdict::Tcp(cluster)) => want == cluster,
            (
                Self::Redirect {
                    status: want,
                    location: to,
                },
                Verdict::Redirect {
                    status, location, ..
                },
            ) => (want, to) == (status, location),
            (
                Self::Direct {
                    status: want,
                    body: text,
                    details: why,
                },
                Verdict::Direct {
                    status,
                    body,
                    details,
                    ..
                },
            ) => {
                want == status
                    && text
                        .as_ref()
                        .is_none_or(|t| t.as_bytes() == body.as_slice())
                    && why.as_ref().is_none_or(|w| w == details)
            }
            (
                Self::Denied {
                    status: want,
                    details: why,
                },
                Verdict::Denied { status, details },
            ) => want == status && why.as_ref().is_none_or(|w| w == details),
            (Self::Preflight(want), Verdict::Preflight(fields)) => want == fields,
            (Self::Forward(want), Verdict::Forward(forwarded)) => {
                let wrong = want.wrong(forwarded);
                return (!wrong.is_empty()).then(|| wrong.join("; "));
            }
            _ => false,
        };
        (!same).then(|| format!("expected {self:?}, got {got:?}"))
    }
}

impl ExpectForward {
    fn wrong(&self, got: &crate::model::Forwarded) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |what: &str, want: Option<String>, got: String| {
            if let Some(want) = want.filter(|w| *w != got) {
                wrong.push(format!("{what}: expected {want}, got {got}"));
            }
        };
        check("cluster", self.cluster.clone(), got.cluster.clone());
        check(
            "unknown",
            Some(self.unknown.to_string()),
            (!got.known).to_string(),
        );
        check("route", self.route.clone(), got.route.clone());
        check("path", self.path.clone(), got.path.clone());
        check("authority", self.authority.clone(), got.authority.clone());
        for (name, want) in &self.headers {
            let lines: Vec<&String> = got
                .headers
                .iter()
                .filter(|(n, _)| n == name)
                .map(|(_, v)| v)
                .collect();
            check(name, Some(format!("{want:?}")), format!("{lines:?}"));
        }
        for name in &self.absent {
            let there = got.headers.iter().any(|(n, _)| n == name);
            check(
                name,
                Some("absent".to_owned()),
                (if there { "present" } else { "absent" }).to_owned(),
            );
        }
        check(
            "response",
            self.response.as_ref().map(|r| format!("{r:?}")),
            format!("{:?}", got.response),
        );
        check(
            "timeout",
            self.timeout.map(|t| t.to_string()),
            got.timeout.to_string(),
        );
        check(
            "attempts",
            self.attempts.map(|a| a.to_string()),
            got.attempts.to_string(),
        );
        check(
            "mirrors",
            self.mirrors.as_ref().map(|m| format!("{m:?}")),
            format!("{:?}", got.mirrors),
        );
        check(
            "delay",
            self.delay.map(|d| d.to_string()),
            got.delay.to_string(),
        );
        wrong
    }
}

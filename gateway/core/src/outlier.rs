//! Which endpoints are left out for a while because they fail: Envoy's outlier detection, as far as
//! Istio uses it (docs "Outlier detection", `source/common/upstream/outlier_detection_impl.cc`).
//!
//! What a request must know and say is a [`Host`]: counts of errors in a row and one flag, shared
//! by all workers as atomics. As long as requests succeed, nobody writes to it. All else, when to
//! eject and when to let back in, is the [`Detector`]'s, which is asked only when a count has
//! reached its limit, and at each interval.
//!
//! One rule is ours: one endpoint may always be ejected, even where it is more of the cluster than
//! `maxEjectionPercent`. Envoy had that rule until 1.28; without it the default of 10 % does nothing
//! for clusters of fewer than ten endpoints.

use crate::time::Now;
use sallyport_config::ir::Outlier;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How a try ended, as far as its endpoint is to praise or to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answered, with this status.
    Status(u16),
    /// No connection, or one that broke: 503 if nothing tells these from statuses.
    Broken,
    /// It took too long: 504.
    Late,
}

impl Verdict {
    /// Of a response that is headers only and says `grpc-status`: the HTTP status that stands for
    /// it (Envoy's `Grpc::Utility::grpcToHttpStatus`).
    #[must_use]
    pub fn grpc(status: u8) -> Self {
        Self::Status(match status {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        })
    }
}

/// An endpoint as all workers see it.
#[derive(Debug, Default)]
pub struct Host {
    errors: AtomicU32,
    gateway: AtomicU32,
    local: AtomicU32,
    ejected: AtomicBool,
    /// Health checks say so.
    sick: AtomicBool,
}

impl Host {
    /// Whether it was ejected.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    /// Whether health checks say that it is not well.
    #[must_use]
    pub fn is_sick(&self) -> bool {
        self.sick.load(Ordering::Relaxed)
    }

    /// Whether it is left out, for whatever reason.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.is_ejected() || self.is_sick()
    }

    /// Takes note of a try. `true`: it failed once too often, ask [`Detector::eject`].
    #[must_use]
    pub fn note(&self, rules: &Outlier, verdict: Verdict) -> bool {
        let split = rules.consecutive_local.is_some();
        let status = match verdict {
            Verdict::Status(status) => status,
            Verdict::Broken | Verdict::Late if split => {
                let limit = rules.consecutive_local.unwrap_or(0);
                return count(&self.local, limit);
            }
            Verdict::Broken => 503,
            Verdict::Late => 504,
        };
        if split {
            clear(&self.local);
        }
        let error = if rules.error_codes.is_empty() {
            (500..600).contains(&status)
        } else {
            rules.error_codes.contains(&status)
        };
        if !error {
            clear(&self.errors);
            clear(&self.gateway);
            return false;
        }
        let gateway = if (502..=504).contains(&status) {
            count(&self.gateway, rules.consecutive_gateway)
        } else {
            clear(&self.gateway);
            false
        };
        count(&self.errors, rules.consecutive_5xx) || gateway
    }

    fn forget(&self) {
        for cell in [&self.errors, &self.gateway, &self.local] {
            clear(cell);
        }
    }
}

/// One more in a row; `true` at the limit, where it begins anew. 0 is no limit.
fn count(cell: &AtomicU32, limit: u32) -> bool {
    let reached = cell.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    if limit > 0 && reached >= limit {
        cell.store(0, Ordering::Relaxed);
        return true;
    }
    false
}

/// Writes only if there is something to write: a line of memory that nobody writes to costs nobody
/// anything.
fn clear(cell: &AtomicU32) {
    if cell.load(Ordering::Relaxed) != 0 {
        cell.store(0, Ordering::Relaxed);
    }
}

/// The endpoints of one cluster, over generations and workers.
#[derive(Debug, Default)]
pub struct Detector {
    hosts: Vec<Entry>,
    next_sweep: Option<Now>,
    ejections: u64,
    checks: Checks,
}

/// Health checks so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checks {
    /// That were answered well.
    pub passed: u64,
    /// That were not.
    pub failed: u64,
}

#[derive(Debug)]
struct Entry {
    address: SocketAddr,
    host: Arc<Host>,
    /// Ejections in a row: what the time is multiplied by.
    times: u32,
    since: Option<Now>,
}

impl Detector {
    /// The hosts of these endpoints, in their order. Those known before keep their state; others
    /// are forgotten as soon as nobody has them any more: workers may still serve by an older list.
    pub fn hosts(&mut self, addresses: impl Iterator<Item = SocketAddr>) -> Vec<Arc<Host>> {
        let known = self.hosts.iter().enumerate();
        let mut known: HashMap<SocketAddr, usize> = known.map(|(i, e)| (e.address, i)).collect();
        let mut wanted = Vec::new();
        for address in addresses {
            let at = *known.entry(address).or_insert_with(|| {
                self.hosts.push(Entry {
                    address,
                    host: Arc::default(),
                    times: 0,
                    since: None,
                });
                self.hosts.len() - 1
            });
            let entry = self.hosts.get(at);
            wanted.extend(entry.map(|entry| Arc::clone(&entry.host)));
        }
        self.hosts
            .retain(|entry| Arc::strong_count(&entry.host) > 1);
        wanted
    }

    /// Leaves a host out, unless it is already or too many are; whether it does.
    pub fn eject(&mut self, rules: &Outlier, host: &Arc<Host>, now: Now) -> bool {
        let ejected = self.ejected();
        let all = self.hosts.len();
        let allowed = (ejected + 1) * 100 <= all * usize::from(rules.max_ejection_percent);
        if host.is_ejected() || ejected > 0 && !allowed {
            return false;
        }
        let entry = self.hosts.iter_mut().find(|e| Arc::ptr_eq(&e.host, host));
        let Some(entry) = entry else {
            return false;
        };
        // beyond the longest time there is nothing to multiply
        let longest = rules.max_ejection.0.saturating_add(rules.base_ejection.0);
        if rules.base_ejection.0.saturating_mul(u64::from(entry.times)) < longest {
            entry.times += 1;
        }
        entry.since = Some(now);
        entry.host.ejected.store(true, Ordering::Relaxed);
        self.ejections += 1;
        true
    }

    /// Once an interval: lets hosts back in whose time is over, and shortens the next time of
    /// those that were well. Whether anything changed that balancers must know.
    pub fn sweep(&mut self, rules: &Outlier, now: Now) -> bool {
        let due = *self.next_sweep.get_or_insert(now + rules.interval);
        if now < due {
            return false;
        }
        self.next_sweep = Some(now + rules.interval);
        let mut changed = false;
        for entry in &mut self.hosts {
            let Some(since) = entry.since else {
                entry.times = entry.times.saturating_sub(1);
                continue;
            };
            let time = rules.base_ejection.0.saturating_mul(u64::from(entry.times));
            let time = time.min(rules.max_ejection.0).saturating_mul(1_000);
            if now.since(since) >= time {
                entry.since = None;
                entry.host.forget();
                entry.host.ejected.store(false, Ordering::Relaxed);
                changed = true;
            }
        }
        changed
    }

    /// Takes note of a health check of an endpoint, which is `sick` now or not. Whether anything
    /// changed that balancers must know.
    pub fn checked(&mut self, address: SocketAddr, passed: bool, sick: bool) -> bool {
        match passed {
            true => self.checks.passed += 1,
            false => self.checks.failed += 1,
        }
        let host = self.hosts.iter().find(|entry| entry.address == address);
        host.is_some_and(|entry| entry.host.sick.swap(sick, Ordering::Relaxed) != sick)
    }

    /// Health checks so far.
    #[must_use]
    pub fn checks(&self) -> Checks {
        self.checks
    }

    /// Endpoints that health checks leave out at present.
    pub fn all_sick(&self) -> impl Iterator<Item = SocketAddr> {
        let out = self.hosts.iter().filter(|entry| entry.host.is_sick());
        out.map(|entry| entry.address)
    }

    /// Hosts left out at present.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.hosts.iter().filter(|e| e.since.is_some()).count()
    }

    /// Ejections so far.
    #[must_use]
    pub fn ejections(&self) -> u64 {
        self.ejections
    }

    /// Endpoints left out at present.
    pub fn all_ejected(&self) -> impl Iterator<Item = SocketAddr> {
        let out = self.hosts.iter().filter(|entry| entry.since.is_some());
        out.map(|entry| entry.address)
    }
}

#[cfg(test)]
mod tests;

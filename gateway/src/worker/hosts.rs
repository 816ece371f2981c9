//! Hosts that requests name and only DNS knows (`DYNAMIC_DNS`), on one worker. The side thread looks
//! them up; requests wait for the first answer, and later ones are asked for while the last one is
//! still used.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sallyport_config::ir::Millis;
use sallyport_core::failure::FailureKind;
use sallyport_core::time::Now;

/// Hosts that a worker remembers; with more, those whose answers have run out are forgotten, and if
/// there are none, requests for further hosts are refused.
const HOSTS_MAX: usize = 1_024;
/// Requests that wait for one host; further ones are refused.
const WAITERS_MAX: usize = 1_024;
/// A question that was not answered in this time is asked again.
const ASK_AGAIN: Millis = Millis(6_000);

/// Addresses that may be connected to, or why there are none.
pub(crate) type Found = Result<Arc<[IpAddr]>, FailureKind>;

/// What the side thread found out about a host.
#[derive(Debug, Clone)]
pub(crate) struct LookedUp {
    /// What there is.
    pub(crate) addresses: Found,
    /// How long that is good.
    pub(crate) good_for: Millis,
}

/// Everything known about hosts.
#[derive(Debug, Default)]
pub(crate) struct Hosts(RefCell<HashMap<Box<str>, Host>>);

#[derive(Debug, Default)]
struct Host {
    known: Option<LookedUp>,
    until: Now,
    /// When the question that is under way was asked.
    asked: Option<Now>,
    waiters: Vec<Waker>,
}

impl Hosts {
    /// The addresses of a host, once they are known. `ask` passes the question on, if it can.
    pub(crate) fn poll(
        &self,
        host: &str,
        now: Now,
        context: &mut Context<'_>,
        ask: impl FnOnce(&str) -> bool,
    ) -> Poll<Found> {
        let mut hosts = self.0.borrow_mut();
        if !hosts.contains_key(host) {
            if hosts.len() >= HOSTS_MAX {
                hosts.retain(|_, host| now < host.until || !host.waiters.is_empty());
            }
            if hosts.len() >= HOSTS_MAX {
                return Poll::Ready(Err(FailureKind::Overflow));
            }
            hosts.insert(host.into(), Host::default());
        }
        let Some(entry) = hosts.get_mut(host) else {
            return Poll::Ready(Err(FailureKind::Internal));
        };
        let under_way = entry.asked.is_some_and(|asked| now < asked + ASK_AGAIN);
        if now >= entry.until && !under_way {
            entry.asked = ask(host).then_some(now);
        }
        match &entry.known {
            Some(known) if known.addresses.is_ok() || now < entry.until => {
                Poll::Ready(known.addresses.clone())
            }
            _ if entry.asked.is_none() || entry.waiters.len() >= WAITERS_MAX => {
                Poll::Ready(Err(FailureKind::Overflow))
            }
            _ => {
                if !entry.waiters.iter().any(|w| w.will_wake(context.waker())) {
                    entry.waiters.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// The answer of the side thread. Addresses that worked stay when nothing is known now.
    pub(crate) fn learn(&self, host: &str, found: LookedUp, now: Now) {
        let mut hosts = self.0.borrow_mut();
        let Some(entry) = hosts.get_mut(host) else {
            return;
        };
        entry.asked = None;
        entry.until = now + found.good_for;
        let keeps = entry
            .known
            .as_ref()
            .is_some_and(|known| known.addresses.is_ok());
        if !(keeps && found.addresses == Err(FailureKind::HostUnknown)) {
            entry.known = Some(found);
        }
        for waiter in entry.waiters.drain(..) {
            waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ip: &str) -> LookedUp {
        LookedUp {
            addresses: Ok(Arc::from([ip.parse().unwrap()])),
            good_for: Millis(10_000),
        }
    }

    fn unknown() -> LookedUp {
        LookedUp {
            addresses: Err(FailureKind::HostUnknown),
            good_for: Millis(5_000),
        }
    }

    /// Polls, and says whether a question was asked.
    fn poll(hosts: &Hosts, host: &str, now: Now) -> (Poll<Found>, bool) {
        let mut asked = false;
        let mut context = Context::from_waker(Waker::noop());
        let poll = hosts.poll(host, now, &mut context, |_| {
            asked = true;
            true
        });
        (poll, asked)
    }

    #[test]
    fn a_host_is_asked_for_once_and_then_known_for_a_while() {
        let hosts = Hosts::default();
        let start = Now(0);
        assert_eq!(poll(&hosts, "a", start), (Poll::Pending, true));
        assert_eq!(poll(&hosts, "a", start), (Poll::Pending, false));
        hosts.learn("a", found("1.1.1.1"), start);
        let one = found("1.1.1.1").addresses;
        assert_eq!(poll(&hosts, "a", start), (Poll::Ready(one.clone()), false));
        let later = start + Millis(11_000);
        assert_eq!(poll(&hosts, "a", later), (Poll::Ready(one.clone()), true));
        assert_eq!(poll(&hosts, "a", later), (Poll::Ready(one.clone()), false));
        hosts.learn("a", unknown(), later);
        assert_eq!(
            poll(&hosts, "a", later),
            (Poll::Ready(one), false),
            "it worked"
        );
    }

    #[test]
    fn failures_are_remembered_for_a_while_and_lost_questions_asked_again() {
        let hosts = Hosts::default();
        let start = Now(0);
        assert_eq!(poll(&hosts, "a", start), (Poll::Pending, true));
        let later = start + ASK_AGAIN;
        assert_eq!(poll(&hosts, "a", later), (Poll::Pending, true));
        hosts.learn("a", unknown(), later);
        let refused = Poll::Ready(Err(FailureKind::HostUnknown));
        assert_eq!(poll(&hosts, "a", later), (refused, false));
        let again = later + Millis(5_000);
        assert_eq!(poll(&hosts, "a", again), (Poll::Pending, true));
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let hosts = Hosts::default();
        let start = Now(0);
        for n in 0..HOSTS_MAX {
            let host = n.to_string();
            assert!(poll(&hosts, &host, start).0.is_pending());
            hosts.learn(&host, unknown(), start);
        }
        let full = Poll::Ready(Err(FailureKind::Overflow));
        assert_eq!(poll(&hosts, "one more", start), (full, false));
        let later = start + Millis(5_000);
        assert!(poll(&hosts, "one more", later).0.is_pending());
        assert_eq!(hosts.0.borrow().len(), 1);
    }
}

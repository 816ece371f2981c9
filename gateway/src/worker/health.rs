//! Active health checks: the first worker asks the endpoints of clusters that want it, and all workers
//! leave out those that fail. Envoy's rules (docs "Health checking"): an endpoint is left out after so
//! many failures in a row and comes back after so many successes; until it has failed it is well.

mod probe;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use sallyport_config::ir::{ClusterId, HealthCheck, Millis};
use sallyport_core::time::Now;

use super::{Active, Worker};
use crate::rt;
use crate::upstream::Upstream;

/// Checks under way at a time; others wait for the next round.
const RUNNING_MAX: usize = 128;
/// Checks are spread over this part of their interval, so that they do not come all at once.
const JITTER_PARTS: u64 = 10;

/// What is known of the endpoints that are checked. Only on the first worker.
#[derive(Debug, Default)]
pub(super) struct Doctor {
    patients: RefCell<HashMap<(Arc<str>, SocketAddr), Patient>>,
}

/// An endpoint of a cluster.
#[derive(Debug)]
struct Patient {
    /// When it is checked next.
    due: Now,
    running: bool,
    /// It is left out.
    sick: bool,
    /// Checks in a row that say otherwise.
    against: u32,
    /// The round that mentioned it last.
    round: Now,
}

impl Doctor {
    /// Starts the checks that are due. Called at each housekeeping.
    pub(super) fn round(&self, worker: &Rc<Worker>, now: Now) {
        let active = worker.active();
        let clusters = (0..).zip(&active.generation.snapshot.clusters);
        for (number, cluster) in clusters {
            if cluster.traffic.health.is_some() {
                self.visit(worker, &active, ClusterId(number), now);
            }
        }
        // endpoints that nobody mentions any more
        let mut patients = self.patients.borrow_mut();
        patients.retain(|_, patient| patient.running || patient.round == now);
    }

    fn visit(&self, worker: &Rc<Worker>, active: &Active, id: ClusterId, now: Now) {
        let Some((cluster, upstream)) = active.upstream(worker, id) else {
            return;
        };
        let Some(check) = &cluster.traffic.health else {
            return;
        };
        let name: Arc<str> = cluster.name.as_str().into();
        let mut patients = self.patients.borrow_mut();
        let mut running = patients.values().filter(|patient| patient.running).count();
        for (index, endpoint) in (0..).zip(&cluster.endpoints) {
            let key = (Arc::clone(&name), endpoint.address);
            let patient = patients.entry(key.clone()).or_insert_with(|| Patient {
                due: now,
                running: false,
                sick: upstream.is_sick(index),
                against: 0,
                round: now,
            });
            patient.round = now;
            if patient.running || now < patient.due || running >= RUNNING_MAX {
                continue;
            }
            running += 1;
            patient.running = true;
            let spread = worker.rng.borrow_mut().next_u64();
            let spread = spread.checked_rem(check.interval.0 / JITTER_PARTS + 1);
            patient.due = now + check.interval + Millis(spread.unwrap_or(0));
            let errand = Errand {
                key,
                upstream: Rc::clone(upstream),
                endpoint: index,
                host: cluster.host.as_str().into(),
                check: check.clone(),
            };
            rt::spawn(examine(Rc::clone(worker), errand));
        }
    }

    fn note(&self, worker: &Worker, errand: &Errand, well: bool) {
        let mut patients = self.patients.borrow_mut();
        let Some(patient) = patients.get_mut(&errand.key) else {
            return;
        };
        patient.running = false;
        if well != patient.sick {
            patient.against = 0;
        } else {
            patient.against += 1;
            let limit = match patient.sick {
                true => errand.check.healthy,
                false => errand.check.unhealthy,
            };
            if patient.against >= limit {
                patient.against = 0;
                patient.sick = !patient.sick;
            }
        }
        let sick = patient.sick;
        drop(patients);
        let (cluster, address) = &errand.key;
        worker.commons.checked(cluster, *address, well, sick);
    }
}

/// One check.
struct Errand {
    key: (Arc<str>, SocketAddr),
    upstream: Rc<Upstream>,
    endpoint: u32,
    /// Host of the service.
    host: Box<str>,
    check: HealthCheck,
}

async fn examine(worker: Rc<Worker>, errand: Errand) {
    let alarm = worker.timers.alarm();
    alarm.set(Some(worker.timers.now() + errand.check.timeout));
    let (upstream, endpoint) = (&errand.upstream, errand.endpoint);
    let asked = probe::ask(
        &worker,
        upstream,
        endpoint,
        &errand.host,
        &errand.check.probe,
    );
    let mut asked = pin!(asked);
    let well = poll_fn(|context| match asked.as_mut().poll(context) {
        Poll::Ready(well) => Poll::Ready(well),
        Poll::Pending => alarm.poll(context).map(|()| false),
    })
    .await;
    worker.doctor.note(&worker, &errand, well);
}

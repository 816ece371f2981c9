//! Calls that go on while something happens, none of which may fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::door::{Client, Door};
use crate::child::eventually;

/// Pause of a client between two calls: others want to compute as well.
const PAUSE: Duration = Duration::from_millis(3);

/// Clients that call until the value is asked to end.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<(Arc<AtomicUsize>, JoinHandle<()>)>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Two clients at each door: one stays connected, one connects for every call.
    pub(crate) fn start(doors: &[Door]) -> Self {
        let shared = Arc::new(Shared::default());
        let doors = doors.iter().flat_map(|door| [(door, true), (door, false)]);
        let clients = doors.map(|(door, stays)| {
            let answered = Arc::new(AtomicUsize::new(0));
            let (door, shared, count) = (door.clone(), Arc::clone(&shared), Arc::clone(&answered));
            let client = thread::spawn(move || shared.call(&door, stays, &count));
            (answered, client)
        });
        Self {
            clients: clients.collect(),
            shared: Arc::clone(&shared),
        }
    }

    /// Waits until every client has had so many more answers.
    pub(crate) fn pass(&self, requests: usize) {
        for (answered, _) in &self.clients {
            let end = answered.load(Ordering::SeqCst) + requests;
            let step = |from: usize| (from + 100).min(end);
            // each hundred has a deadline, so that there may be many
            let mut next = step(end - requests);
            loop {
                eventually("calls are answered", || {
                    self.must_be_good();
                    (answered.load(Ordering::SeqCst) >= next).then_some(())
                });
                if next == end {
                    break;
                }
                next = step(next);
            }
        }
    }

    fn must_be_good(&self) {
        let failures = self.shared.failures.lock().unwrap();
        assert!(failures.is_empty(), "calls failed: {failures:#?}");
    }

    /// How many calls there were, none of which failed.
    pub(crate) fn end(mut self) -> usize {
        self.shared.stop.store(true, Ordering::SeqCst);
        let clients = std::mem::take(&mut self.clients);
        let mut sum = 0;
        for (answered, client) in clients {
            client.join().unwrap();
            sum += answered.load(Ordering::SeqCst);
        }
        self.must_be_good();
        sum
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn call(&self, door: &Door, stays: bool, answered: &AtomicUsize) {
        let mut kept = None;
        while !self.stop.load(Ordering::SeqCst) {
            match once(door, stays, &mut kept) {
                Ok(()) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                Err(why) => {
                    let number = answered.load(Ordering::SeqCst);
                    let failure = format!("call {number}, connected before: {stays}: {why}");
                    return self.failures.lock().unwrap().push(failure);
                }
            }
            thread::sleep(PAUSE);
        }
    }
}

fn once(door: &Door, stays: bool, kept: &mut Option<Client>) -> Result<(), String> {
    let mut client = match kept.take() {
        Some(client) => client,
        None => door.connect().map_err(|error| error.to_string())?,
    };
    let answer = client.ask("/load", "").map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("{answer:?}"));
    }
    let ends = answer
        .head
        .to_ascii_lowercase()
        .contains("\r\nconnection: close\r\n");
    *kept = Some(client).filter(|_| stays && !ends);
    Ok(())
}

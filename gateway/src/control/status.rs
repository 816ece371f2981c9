//! How a gateway stands with its control process: for operators.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;

/// What is known at a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The control process.
    pub(crate) url: String,
    /// A stream is open.
    pub(crate) connected: bool,
    /// Seconds since it was opened, or since it ended.
    pub(crate) seconds: u64,
    /// Streams that were opened.
    pub(crate) streams: u64,
    /// Responses that are served.
    pub(crate) accepted: u64,
    /// Responses in which something was refused.
    pub(crate) refused: u64,
    /// Objects that were given.
    pub(crate) documents: usize,
    /// Name in the certificate.
    pub(crate) identity: Option<String>,
    /// Certificates that were taken: the first, and renewed ones.
    pub(crate) certificates: u64,
    /// Why the last stream ended, or what the last response was refused for.
    pub(crate) error: Option<String>,
}

impl Facts {
    /// How many responses came.
    pub(super) fn responses(&self) -> u64 {
        self.accepted + self.refused
    }
}

/// Written by the stream, read by the servers for operators.
#[derive(Debug)]
pub(crate) struct Status {
    facts: RefCell<(Facts, Instant)>,
    /// Operators ask for a new certificate.
    pub(super) asked: Notify,
}

impl Status {
    /// Nothing is connected yet.
    pub(crate) fn new(url: &str) -> Rc<Self> {
        let facts = Facts {
            url: url.to_owned(),
            ..Facts::default()
        };
        Rc::new(Self {
            facts: RefCell::new((facts, Instant::now())),
            asked: Notify::new(),
        })
    }

    /// As it is now.
    pub(crate) fn facts(&self) -> Facts {
        let (facts, since) = &*self.facts.borrow();
        Facts {
            seconds: since.elapsed().as_secs(),
            ..facts.clone()
        }
    }

    pub(super) fn connected(&self) {
        let (facts, since) = &mut *self.facts.borrow_mut();
        (facts.connected, *since) = (true, Instant::now());
        facts.streams += 1;
        facts.error = None;
    }

    pub(super) fn lost(&self, why: String) {
        let (facts, since) = &mut *self.facts.borrow_mut();
        if facts.connected {
            (facts.connected, *since) = (false, Instant::now());
        }
        facts.error = Some(why);
    }

    /// A certificate of this name is in use.
    pub(crate) fn certified(&self, name: &str) {
        let facts = &mut self.facts.borrow_mut().0;
        facts.identity = Some(name.to_owned());
        facts.certificates += 1;
    }

    /// Asks for a new certificate, before it is time.
    pub(crate) fn renew(&self) {
        self.asked.notify_one();
    }

    /// The verdict on a response.
    pub(super) fn judged(&self, documents: usize, refused: Option<&str>) {
        let facts = &mut self.facts.borrow_mut().0;
        facts.documents = documents;
        facts.error = refused.map(str::to_owned);
        match refused {
            Some(_) => facts.refused += 1,
            None => facts.accepted += 1,
        }
    }
}

//! The beginning of a request's body, held while somebody is asked about it.

use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::h1::BodyKind;
use sallyport_core::time::{Now, earliest};

use super::client::{Client, News};
use super::event::{self, Happening};
use super::request::Request;
use super::transit::Framing;

/// Payload that was taken from the client before anything is forwarded.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Of the front of the body.
    pub(crate) bytes: Vec<u8>,
    /// Something was taken.
    begun: bool,
    /// It is all of the body.
    pub(crate) whole: bool,
}

impl Held {
    /// Whether something was taken: what is left with the client is not the whole body.
    pub(crate) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Takes so many bytes from the client, or the whole body if that is shorter.
    ///
    /// # Errors
    /// What to answer; `None` when the client is gone.
    pub(super) async fn fill<C: Client>(
        &mut self,
        client: &mut C,
        request: &Request<'_>,
        bytes: usize,
    ) -> Result<(), Option<Failure>> {
        if matches!(request.head.body, BodyKind::None | BodyKind::Length(0)) {
            self.whole = true;
            return Ok(());
        }
        if request.head.expect_continue && !client.has_body() && !client.is_writing() {
            client.start_continue();
        }
        let limits = request.active.generation.serving.limits;
        let visit = client.visit();
        let started = visit.worker.timers.now();
        let last = limits.request.map(|limit| visit.begun + limit);
        let mut idle = limits.idle.map(|limit| started + limit);
        while self.bytes.len() < bytes && !self.whole {
            if client.has_body() {
                self.take(client)?;
                let now: Now = client.visit().worker.timers.now();
                idle = limits.idle.map(|limit| now + limit);
                continue;
            }
            client.listen();
            client.visit().alarm.set(earliest(last, idle));
            match event::next(client, None).await {
                Happening::Client(News::Came | News::Written(Ok(()))) => {}
                Happening::Deadline => return Err(Some(FailureKind::RequestTimeout.into())),
                _ => return Err(None),
            }
        }
        Ok(())
    }

    fn take<C: Client>(&mut self, client: &mut C) -> Result<(), Option<Failure>> {
        self.begun = true;
        if self.bytes.capacity() == 0 {
            self.bytes = client.visit().worker.buffers.take();
        }
        let moved = client.take(&mut self.bytes, Framing::Bare, None);
        self.whole = moved.map_err(Some)?.done;
        Ok(())
    }
}

//! Who waits while somebody else is asked: the client of a request, or of a connection that carries
//! bytes.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::rt::Alarm;
use crate::worker::Worker;

/// Who waits for the answer.
pub(in crate::conn) trait Asker {
    /// Where it is served.
    fn worker(&self) -> &Rc<Worker>;

    /// The clock that is set to the deadline.
    fn alarm(&self) -> &Alarm;

    /// Ready when it is gone. What it sends meanwhile is kept.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

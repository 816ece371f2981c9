//! Working memory of one request, kept for the next: nothing is allocated on the way of a request
//! once a worker is warm, and an idle connection holds none of it.

use std::cell::RefCell;

use sallyport_core::h1::{HeaderEdits, HeaderIndex};

use crate::conn::Held;

/// Working memories kept for later, per worker.
const KEPT_MAX: usize = 1_024;

/// Working memory of one request.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Fields of the request.
    pub(crate) request: HeaderIndex,
    /// What is changed in the request's head, the same for every try.
    pub(crate) request_edits: HeaderEdits,
    /// Edits as they were before the rules': what rules' templates see.
    pub(crate) clean_edits: HeaderEdits,
    /// Fields of the response.
    pub(crate) response: HeaderIndex,
    /// What is changed in the response's head.
    pub(crate) response_edits: HeaderEdits,
    /// The path in its normal form.
    pub(crate) path: Vec<u8>,
    /// The target that the upstream sees.
    pub(crate) target: Vec<u8>,
    /// For rendering.
    pub(crate) text: Vec<u8>,
    /// The beginning of the request's body, if somebody had to see it first.
    pub(crate) held: Held,
}

/// Working memories that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct ScratchPool {
    #[expect(
        clippy::vec_box,
        reason = "a working memory is moved as a pointer, from request to request"
    )]
    kept: RefCell<Vec<Box<Scratch>>>,
}

impl ScratchPool {
    /// One for a request. Its contents are leftovers.
    pub(crate) fn take(&self) -> Box<Scratch> {
        let kept = self.kept.borrow_mut().pop();
        let mut scratch = kept.unwrap_or_default();
        scratch.request.clear();
        scratch.response.clear();
        scratch
    }

    /// Takes it back.
    pub(crate) fn give(&self, scratch: Box<Scratch>) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(scratch);
        }
    }
}

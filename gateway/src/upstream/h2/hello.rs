//! The upstream's SETTINGS, which open what it says (RFC 9113 §3.4): whether they have come.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Bytes of a frame's header; the first three are its length.
const FRAME_HEADER: usize = 9;
/// Wakers that are kept: more than a connection has streams, so that those left are of tasks that
/// have gone, and can be told by waking all.
const WAKERS_MAX: usize = 256;

/// The first frame of an upstream, as its bytes come.
#[derive(Debug, Default)]
pub(super) struct Hello {
    /// Bytes seen, and the length from the first of them.
    seen: Cell<usize>,
    length: Cell<usize>,
    settled: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Hello {
    /// Looks at what came. The codec gets it before whoever waits runs again.
    pub(super) fn came(&self, bytes: &[u8]) {
        if self.settled.get() {
            return;
        }
        for (place, byte) in (self.seen.get()..3).zip(bytes) {
            let shifted = usize::from(*byte) << (16 - 8 * place);
            self.length.set(self.length.get() | shifted);
        }
        let seen = self.seen.get().saturating_add(bytes.len());
        self.seen.set(seen);
        if seen >= FRAME_HEADER + self.length.get() {
            self.settled.set(true);
            self.wake();
        }
    }

    /// Whether the first frame is whole.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// Ready when it is.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.settled.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        let known = waiting.iter().any(|waker| waker.will_wake(context.waker()));
        if waiting.len() >= WAKERS_MAX {
            waiting.drain(..).for_each(Waker::wake);
        }
        if !known {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Wakes who waits: the frame is there, or will never come.
    pub(super) fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_there_when_their_frame_is_whole() {
        let frame = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1];
        for split in 0..frame.len() {
            let hello = Hello::default();
            hello.came(&frame[..split]);
            assert!(!hello.is_settled(), "{split}");
            hello.came(&frame[split..]);
            assert!(hello.is_settled(), "{split}");
        }
    }
}

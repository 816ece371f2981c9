//! Buffers of one size, kept by each worker for its own use.
//!
//! Connections take a buffer when bytes are there and give it back when they have gone on, so that
//! memory follows the work in hand and not the number of connections.

use std::cell::RefCell;

/// Capacity of a buffer: one TLS record's payload, and a body's share per direction.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;
/// Buffers kept for later, per worker. More are given back to the allocator.
const KEPT_MAX: usize = 128;

/// The buffers that nobody uses at the moment. The last one given back is taken first: its memory
/// is in the cache.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    kept: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// An empty buffer of [`BUFFER_BYTES`].
    pub(crate) fn take(&self) -> Vec<u8> {
        let kept = self.kept.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Gives all that nobody uses to the allocator.
    pub(crate) fn release(&self) {
        self.kept.borrow_mut().clear();
    }

    /// Takes a buffer back. One that was grown or replaced goes to the allocator.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let mut kept = self.kept.borrow_mut();
        if buffer.capacity() == BUFFER_BYTES && kept.len() < KEPT_MAX {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_odd_ones_do_not_come_back() {
        let buffers = Buffers::default();
        let mut one = buffers.take();
        one.extend_from_slice(b"left over");
        let place = one.as_ptr();
        buffers.give(one);
        buffers.give(Vec::with_capacity(7));
        let again = buffers.take();
        assert_eq!(
            (again.as_ptr(), again.len(), again.capacity()),
            (place, 0, BUFFER_BYTES)
        );
        assert!(buffers.kept.borrow().is_empty());
        buffers.give(again);
        buffers.release();
        assert!(buffers.kept.borrow().is_empty());
    }
}

//! Buffers of two sizes, kept by each worker for its own use.
//!
//! Connections take a buffer when bytes are there and give it back when they have gone on, so that
//! memory follows the work in hand and not the number of connections. Most messages fit a small
//! one; where a body fills it, larger ones save the system calls between.

use std::cell::RefCell;

/// Capacity of a buffer: one TLS record's payload, and a body's share per direction.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;
/// Bytes that one read brings at most.
pub(crate) const READ_BYTES_MAX: usize = 64 * 1024;
/// Capacity of a large buffer: the most that one read brings, and room to seal that.
pub(crate) const LARGE_BYTES: usize = READ_BYTES_MAX + 1024;
/// Buffers kept for later, per worker: 16 MiB. More are given back to the allocator.
const KEPT_MAX: usize = 1_024;
/// Large ones kept for later, per worker: 4 MiB.
const LARGE_KEPT_MAX: usize = 64;

/// The buffers that nobody uses at the moment. The last one given back is taken first: its memory
/// is in the cache.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    kept: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
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
        self.large.borrow_mut().clear();
    }

    /// An empty buffer of [`LARGE_BYTES`].
    pub(crate) fn take_large(&self) -> Vec<u8> {
        let kept = self.large.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(LARGE_BYTES))
    }

    /// An empty buffer with room for so many bytes, if there is one of that size; a large one
    /// otherwise.
    pub(crate) fn take_for(&self, bytes: usize) -> Vec<u8> {
        if bytes <= BUFFER_BYTES {
            self.take()
        } else {
            self.take_large()
        }
    }

    /// Takes a buffer back. One that was grown or replaced goes to the allocator.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let (kept, most) = match buffer.capacity() {
            BUFFER_BYTES => (&self.kept, KEPT_MAX),
            LARGE_BYTES => (&self.large, LARGE_KEPT_MAX),
            _ => return,
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < most {
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
        for bytes in [BUFFER_BYTES, LARGE_BYTES] {
            let mut one = buffers.take_for(bytes);
            one.extend_from_slice(b"left over");
            let place = one.as_ptr();
            buffers.give(one);
            buffers.give(Vec::with_capacity(7));
            let again = buffers.take_for(bytes);
            assert_eq!(
                (again.as_ptr(), again.len(), again.capacity()),
                (place, 0, bytes)
            );
            buffers.give(again);
            buffers.release();
        }
        assert!(buffers.kept.borrow().is_empty() && buffers.large.borrow().is_empty());
    }
}

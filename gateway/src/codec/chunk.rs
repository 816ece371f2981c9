//! Payload on its way to the codec: a buffer of the worker's that goes back when all of it was sent.

use std::rc::Rc;

use bytes::Buf;

use crate::buffer::Buffers;

/// A buffer that goes back when it is dropped.
struct Loan {
    bytes: Vec<u8>,
    buffers: Rc<Buffers>,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.buffers.give(std::mem::take(&mut self.bytes));
    }
}

/// Whose a buffer is. Few are ever divided, and those that are not cost no allocation.
enum Held {
    Own(Loan),
    Shared(Rc<Loan>),
    Nothing,
}

impl Held {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(loan) => &loan.bytes,
            Self::Shared(loan) => &loan.bytes,
            Self::Nothing => &[],
        }
    }
}

/// A buffer that is being sent, or a part of one.
pub(crate) struct Chunk {
    held: Held,
    at: usize,
    end: usize,
}

impl Chunk {
    /// All of these bytes.
    pub(crate) fn new(bytes: Vec<u8>, buffers: Rc<Buffers>) -> Self {
        Self {
            at: 0,
            end: bytes.len(),
            held: Held::Own(Loan { bytes, buffers }),
        }
    }

    /// Takes so many bytes from its front; they are not copied.
    pub(crate) fn split_to(&mut self, count: usize) -> Self {
        let shared = match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Own(loan) => Rc::new(loan),
            Held::Shared(loan) => loan,
            Held::Nothing => {
                return Self {
                    held: Held::Nothing,
                    at: 0,
                    end: 0,
                };
            }
        };
        let front = Self {
            held: Held::Shared(Rc::clone(&shared)),
            at: self.at,
            end: self.end.min(self.at.saturating_add(count)),
        };
        self.at = front.end;
        self.held = Held::Shared(shared);
        front
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    fn chunk(&self) -> &[u8] {
        self.held.bytes().get(self.at..self.end).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.at = self.end.min(self.at.saturating_add(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_a_buffer_that_comes_back_once() {
        let buffers = Rc::new(Buffers::default());
        let mut bytes = buffers.take();
        bytes.extend_from_slice(b"head and tail");
        let place = bytes.as_ptr();
        let mut rest = Chunk::new(bytes, Rc::clone(&buffers));
        let front = rest.split_to(4);
        let middle = rest.split_to(5);
        assert_eq!(front.chunk(), b"head");
        assert_eq!(middle.chunk(), b" and ");
        assert_eq!((rest.chunk(), rest.remaining()), (&b"tail"[..], 4));
        drop((rest, middle));
        let other = buffers.take();
        assert_ne!(other.as_ptr(), place, "a part is still there");
        drop(front);
        let again = buffers.take();
        assert_eq!(again.as_ptr(), place);
    }
}

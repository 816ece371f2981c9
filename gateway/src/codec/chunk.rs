//! Payload on its way to the codec: a buffer of the worker's that goes back when it was sent.

use std::rc::Rc;

use bytes::Buf;

use crate::buffer::Buffers;

/// A buffer that is being sent.
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    at: usize,
    buffers: Rc<Buffers>,
}

impl Chunk {
    /// All of these bytes.
    pub(crate) fn new(bytes: Vec<u8>, buffers: Rc<Buffers>) -> Self {
        Self {
            bytes,
            at: 0,
            buffers,
        }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.at = self.bytes.len().min(self.at.saturating_add(count));
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.buffers.give(std::mem::take(&mut self.bytes));
    }
}

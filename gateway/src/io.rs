//! Byte streams for the connection code: plain sockets and TLS behind the same few calls.
//!
//! Everything is a poll on owned buffers: a read and a write can be under way at the same time, and
//! whoever owns a stream asks both in one `poll_fn`. See [`stream::Stream`].

mod lane;
pub(crate) mod socket;
pub(crate) mod stream;

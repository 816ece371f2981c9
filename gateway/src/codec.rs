//! What both sides of HTTP/2 need of the codec (`h2`): bytes under it, payload and fields into it.

mod chunk;
pub(crate) mod fields;
mod outgoing;
mod wire;

pub(crate) use chunk::Chunk;
pub(crate) use outgoing::Outgoing;
pub(crate) use wire::{Sight, Watcher, Wire};

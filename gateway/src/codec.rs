//! What both sides of HTTP/2 need of the codec (`h2`): bytes under it, payload and fields into it.

mod chunk;
pub(crate) mod fields;
mod wire;

pub(crate) use chunk::Chunk;
pub(crate) use wire::{Sight, Watcher, Wire};

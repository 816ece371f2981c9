//! QPACK (RFC 9204) without a dynamic table: field lines come from the static table or literally.
//!
//! We announce a capacity of 0, so that nothing a peer sends can change how later sections are
//! read: no section waits for another stream, and no memory is held between requests (the dynamic
//! table of other implementations was a way to make a server hold headers without a bound).

mod decode;
mod encode;
mod fixed;
mod streams;

pub use decode::Decoder;
pub(crate) use decode::{Line, LineError};
pub use encode::{encode_line, encode_prefix};
pub use streams::{DecoderStream, EncoderStream};

/// Input that is not QPACK, or that asks for a dynamic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[cfg(test)]
mod tests;

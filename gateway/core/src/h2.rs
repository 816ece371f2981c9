//! Header blocks of HTTP/2 in front of the codec.
//!
//! To the codec a field that cannot be (an upper-case name, a line break in a value, a pseudo-field
//! that does not exist) is an error of the compression, which ends the connection. By RFC 9113 §8.1.1
//! it is a malformed request, which ends a stream: behind a proxy that shares its connections, one
//! client's nonsense must not end the requests of others. So blocks are read here first, and such
//! fields give way to one that the codec knows as malformed, of the same size in its table.

mod block;
mod sieve;

pub use sieve::Sieve;

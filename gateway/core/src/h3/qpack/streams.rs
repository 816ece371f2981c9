//! The peer's encoder and decoder streams (RFC 9204 §4.2 to §4.4). With a table of capacity 0 there
//! is next to nothing that may be said on them.

use super::Malformed;

/// Bytes that each of the streams may carry: more than any honest peer has to say to a decoder
/// without a table, little enough that repeating it costs us nothing.
const STREAM_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of one integer at most, prefix included.
const INTEGER_BYTES_MAX: u8 = 10;

/// Instructions to our (absent) dynamic table.
#[derive(Clone, Copy, Debug, Default)]
pub struct EncoderStream {
    seen: u64,
}

impl EncoderStream {
    /// Takes what came. Only `Set Dynamic Table Capacity 0` may be said.
    ///
    /// # Errors
    /// An insertion, or a capacity above 0 (RFC 9204 §3.2.3).
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        const CAPACITY_ZERO: u8 = 0x20;
        count(&mut self.seen, bytes)?;
        let harmless = bytes.iter().all(|byte| *byte == CAPACITY_ZERO);
        harmless.then_some(()).ok_or(Malformed)
    }
}

/// What the peer's decoder says about the sections that we sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct DecoderStream {
    seen: u64,
    /// Bytes so far of an integer that is not whole; 0 between instructions.
    within: u8,
}

impl DecoderStream {
    /// Takes what came. Only stream cancellations may be said: we never refer to a dynamic table,
    /// so there is nothing to acknowledge and nothing that was inserted.
    ///
    /// # Errors
    /// A section acknowledgment or an insert count increment (RFC 9204 §4.4).
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        count(&mut self.seen, bytes)?;
        for byte in bytes {
            let more = match (self.within, byte) {
                (0, 0x40..=0x7e) => false,
                (0, 0x7f) => true,
                (0, _) | (INTEGER_BYTES_MAX.., _) => return Err(Malformed),
                (_, byte) => byte & 0x80 != 0,
            };
            self.within = if more { self.within + 1 } else { 0 };
        }
        Ok(())
    }
}

fn count(seen: &mut u64, bytes: &[u8]) -> Result<(), Malformed> {
    *seen += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    (*seen <= STREAM_BYTES_MAX).then_some(()).ok_or(Malformed)
}

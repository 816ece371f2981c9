//! How a ring is made: its size, its flags, and whether this kernel agrees.

use std::io;

use io_uring_06::{Builder, IoUring, cqueue, squeue};

use super::RingFlags;

/// Submission entries of a ring. A full queue is flushed early, so this bounds a batch, not a load.
pub(super) const ENTRIES: u32 = 1024;
/// Completion entries. Four times the submissions, so that a stalled worker does not overflow.
const COMPLETIONS: u32 = 4 * ENTRIES;

/// A builder of rings with these flags. Rings are not inherited by child processes.
pub(super) fn builder(flags: RingFlags) -> Builder<squeue::Entry, cqueue::Entry> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(COMPLETIONS).dontfork();
    match flags {
        RingFlags::Deferred => builder.setup_single_issuer().setup_defer_taskrun(),
        RingFlags::Cooperative => builder.setup_single_issuer().setup_coop_taskrun(),
        RingFlags::Plain => &mut builder,
    };
    builder
}

/// Makes a ring as a worker would, and lets it go.
pub(super) fn probe(flags: RingFlags) -> io::Result<()> {
    builder(flags).build(ENTRIES).map(drop)
}

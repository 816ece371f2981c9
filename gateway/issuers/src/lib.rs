//! Keys of token issuers: fetched when they are due, kept on disk, and good until better ones come.
//! The gateway's side thread and the control process have them from here, so that both fetch by the
//! same rules: no address of an internal network that was not allowed, bounded in size, time and
//! rate, and without keys no token is good.
//!
//! Everything runs on one thread, in a [`tokio::task::LocalSet`].

mod fetch;
mod follow;
mod resolver;
mod roots;
mod store;

pub use fetch::Fetcher;
pub use follow::{KeyStatus, Keys};
pub use resolver::{DnsFamily, Resolver};
pub use roots::system_bundle;
pub use store::Store;

use std::fmt;

/// How much a line for the operator matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Something worth knowing.
    Info,
    /// Something that should be looked at.
    Warn,
    /// Something that does not work.
    Error,
}

/// Where lines for the operator go: their weight, what they are about, and what they say.
pub type Say = fn(Weight, &'static str, fmt::Arguments<'_>);

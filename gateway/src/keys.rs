//! Keys of token issuers on the side thread: fetched, kept on disk, handed to the workers.

mod fetch;
mod follow;
mod store;

pub(crate) use fetch::Fetcher;
pub(crate) use follow::{KeyStatus, Keys};
pub(crate) use store::Store;

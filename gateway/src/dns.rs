//! Names of endpoints on the side thread: who is asked, and what is remembered of the answers.

mod follow;
mod resolver;

pub(crate) use follow::{NameStatus, Names};
pub(crate) use resolver::{DnsFamily, Resolver};

//! Names of endpoints on the side thread: who is asked, and what is remembered of the answers.

mod follow;

pub(crate) use follow::{NameStatus, Names};

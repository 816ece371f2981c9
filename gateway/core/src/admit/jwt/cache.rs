//! Signatures that were checked: the same token comes with every request of a session.
//!
//! Only the outcome of the signature is kept, good or bad, under a hash of token and keys; times
//! and audiences are looked at anew each time, so nothing outlives its expiry, and other keys are
//! another question.

use super::token::Token;
use crate::admit::jwks::{KeySet, Refusal};
use aws_lc_rs::digest;
use std::cell::RefCell;
use std::collections::HashMap;

/// Outcomes that are kept; then all are forgotten.
const OUTCOMES_MAX: usize = 8_192;

/// Outcomes of one worker.
#[derive(Debug, Default)]
pub struct TokenCache {
    outcomes: RefCell<HashMap<[u8; 32], Result<(), Refusal>>>,
}

impl TokenCache {
    /// The outcome for a token, from memory or else by `verify`.
    pub(super) fn recall(
        &self,
        keys: &KeySet,
        token: &Token<'_>,
        verify: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(keys.digest());
        hash.update(token.text().as_bytes());
        let hash = hash.finish();
        let Ok(key) = <[u8; 32]>::try_from(hash.as_ref()) else {
            return verify();
        };
        if let Some(known) = self.outcomes.borrow().get(&key) {
            return *known;
        }
        let outcome = verify();
        let mut outcomes = self.outcomes.borrow_mut();
        if outcomes.len() >= OUTCOMES_MAX {
            outcomes.clear();
        }
        outcomes.insert(key, outcome);
        outcome
    }

    /// How many outcomes are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outcomes.borrow().len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

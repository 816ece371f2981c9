//! Tokens that were good: the same one comes with every request of a session.
//!
//! A token is kept taken apart, with the keys that verified it, once a signature was good: only who
//! has a good token can fill the memory. Times and audiences are looked at anew each time, so nothing
//! outlives its expiry, and other keys are another question.

use super::Refused;
use super::token::Token;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Tokens that are kept; then all are forgotten.
const TOKENS_MAX: usize = 8_192;
/// Bytes of their texts; taken apart a token is a few times as large.
const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Good tokens of one worker.
#[derive(Debug, Default)]
pub struct TokenCache {
    tokens: RefCell<HashMap<Box<str>, Rc<Token>>>,
    text_bytes: Cell<usize>,
}

impl TokenCache {
    /// The token with this text, from memory or taken apart now.
    pub(super) fn recall(&self, text: &str) -> Result<Rc<Token>, Refused> {
        match self.tokens.borrow().get(text) {
            Some(known) => Ok(Rc::clone(known)),
            None => Token::parse(text).map(Rc::new),
        }
    }

    /// Keeps a token whose signature was found good.
    pub(super) fn keep(&self, token: &Rc<Token>) {
        let mut tokens = self.tokens.borrow_mut();
        let bytes = self.text_bytes.get() + token.text().len();
        if tokens.len() >= TOKENS_MAX || bytes > TEXT_BYTES_MAX {
            tokens.clear();
            self.text_bytes.set(0);
        }
        if tokens
            .insert(token.text().into(), Rc::clone(token))
            .is_none()
        {
            let bytes = self.text_bytes.get() + token.text().len();
            self.text_bytes.set(bytes);
        }
    }

    /// How many tokens are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.borrow().len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

//! Claims of a verified token, as rules ask for them.

use std::sync::Arc;

/// Claims of a verified token: path of a claim, and its string or the strings of its list. Numbers,
/// booleans and objects are not strings: no rule matches on them, as in Envoy. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims(Arc<[(Vec<String>, Vec<String>)]>);

impl Claims {
    /// From paths and values.
    pub(crate) fn new(claims: Vec<(Vec<String>, Vec<String>)>) -> Self {
        Self(claims.into())
    }

    /// Whether `test` holds for the claim at this path: for its string, or for any member of its
    /// list. A claim that the token does not have never passes.
    pub fn any(&self, path: &[String], mut test: impl FnMut(&str) -> bool) -> bool {
        let mut named = self.0.iter().filter(|(claim, _)| claim == path);
        named.any(|(_, values)| values.iter().any(|value| test(value)))
    }

    /// As [`Claims::any`].
    pub(crate) fn any_at(&self, path: &[&str], mut test: impl FnMut(&str) -> bool) -> bool {
        let mut named = self.0.iter().filter(|(claim, _)| claim == path);
        named.any(|(_, values)| values.iter().any(|value| test(value)))
    }
}

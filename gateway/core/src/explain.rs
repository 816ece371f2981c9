//! Why a request goes where it goes: every candidate in order, and the first condition that each
//! one failed, with the line that it was written on.

use crate::call::Call;
use crate::decide::Where;
use crate::tables::Tables;
use serde::Serialize;
use std::fmt;

/// The way of a request through the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Listener and filter chain.
    pub listener: String,
    /// Hosts that were considered, the chosen one marked.
    pub hosts: Vec<HostStep>,
    /// Rules of the chosen host, in order, up to and including the one that matched.
    pub rules: Vec<RuleStep>,
    /// What happens in the end, in words.
    pub verdict: String,
}

/// A host pattern that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostStep {
    /// `*.example.com`
    pub pattern: String,
    /// It was chosen.
    pub chosen: bool,
    /// Why not, or why.
    pub why: String,
}

/// A rule that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleStep {
    /// Name of the rule, empty for none.
    pub name: String,
    /// `VirtualService ns/name spec.http[0].match[0]`
    pub origin: String,
    /// `file:line`, empty when it did not come from text.
    pub location: String,
    /// It matched.
    pub matched: bool,
    /// The first condition that failed: `uri prefix /v2/ does not match /other`.
    pub why: String,
}

/// Explains a request without claims and with all dice at 0.
#[must_use]
pub fn explain(_tables: &Tables, _at: Where, _call: &Call<'_>) -> Explanation {
    Explanation {
        listener: String::new(),
        hosts: Vec::new(),
        rules: Vec::new(),
        verdict: String::new(),
    }
}

impl fmt::Display for Explanation {
    /// For people: one line a step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.listener)?;
        writeln!(f, "=> {}", self.verdict)
    }
}

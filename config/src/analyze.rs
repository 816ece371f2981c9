//! Objects against each other: what is well formed alone and does not fit together.
//!
//! One file per question. Codes and judgements are Istio's (`pkg/config/analysis/analyzers`) where
//! Istio has them. What is not among the input is not held against it: hosts inside the cluster
//! are looked up only in namespaces of which some Service is given, selectors only where some
//! workload is, Secrets only where some Secret is. Every question reads one [`Index`], so a run is
//! linear in the number of objects.

mod certificates;
mod claims;
mod conflicting_gateways;
mod conflicting_hosts;
mod destination_rules;
mod destinations;
mod gateways;
mod index;
mod policies;
mod rate_limits;
mod services;
mod subsets;

use crate::diag::{Code, Diagnostic, Diagnostics, Level};
use crate::resource::{Resource, ResourceSet};

pub(crate) use index::Index;

/// Most names that a message lists.
const MAX_LISTED: usize = 5;

/// Judges all objects together.
#[must_use]
pub fn analyze(set: &ResourceSet) -> Diagnostics {
    let index = Index::new(set);
    let mut to = Findings::default();
    gateways::references(&index, &mut to);
    gateways::idle_hosts(&index, &mut to);
    conflicting_gateways::find(&index, &mut to);
    conflicting_hosts::find(&index, &mut to);
    certificates::secrets(&index, &mut to);
    certificates::shared(&index, &mut to);
    destinations::find(&index, &mut to);
    subsets::ineffective_at_gateways(&index, &mut to);
    subsets::without_workloads(&index, &mut to);
    destination_rules::find(&index, &mut to);
    claims::find(&index, &mut to);
    policies::find(&index, &mut to);
    rate_limits::find(&index, &mut to);
    services::find(&index, &mut to);
    to.found.sorted()
}

/// Where findings go.
#[derive(Default)]
pub(crate) struct Findings {
    found: Diagnostics,
}

/// A finding about a field of an object.
struct Finding<'a> {
    code: Code,
    on: &'a Resource,
    path: String,
    message: String,
    help: String,
    level: Option<Level>,
    labels: Vec<(&'a Resource, String, String)>,
}

impl<'a> Finding<'a> {
    fn new(
        code: Code,
        on: &'a Resource,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            on,
            path: path.into(),
            message: message.into(),
            help: String::new(),
            level: None,
            labels: Vec::new(),
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// A second place, in the same object or another one.
    fn label(mut self, on: &'a Resource, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.labels.push((on, path.into(), text.into()));
        self
    }
}

impl Findings {
    fn push(&mut self, finding: Finding<'_>) {
        let mut out = Diagnostic::new(finding.code, finding.message)
            .on(&finding.on.key())
            .at(finding.on.span_at(&finding.path))
            .path(finding.path);
        if let Some(level) = finding.level {
            out = out.level(level);
        }
        if !finding.help.is_empty() {
            out = out.help(finding.help);
        }
        for (on, path, text) in finding.labels {
            out = out.label(on.span_at(&path), text);
        }
        self.found.push(out);
    }
}

/// A list of names for a message, cut to a readable length.
fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let mut out: Vec<String> = names
        .iter()
        .take(MAX_LISTED)
        .map(|n| format!("`{}`", n.as_ref()))
        .collect();
    if names.len() > MAX_LISTED {
        out.push(format!("{} more", names.len() - MAX_LISTED));
    }
    out.join(", ")
}

#[cfg(test)]
mod tests;

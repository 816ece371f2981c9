//! One object at a time: is it what its kind allows?
//!
//! The rules are those of Istio's `pkg/config/validation`, so that what Istio's webhook refuses is
//! refused here, with the place and with what to write instead. Where a rule of Istio would turn
//! away configuration whose meaning is plain, the nearest meaning is used and a warning says so.
//! An object with an error is left out by the pipeline; nothing else is.

mod authorization_policy;
mod destination_rule;
mod envoy_filter;
mod gateway;
pub(crate) mod health;
mod mesh;
mod outlier;
mod policy;
mod rate_limit;
mod retry;
mod route;
mod route_match;
mod rules;
mod sidecar;
mod telemetry;
mod tls;
mod traffic;
mod virtual_service;
pub(crate) mod words;
mod workload;

use std::collections::HashSet;
use std::fmt::Write as _;

pub(crate) use route_match::is_claim;
pub(crate) use workload::is_l4;

use crate::diag::{Code, Diagnostic, Diagnostics, Level, codes};
use crate::resource::{Resource, ResourceSet, Spec};

/// Most regular expressions that a run remembers as good.
const MAX_REMEMBERED: usize = 10_000;

/// Judges every object by itself, but for those that were found to be good before.
#[must_use]
pub fn check(set: &ResourceSet) -> Diagnostics {
    let mut found = Diagnostics::default();
    let mut regexes = HashSet::new();
    for resource in set.iter().filter(|resource| resource.moved.is_none()) {
        found.extend(check_one(resource, &mut regexes));
    }
    found.sorted()
}

/// Judges one object. `regexes` are those that compile, so that each is tried once a run.
fn check_one(resource: &Resource, regexes: &mut HashSet<String>) -> Vec<Diagnostic> {
    let mut scope = Scope {
        resource,
        regexes,
        found: Vec::new(),
    };
    let to = &mut scope;
    match &resource.spec {
        Spec::Gateway(spec) => gateway::check(spec, to),
        Spec::VirtualService(spec) => virtual_service::check(spec, to),
        Spec::DestinationRule(spec) => destination_rule::check(spec, to),
        Spec::ServiceEntry(spec) => workload::service_entry(spec, to),
        Spec::WorkloadEntry(spec) => workload::workload_entry(spec, to),
        Spec::WorkloadGroup(spec) => workload::workload_group(spec, to),
        Spec::Sidecar(spec) => sidecar::check(spec, to),
        Spec::ProxyConfig(spec) => policy::proxy_config(spec, to),
        Spec::EnvoyFilter(spec) => envoy_filter::check(spec, to),
        Spec::PeerAuthentication(spec) => policy::peer_authentication(spec, to),
        Spec::RequestAuthentication(spec) => policy::request_authentication(spec, to),
        Spec::AuthorizationPolicy(spec) => authorization_policy::check(spec, to),
        Spec::RateLimit(spec) => rate_limit::check(spec, to),
        Spec::Telemetry(spec) => telemetry::check(spec, to),
        Spec::IstioOperator(spec) => mesh::istio_operator(spec, to),
        Spec::MeshConfig(spec) => mesh::mesh_config(spec, &Path::root(""), to),
        Spec::Namespace(_) => mesh::namespace(to),
        Spec::Deployment(spec) => mesh::deployment(spec, to),
        Spec::Pod(_) => mesh::pod(to),
        Spec::Service(_)
        | Spec::EndpointSlice(_)
        | Spec::Endpoints(_)
        | Spec::Secret(_)
        | Spec::ConfigMap(_) => {}
    }
    scope.found
}

/// Where the findings about one object are collected.
pub(crate) struct Scope<'a> {
    resource: &'a Resource,
    regexes: &'a mut HashSet<String>,
    found: Vec<Diagnostic>,
}

impl Scope<'_> {
    /// The object is wrong and will not be used.
    fn error(&mut self, at: &Path<'_>, message: impl Into<String>, help: &str) {
        self.note(codes::IST0106, at, message, help);
    }

    /// The object is used, but this part of it does nothing or harm.
    fn warn(&mut self, at: &Path<'_>, message: impl Into<String>, help: &str) {
        self.note(codes::IST0133, at, message, help);
    }

    /// A finding of any code, with that code's level.
    fn note(&mut self, code: Code, at: &Path<'_>, message: impl Into<String>, help: &str) {
        let path = at.to_string();
        let mut diagnostic = Diagnostic::new(code, message)
            .on(&self.resource.key())
            .at(self.resource.span_at(&path))
            .path(path);
        if !help.is_empty() {
            diagnostic = diagnostic.help(help);
        }
        self.found.push(diagnostic);
    }

    /// Gives the last finding another level than its code's own.
    fn soften(&mut self, level: Level) {
        if let Some(last) = self.found.last_mut() {
            last.level = level;
        }
    }

    /// An error, if the judgement is one.
    fn judge(&mut self, at: &Path<'_>, judgement: words::Judgement, help: &str) {
        if let Err(message) = judgement {
            self.error(at, message, help);
        }
    }

    /// An error, if the text is not a regular expression. Compiling one costs more than all other
    /// checks of an object, and thousands of objects tend to share a few of them.
    fn regex(&mut self, at: &Path<'_>, text: &str, help: &str) {
        if self.regexes.contains(text) {
            return;
        }
        match words::regex(text) {
            Ok(()) if self.regexes.len() < MAX_REMEMBERED => {
                self.regexes.insert(text.to_owned());
            }
            judgement => self.judge(at, judgement, help),
        }
    }

    /// An error unless the condition holds.
    fn require(&mut self, holds: bool, at: &Path<'_>, message: &str, help: &str) {
        if !holds {
            self.error(at, message, help);
        }
    }

    /// Whether something was refused so far.
    fn refused(&self) -> bool {
        self.found.iter().any(|d| d.level == Level::Error)
    }
}

/// A field's path, kept as a chain on the stack because almost no path is ever written out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Self>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Field(&'p str),
    Item(&'p str, usize),
}

impl<'p> Path<'p> {
    /// The start of every path of an object: `spec`, or empty for the whole document.
    pub(crate) const fn root(name: &'p str) -> Self {
        Self {
            parent: None,
            step: Step::Field(name),
        }
    }

    /// A field, or a few with dots between them, or a key of a map.
    pub(crate) const fn field<'q>(&'q self, name: &'q str) -> Path<'q> {
        Path {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    /// One item of a list.
    pub(crate) const fn item<'q>(&'q self, name: &'q str, index: usize) -> Path<'q> {
        Path {
            parent: Some(self),
            step: Step::Item(name, index),
        }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut dot = false;
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            dot = !(parent.parent.is_none() && matches!(parent.step, Step::Field("")));
        }
        if dot {
            f.write_char('.')?;
        }
        match self.step {
            Step::Field(name) => f.write_str(name),
            Step::Item(name, index) => write!(f, "{name}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests;

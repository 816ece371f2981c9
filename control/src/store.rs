//! What is served: files in, a [`Configuration`] out, and what was good of broken ones kept.
//!
//! Only the file source exists; another source (a Kubernetes API server) would feed the same store.

mod documents;
mod files;
mod state;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use sallyport_config::diag::Level;
use sallyport_config::diag::render::{Format, render};
use sallyport_config::endpoints::only_endpoints;
use sallyport_config::resource::{Kind, Resource, ResourceSet};
use sallyport_config::retain::LastGood;
use sallyport_config::{Diagnostics, World, analyze, pipeline};

use crate::{log, registry};
use documents::Documents;
use files::Files;
use state::State;

pub(crate) use files::Watch;

/// Findings that are kept as text.
const FINDINGS_MAX: usize = 1_000;

/// One state of everything, immutable.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// The objects, indexed.
    pub(crate) world: World,
    /// The objects.
    pub(crate) set: ResourceSet,
    /// Their texts, for our gateways.
    pub(crate) documents: Documents,
    /// Counts the states of this process, from 1.
    pub(crate) generation: u64,
    /// How many objects there are of each kind.
    pub(crate) objects: Vec<(Kind, usize)>,
    /// Objects that are served as they were before their file was broken.
    pub(crate) retained: Vec<String>,
    /// What is wrong, one line each.
    pub(crate) findings: Vec<String>,
    /// How many of them are errors.
    pub(crate) errors: usize,
}

/// The way from files to configurations, with the memory of what was good last.
pub(crate) struct Store {
    paths: Vec<PathBuf>,
    domain_suffix: String,
    files: Files,
    last_good: LastGood,
    state: Option<State>,
    input: Option<Vec<(String, String)>>,
    generation: u64,
}

impl Store {
    /// Prepares to read `paths`; what was good before a restart comes from the state directory. One
    /// that cannot be used costs that memory only.
    pub(crate) fn new(
        paths: Vec<PathBuf>,
        state_dir: Option<&PathBuf>,
        domain_suffix: &str,
    ) -> Self {
        let mut store = Self {
            paths,
            domain_suffix: domain_suffix.to_owned(),
            files: Files::default(),
            last_good: LastGood::default(),
            state: None,
            input: None,
            generation: 0,
        };
        let Some(directory) = state_dir else {
            return store;
        };
        match State::open(directory).and_then(|state| Ok((state.load()?, state))) {
            Ok((last_good, state)) => {
                store.last_good = last_good;
                store.state = Some(state);
            }
            Err(error) => log::warn("state", format_args!("--state-dir cannot be used: {error}")),
        }
        store
    }

    /// Directories in which the user's changes show.
    pub(crate) fn directories(&self) -> BTreeSet<PathBuf> {
        self.files.directories(&self.paths)
    }

    /// Reads everything, and takes it together with texts that are no files. `None` when nothing changed, or when there is nothing to serve: proxies
    /// keep what they have then, because an empty directory is a mistake or a mount that is late.
    pub(crate) fn load(&mut self, registered: Vec<(String, String)>) -> Option<Configuration> {
        let (mut texts, findings) = self.files.read(&self.paths);
        texts.extend(registered);
        if self.input.as_ref() == Some(&texts) {
            return None;
        }
        self.accept(texts, findings)
    }

    /// The same if nothing changed but endpoints, which need not wait for more to come; otherwise
    /// `None`, and the change is still there for [`Store::load`].
    pub(crate) fn load_endpoints(
        &mut self,
        registered: Vec<(String, String)>,
    ) -> Option<Configuration> {
        let (mut texts, findings) = self.files.read(&self.paths);
        texts.extend(registered);
        let old = self.input.as_ref()?;
        if *old == texts || old.len() != texts.len() {
            return None;
        }
        let parsed = |file: &(String, String)| {
            let file = std::slice::from_ref(file);
            pipeline::accept(file, &mut LastGood::default())
        };
        let mut changed = old.iter().zip(&texts).filter(|(old, new)| old != new);
        let endpoints = changed.all(|(old, new)| {
            old.0 == new.0 && {
                let (old, new) = (parsed(old), parsed(new));
                errors(&new.diagnostics) == 0 && only_endpoints(&old.set, &new.set)
            }
        });
        endpoints.then(|| self.accept(texts, findings)).flatten()
    }

    fn accept(
        &mut self,
        texts: Vec<(String, String)>,
        mut findings: Vec<String>,
    ) -> Option<Configuration> {
        let mut last_good = self.last_good.clone();
        let accepted = pipeline::accept(&texts, &mut last_good);
        self.input = Some(texts);
        let by_users = |resource: &Arc<Resource>| {
            let source = accepted.sources.get(resource.file);
            !source.is_some_and(|source| source.name.starts_with(registry::FILES))
        };
        if !accepted.set.iter().any(by_users) {
            log::warn("config", "there is nothing to serve; what was served stays");
            return None;
        }
        self.generation += 1;
        let world = pipeline::world(&accepted, &self.domain_suffix);
        let mut diagnostics = accepted.diagnostics.clone();
        diagnostics.extend(analyze::analyze(&accepted.set));
        let diagnostics = diagnostics.sorted();
        let errors = findings.len() + errors(&diagnostics);
        for diagnostic in diagnostics.into_iter().take(FINDINGS_MAX) {
            let one = Diagnostics::from_iter([diagnostic]);
            let text = render(&one, &accepted.sources, Format::Short);
            findings.extend(text.lines().next().map(str::to_owned));
        }
        let count = |kind| (kind, accepted.set.of_kind(kind).count());
        let objects = Kind::ALL.iter().copied().map(count);
        if let Some(state) = &self.state
            && let Err(error) = state.save(&last_good)
        {
            log::warn(
                "state",
                format_args!("what is good cannot be kept: {error}"),
            );
        }
        let documents = Documents::new(last_good.documents(), &accepted.set);
        self.last_good = last_good;
        let retained = accepted.retained.iter().map(|r| r.key.to_string());
        Some(Configuration {
            world,
            set: accepted.set.clone(),
            documents,
            generation: self.generation,
            objects: objects.filter(|(_, count)| *count > 0).collect(),
            retained: retained.collect(),
            findings,
            errors,
        })
    }
}

fn errors(diagnostics: &Diagnostics) -> usize {
    diagnostics
        .iter()
        .filter(|d| d.level == Level::Error)
        .count()
}

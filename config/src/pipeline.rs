//! The whole way on one page: parse, check, keep the last good state of what is broken,
//! analyze, index, compile.
//!
//! Callers that add objects of their own (key pairs from a directory) use [`accept`] and
//! [`finish`], and add them in between.

use crate::analyze::analyze;
use crate::check;
use crate::compile::compile;
use crate::diag::{Code, Diagnostic, Diagnostics, Level};
use crate::ir::Snapshot;
use crate::memory::Memory;
use crate::parse::parse_new;
use crate::resource::{Key, ResourceSet};
use crate::retain::{LastGood, Merged, NAME_SUFFIX, Retained};
use crate::source::SourceMap;
use crate::view::View;
use crate::world::World;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What became of the files.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// What the proxy has to do.
    pub snapshot: Snapshot,
    /// Everything found on the way, sorted by place.
    pub diagnostics: Diagnostics,
    /// Texts that the diagnostics point into.
    pub sources: SourceMap,
    /// The objects that were compiled.
    pub set: ResourceSet,
    /// Those of them that are older than their file.
    pub retained: Vec<Retained>,
}

/// Files, given as name and text, to a snapshot. Never fails: what is broken is left out, or is
/// served as it was accepted last, and is reported.
pub fn build(files: &[(String, String)], view: &View, last_good: &mut LastGood) -> Built {
    finish(accept(files, last_good), view)
}

/// Reads and judges every object by itself. An object with an error keeps its last good version.
pub fn accept(files: &[(String, String)], last_good: &mut LastGood) -> Merged {
    accept_new(files, last_good, &mut Memory::default())
}

/// The same for who does it again and again: what did not change since the last time is neither
/// read nor judged again. The result is the same, too.
pub fn accept_new(
    files: &[(String, String)],
    last_good: &mut LastGood,
    memory: &mut Memory,
) -> Merged {
    let parsed = parse_new(files, memory);
    let checked = check::check(&parsed.set);
    memory.learn(&parsed, &checked);
    let errors = checked.iter().filter(|d| d.level == Level::Error);
    let refused: BTreeSet<Key> = errors.filter_map(|d| d.resource.clone()).collect();
    let refused: Vec<Key> = refused.into_iter().collect();
    let mut merged = last_good.merge(parsed, &refused);
    merged.diagnostics.extend(checked);
    merged
}

/// Indexes the accepted objects, for who compiles them for many proxies.
#[must_use]
pub fn world(accepted: &Merged, domain_suffix: &str) -> World {
    World::build(&accepted.set, &places(&accepted.sources), domain_suffix)
}

/// Compiles the accepted objects for a view.
#[must_use]
pub fn finish(accepted: Merged, view: &View) -> Built {
    let world = world(&accepted, &view.domain_suffix);
    let Merged {
        set,
        retained,
        mut diagnostics,
        sources,
    } = accepted;
    let compiled = compile(&world, view);
    let analyzed = analyze(&set);
    diagnostics.extend(unsaid(compiled.diagnostics, &analyzed));
    diagnostics.extend(analyzed);
    Built {
        snapshot: compiled.snapshot,
        diagnostics: diagnostics.sorted(),
        sources,
        set,
        retained,
    }
}

/// Sources as a snapshot names them: an object that is retained is still at its place, so that
/// retaining it changes nothing.
fn places(sources: &SourceMap) -> SourceMap {
    let mut places = SourceMap::default();
    for (_, source) in sources.iter() {
        let name = source.name.strip_suffix(NAME_SUFFIX);
        let name = name.map_or_else(|| Arc::clone(&source.name), Arc::from);
        places.add(name, Arc::clone(&source.text));
    }
    places
}

/// What compiling found and the analyzers did not say already about the same field: theirs knows
/// the whole mesh and says what to do.
fn unsaid(compiled: Diagnostics, analyzed: &Diagnostics) -> Vec<Diagnostic> {
    let mut said: HashMap<(Code, &Option<Key>), Vec<&str>> = HashMap::new();
    for d in analyzed {
        said.entry((d.code, &d.resource)).or_default().push(&d.path);
    }
    let same = |a: &str, b: &str| a.starts_with(b) || b.starts_with(a);
    let new = compiled.into_iter().filter(|d| {
        let paths = said.get(&(d.code, &d.resource));
        !paths.is_some_and(|paths| paths.iter().any(|path| same(path, &d.path)))
    });
    new.collect()
}

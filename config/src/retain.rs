//! The last good version of every object, so that a broken edit changes nothing.
//!
//! Pure bookkeeping over texts: what was accepted last is remembered as the text of its document,
//! and comes back from there when the new text cannot be used. The shell keeps the serialised form
//! on disk, so that a restart with a broken file serves what was served before. Rules:
//!
//! - a file with a syntax error changes nothing: all that it said last stays, and only that;
//! - an object with errors keeps its own last good version, its neighbours change;
//! - an object gone from a readable file is gone, and so is everything of a file that is gone.

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diag::Diagnostics;
use crate::document::{Document, Published};
use crate::parse::{ORDER_BITS, Parsed, parse_as};
use crate::resource::{Key, Resource, ResourceSet};
use crate::source::{FileId, SourceMap};

pub use store::StoreError;

/// What the names of retained texts end in, to tell them from the files as they are now.
pub(crate) const NAME_SUFFIX: &str = " (last good)";

/// The text of one accepted object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Good {
    /// Name of its file.
    file: Arc<str>,
    /// The text that holds its document: the whole file, or just the document after a restart.
    text: Arc<str>,
    /// Bytes of the document in `text`; a list's document holds several objects.
    start: usize,
    /// One past the last byte.
    end: usize,
    /// Line of the first byte in the file, from 1.
    line: u32,
    /// Place among the objects of its file.
    ordinal: u32,
}

impl Good {
    fn document(&self) -> &str {
        self.text.get(self.start..self.end).unwrap_or_default()
    }
}

/// An object that is served from an older text than its file has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// The object.
    pub key: Key,
    /// Its file.
    pub file: Arc<str>,
    /// Why the new text is not used.
    pub reason: Reason,
}

/// Why an old version is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its file cannot be read.
    File,
    /// The object itself has errors.
    Object,
}

/// What is to be served, with everything needed to talk about it.
#[derive(Debug, Clone, Default)]
pub struct Merged {
    /// The new objects, and old ones in place of those that cannot be used.
    pub set: ResourceSet,
    /// Which ones are old.
    pub retained: Vec<Retained>,
    /// What parsing the new texts found.
    pub diagnostics: Diagnostics,
    /// The new texts, and the old ones of retained objects.
    pub sources: SourceMap,
}

/// Memory of the last good version of every object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastGood {
    objects: BTreeMap<Key, Good>,
}

impl LastGood {
    /// How many objects are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All documents, each with the objects that come from it.
    #[must_use]
    pub fn documents(&self) -> Vec<Published> {
        let mut documents: BTreeMap<(&Arc<str>, u32, usize), Published> = BTreeMap::new();
        for (key, good) in &self.objects {
            let place = (&good.file, good.line, good.start);
            let published = documents.entry(place).or_insert_with(|| Published {
                objects: Vec::new(),
                document: Document {
                    file: Arc::clone(&good.file),
                    ordinal: good.ordinal,
                    line: good.line,
                    text: good.document().into(),
                },
            });
            let ordinal = &mut published.document.ordinal;
            *ordinal = good.ordinal.min(*ordinal);
            published.objects.push(key.clone());
        }
        documents.into_values().collect()
    }

    /// Takes new texts in. `also_rejected` are objects that parsed but failed a later check; they
    /// too keep their last good version, or are left out if they have none.
    pub fn merge(&mut self, parsed: Parsed, also_rejected: &[Key]) -> Merged {
        let mut before = std::mem::take(&mut self.objects);
        let verdict = Verdict::of(&parsed, also_rejected);
        let Parsed {
            mut set,
            diagnostics,
            mut sources,
            places,
            ..
        } = parsed;
        for key in verdict.unusable(&set, &before, &sources) {
            set.remove(&key);
        }
        for resource in set.iter() {
            let key = resource.key();
            let place = places
                .get(&key)
                .and_then(|(file, chunk)| Some((sources.get(*file)?, chunk)));
            if let Some((source, chunk)) = place {
                let (file, text) = (Arc::clone(&source.name), Arc::clone(&source.text));
                let ordinal = u32::try_from(resource.meta.order & ((1 << ORDER_BITS) - 1))
                    .unwrap_or(u32::MAX);
                self.objects.insert(
                    key,
                    Good {
                        file,
                        text,
                        start: chunk.start,
                        end: chunk.end,
                        line: chunk.line,
                        ordinal,
                    },
                );
            }
        }
        before.retain(|key, _| set.get(key).is_none());
        let wanted = verdict.retained(&before);
        let mut reader = Rereader {
            ranks: ranks(&sources),
            sources: &mut sources,
            documents: BTreeMap::new(),
        };
        let mut retained = Vec::new();
        for (key, good, reason) in wanted {
            let Some(resource) = reader.read(&key, &good) else {
                continue;
            };
            set.insert(resource);
            retained.push(Retained {
                key: key.clone(),
                file: Arc::clone(&good.file),
                reason,
            });
            self.objects.insert(key, good);
        }
        Merged {
            set,
            retained,
            diagnostics,
            sources,
        }
    }
}

/// Which files and objects of the new texts cannot be used.
struct Verdict {
    /// Files that are there.
    files: BTreeSet<Arc<str>>,
    /// Files with a syntax error.
    broken: BTreeSet<Arc<str>>,
    /// Files with a document that did not name itself: it may have been any of their objects.
    doubtful: BTreeSet<Arc<str>>,
    rejected: BTreeSet<Key>,
}

impl Verdict {
    fn of(parsed: &Parsed, also_rejected: &[Key]) -> Self {
        let name = |id: FileId| parsed.sources.get(id).map(|s| Arc::clone(&s.name));
        let mut out = Self {
            files: parsed
                .sources
                .iter()
                .map(|(_, s)| Arc::clone(&s.name))
                .collect(),
            broken: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            rejected: also_rejected.iter().cloned().collect(),
        };
        for rejected in &parsed.rejected {
            match &rejected.key {
                // a second definition does not spoil the first
                Some(key) if parsed.set.get(key).is_none() => {
                    out.rejected.insert(key.clone());
                }
                Some(_) => {}
                None if rejected.syntax => out.broken.extend(name(rejected.file)),
                None => out.doubtful.extend(name(rejected.file)),
            }
        }
        out
    }

    /// New objects that must not be used: those of a broken file that has an older version, and
    /// those that a later check refused.
    fn unusable(
        &self,
        set: &ResourceSet,
        before: &BTreeMap<Key, Good>,
        sources: &SourceMap,
    ) -> Vec<Key> {
        let known: BTreeSet<&Arc<str>> = before.values().map(|g| &g.file).collect();
        let frozen = |r: &Resource| {
            sources
                .get(r.file)
                .is_some_and(|s| self.broken.contains(&s.name) && known.contains(&s.name))
        };
        set.iter()
            .filter(|r| frozen(r) || self.rejected.contains(&r.key()))
            .map(|r| r.key())
            .collect()
    }

    /// Old objects that stay, of those that the new texts do not define.
    fn retained(&self, before: &BTreeMap<Key, Good>) -> Vec<(Key, Good, Reason)> {
        let reason = |key: &Key, good: &Good| {
            if self.rejected.contains(key) {
                return Some(Reason::Object);
            }
            let held = self.broken.contains(&good.file) || self.doubtful.contains(&good.file);
            (held && self.files.contains(&good.file)).then_some(Reason::File)
        };
        before
            .iter()
            .filter_map(|(k, g)| reason(k, g).map(|r| (k.clone(), g.clone(), r)))
            .collect()
    }
}

/// Rank of each file name, which is the upper half of `Meta::order`.
fn ranks(sources: &SourceMap) -> BTreeMap<Arc<str>, u64> {
    let names: BTreeSet<Arc<str>> = sources.iter().map(|(_, s)| Arc::clone(&s.name)).collect();
    names.into_iter().zip(0..).collect()
}

/// Reads old documents again, each once, with places as in the file they came from.
struct Rereader<'a> {
    ranks: BTreeMap<Arc<str>, u64>,
    sources: &'a mut SourceMap,
    documents: BTreeMap<(Arc<str>, u32, usize), Option<Parsed>>,
}

impl Rereader<'_> {
    fn read(&mut self, key: &Key, good: &Good) -> Option<Resource> {
        let place = (Arc::clone(&good.file), good.line, good.start);
        let sources = &mut *self.sources;
        let document = self
            .documents
            .entry(place)
            .or_insert_with(|| reread(good, sources));
        let mut resource = Resource::clone(document.as_ref()?.set.get(key)?);
        let rank = self.ranks.get(&good.file).copied().unwrap_or_default();
        resource.meta.order = (rank << ORDER_BITS) | u64::from(good.ordinal);
        Some(resource)
    }
}

/// The document as a file of its own: blank lines stand for what was above it, so that its places
/// keep their lines. Added to the sources under the file's name.
fn reread(good: &Good, sources: &mut SourceMap) -> Option<Parsed> {
    let above = usize::try_from(good.line).ok()?.saturating_sub(1);
    let text = "\n".repeat(above) + good.document();
    let id = sources.add(format!("{}{NAME_SUFFIX}", good.file), text.as_str());
    let parsed = parse_as(id, &good.file, &text);
    parsed.rejected.is_empty().then_some(parsed)
}

#[cfg(test)]
mod tests;

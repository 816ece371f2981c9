//! Documents that were read before: of ten thousand objects only the one that changed is read and
//! judged again.
//!
//! Remembered is what has no error, by its text, together with what else was found in it. Places
//! move with the text. What other objects come out of is read again each time.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::diag::{Diagnostic, Diagnostics, Level};
use crate::parse::Parsed;
use crate::resource::{Key, Kind, Resource};
use crate::source::{FileId, Shift};
use crate::yaml::split::Chunk;

/// Most documents that are remembered; further ones are read again each time. What is held is the tree
/// and the typed object of each.
const MAX_DOCUMENTS: usize = 1 << 16;

/// Kinds that are read again each time: their text has another object inside, or their name comes
/// from how many there are.
const READ_AGAIN: [Kind; 2] = [Kind::ConfigMap, Kind::IstioOperator];

/// What was read and judged to be good in the run before.
#[derive(Default)]
pub struct Memory {
    known: HashMap<u64, Known>,
    hasher: RandomState,
}

// texts may be secrets
impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({} documents)", self.known.len())
    }
}

/// A document without an error.
#[derive(Debug, Clone)]
pub(crate) struct Clean {
    /// Where it is.
    file: FileId,
    chunk: Chunk,
    /// Where it was when it was read.
    read_at: Chunk,
    /// Values in it, which count for the bound of its file.
    pub(crate) nodes: usize,
    /// Its objects.
    pub(crate) keys: Vec<Key>,
    /// What reading it found, with the places where it is.
    pub(crate) found: Vec<Diagnostic>,
    /// What judging its objects found, likewise.
    pub(crate) judged: Vec<Diagnostic>,
}

impl Clean {
    /// A document that was just read.
    pub(crate) fn new(file: FileId, chunk: Chunk, nodes: usize) -> Self {
        Self {
            file,
            chunk,
            read_at: chunk,
            nodes,
            keys: Vec::new(),
            found: Vec::new(),
            judged: Vec::new(),
        }
    }

    /// The same text at another place, without its objects and findings.
    pub(crate) fn at(&self, file: FileId, chunk: Chunk) -> Self {
        Self {
            file,
            chunk,
            read_at: self.read_at,
            nodes: self.nodes,
            keys: Vec::with_capacity(self.keys.len()),
            found: Vec::new(),
            judged: Vec::new(),
        }
    }

    /// How far it is from where it was read.
    pub(crate) fn shift(&self) -> Shift {
        distance(self.read_at, self.chunk)
    }

    /// What reading it found, with the places of the same text elsewhere.
    pub(crate) fn found_at(&self, file: FileId, chunk: Chunk) -> Vec<Diagnostic> {
        moved(self.found.iter(), distance(self.chunk, chunk), file)
    }

    /// What judging one of its objects found, likewise.
    pub(crate) fn judged_at(&self, key: &Key, file: FileId, chunk: Chunk) -> Vec<Diagnostic> {
        let about = |d: &&Diagnostic| d.resource.as_ref() == Some(key);
        let judged = self.judged.iter().filter(about);
        moved(judged, distance(self.chunk, chunk), file)
    }
}

fn moved<'d>(
    findings: impl Iterator<Item = &'d Diagnostic>,
    shift: Shift,
    file: FileId,
) -> Vec<Diagnostic> {
    let one = |finding: &Diagnostic| {
        let mut finding = finding.clone();
        finding.span = finding.span.map(|span| shift.apply(span, file));
        for (span, _) in &mut finding.labels {
            *span = shift.apply(*span, file);
        }
        finding
    };
    findings.map(one).collect()
}

/// From one place of a text to another.
fn distance(from: Chunk, to: Chunk) -> Shift {
    let place = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    Shift {
        bytes: place(to.start).saturating_sub(place(from.start)),
        lines: i64::from(to.line) - i64::from(from.line),
    }
}

/// A document that is remembered.
pub(crate) struct Known {
    /// The whole file that it was in last.
    file: Arc<str>,
    pub(crate) clean: Clean,
    pub(crate) objects: Vec<Arc<Resource>>,
}

impl Known {
    fn text(&self) -> &str {
        let Chunk { start, end, .. } = self.clean.chunk;
        self.file.get(start..end).unwrap_or_default()
    }
}

impl Memory {
    /// The document of this text.
    pub(crate) fn get(&self, text: &str) -> Option<&Known> {
        let known = self.known.get(&self.hasher.hash_one(text))?;
        (known.text() == text).then_some(known)
    }

    /// Remembers what is good of a run, and nothing else. `judged` are the findings about those of
    /// its objects that were not remembered before.
    pub(crate) fn learn(&mut self, parsed: &Parsed, judged: &Diagnostics) {
        self.known.clear();
        let mut about: HashMap<&Key, Vec<&Diagnostic>> = HashMap::new();
        for finding in judged {
            if let Some(key) = &finding.resource {
                about.entry(key).or_default().push(finding);
            }
        }
        for clean in parsed.clean.iter().take(MAX_DOCUMENTS) {
            if let Some(known) = learned(clean, parsed, &about) {
                self.known.insert(self.hasher.hash_one(known.text()), known);
            }
        }
    }
}

/// A document with what its objects were judged to be; none if it has to be read again.
fn learned(
    clean: &Clean,
    parsed: &Parsed,
    about: &HashMap<&Key, Vec<&Diagnostic>>,
) -> Option<Known> {
    let mut clean = clean.clone();
    let mut objects = Vec::with_capacity(clean.keys.len());
    for key in &clean.keys {
        let found = about.get(key).map(Vec::as_slice).unwrap_or_default();
        let bad = found.iter().any(|finding| finding.level == Level::Error);
        if bad || READ_AGAIN.contains(&key.kind) {
            return None;
        }
        clean.judged.extend(found.iter().copied().cloned());
        objects.push(parsed.set.get(key).cloned()?);
    }
    let file = Arc::clone(&parsed.sources.get(clean.file)?.text);
    Some(Known {
        file,
        clean,
        objects,
    })
}

#[cfg(test)]
mod tests;

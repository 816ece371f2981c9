//! Files in; objects, diagnostics and places out. Nothing stops at the first error: a document
//! that cannot be used disables its own object only.

use crate::diag::Diagnostics;
use crate::resource::{Key, ResourceSet};
use crate::source::{FileId, SourceMap};

/// What came out of the files.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// The objects without errors.
    pub set: ResourceSet,
    /// Everything found, sorted by place.
    pub diagnostics: Diagnostics,
    /// The texts, for diagnostics.
    pub sources: SourceMap,
    /// Documents with errors, which are not in the set.
    pub rejected: Vec<Rejected>,
}

/// A document, or the unreadable rest of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The file.
    pub file: FileId,
    /// The object, when the document got as far as naming itself; none for a syntax error.
    pub key: Option<Key>,
}

/// Reads files of YAML or JSON, given as name and text.
#[must_use]
pub fn parse(files: &[(String, String)]) -> Parsed {
    let mut parsed = Parsed::default();
    for (name, text) in files {
        parsed.sources.add(name.as_str(), text.as_str());
    }
    parsed
}

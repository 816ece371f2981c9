//! Where text came from: files by id, and spans inside them.
//!
//! Every node, and so every diagnostic, carries a [`Span`]; the [`SourceMap`] turns it back into
//! a file name and a snippet. Texts are kept whole because a diagnostic shows its line.

use std::fmt;
use std::sync::Arc;

/// Index of a file in its [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileId(pub u32);

/// A stretch of one file. Byte offsets are half open; line and column are 1-based, and the column
/// counts characters, as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// Line of `start`, from 1.
    pub line: u32,
    /// Column of `start` in characters, from 1.
    pub column: u32,
}

impl Span {
    /// The same place, without extent.
    #[must_use]
    pub fn point(self) -> Self {
        Self {
            end: self.start,
            ..self
        }
    }

    /// From the start of `self` to the end of `other`; `self` when they are in different files.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        if self.file != other.file {
            return self;
        }
        Self {
            end: other.end.max(self.end),
            ..self
        }
    }
}

/// How far a text has moved since it was read: bytes and whole lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shift {
    /// Bytes towards the end of the file.
    pub(crate) bytes: i64,
    /// Lines towards the end of the file.
    pub(crate) lines: i64,
}

impl Shift {
    /// The span in the file where its text is now.
    pub(crate) fn apply(self, span: Span, file: FileId) -> Span {
        let by = |place: u32, distance: i64| {
            u32::try_from(i64::from(place).saturating_add(distance)).unwrap_or(u32::MAX)
        };
        Span {
            file,
            start: by(span.start, self.bytes),
            end: by(span.end, self.bytes),
            line: by(span.line, self.lines),
            column: span.column,
        }
    }
}

/// A span with its file's name: what people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// File name as given.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// File name as given.
    pub name: Arc<str>,
    /// Whole text.
    pub text: Arc<str>,
}

// files hold secrets: Debug shows their size only
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.name, self.text.len())
    }
}

/// All files of a run, in the order they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceMap {
    files: Vec<Source>,
}

impl SourceMap {
    /// Adds a file and returns its id.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(Source {
            name: name.into(),
            text: text.into(),
        });
        id
    }

    /// The file, if the id is of this map.
    #[must_use]
    pub fn get(&self, id: FileId) -> Option<&Source> {
        self.files.get(usize::try_from(id.0).unwrap_or(usize::MAX))
    }

    /// The file's name; `<unknown>` for an id of another map.
    #[must_use]
    pub fn name(&self, id: FileId) -> &str {
        self.get(id).map_or("<unknown>", |s| &s.name)
    }

    /// File, line and column of a span's start.
    #[must_use]
    pub fn location(&self, span: Span) -> Location {
        Location {
            file: self
                .get(span.file)
                .map_or_else(|| Arc::from("<unknown>"), |s| Arc::clone(&s.name)),
            line: span.line,
            column: span.column,
        }
    }

    /// The text under a span; empty when the span does not fit the file.
    #[must_use]
    pub fn text(&self, span: Span) -> &str {
        let start = usize::try_from(span.start).unwrap_or(usize::MAX);
        let end = usize::try_from(span.end).unwrap_or(usize::MAX);
        self.get(span.file)
            .and_then(|s| s.text.get(start..end))
            .unwrap_or_default()
    }

    /// Files with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        (0u32..).map(FileId).zip(&self.files)
    }
}

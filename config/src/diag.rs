//! What is wrong with the input: one diagnostic is one sentence about one place.
//!
//! Broken input is a value here, never an error path. The collector keeps everything of a run;
//! the renderers under `diag/` turn it into what people (or their tools) read. The table of codes
//! is [`codes`].

pub mod codes;
pub mod render;

use std::fmt;

use crate::resource::Key;
use crate::source::Span;

/// What a [`Diagnostic`] is about; the same as the object's key.
pub type ResourceRef = Key;

/// A stable name of one kind of finding: Istio's `IST…` where Istio has one, else `SP…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How bad a finding is. An error on an object disables that object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Accepted, but probably not what was meant.
    Warning,
    /// Refused.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which rule speaks.
    pub code: Code,
    /// How bad it is; the code's own level unless changed.
    pub level: Level,
    /// The object it is about.
    pub resource: Option<ResourceRef>,
    /// The field, like `spec.http[0].match[1].uri.prefix`; empty for the whole object.
    pub path: String,
    /// The place to point at.
    pub span: Option<Span>,
    /// One sentence, no full stop.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Further places that explain the finding.
    pub labels: Vec<(Span, String)>,
}

impl Diagnostic {
    /// A finding with the code's own level, nowhere in particular.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            level: codes::info(code).map_or(Level::Error, |i| i.level),
            resource: None,
            path: String::new(),
            span: None,
            message: message.into(),
            help: None,
            labels: Vec::new(),
        }
    }

    /// With another level than the code's own.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Points at a place.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Names the object.
    #[must_use]
    pub fn on(mut self, resource: &Key) -> Self {
        self.resource = Some(resource.clone());
        self
    }

    /// Names the field.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Says what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }

    fn sort_key(&self) -> impl Ord + '_ {
        (
            self.span.is_none(),
            self.span,
            self.code,
            &self.resource,
            &self.path,
            &self.message,
        )
    }
}

/// Everything found in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Adds all findings of another run.
    pub fn extend(&mut self, other: impl IntoIterator<Item = Diagnostic>) {
        self.list.extend(other);
    }

    /// Sorts by place, then code, so that output does not depend on the order of passes, and
    /// drops exact repetitions.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.list.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        self.list.dedup();
        self
    }

    /// Findings in the order added (or sorted, after [`Self::sorted`]).
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many are of this level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.list.iter().filter(|d| d.level == level).count()
    }

    /// Whether any is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.at_or_above(Level::Error)
    }

    /// Whether any is of this level or a worse one: the exit code of `sallyctl analyze`.
    #[must_use]
    pub fn at_or_above(&self, level: Level) -> bool {
        self.list.iter().any(|d| d.level >= level)
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<T: IntoIterator<Item = Diagnostic>>(iter: T) -> Self {
        Self {
            list: iter.into_iter().collect(),
        }
    }
}

//! What is wrong with the input, for the log, for `--check` and for `/diagnostics`.

use std::fmt;
use std::path::Path;

use sallyport_config::diag::Level;
use sallyport_config::diag::render::{Format, render};
use sallyport_config::source::SourceMap;
use sallyport_config::{Diagnostic, Diagnostics};
use serde_json::{Value, json};

use crate::log;

/// Findings that are logged at a time; all of them are at `/diagnostics`.
const LOGGED_MAX: usize = 20;

/// Something wrong that has no place inside a file: a file that cannot be read, a port that is
/// taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// How bad it is.
    pub(crate) level: Level,
    /// The file, listener or certificate.
    pub(crate) about: String,
    /// One sentence.
    pub(crate) message: String,
}

impl Problem {
    /// A problem.
    pub(crate) fn of(level: Level, about: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level,
            about: about.into(),
            message: message.into(),
        }
    }

    /// An error with a file.
    pub(crate) fn error(path: &Path, message: impl fmt::Display) -> Self {
        Self::of(
            Level::Error,
            path.display().to_string(),
            message.to_string(),
        )
    }

    /// A warning about a file.
    pub(crate) fn warning(path: &Path, message: impl fmt::Display) -> Self {
        Self::of(
            Level::Warning,
            path.display().to_string(),
            message.to_string(),
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.message)
    }
}

/// Everything that is wrong with the input of a run.
#[derive(Default)]
pub(crate) struct Findings {
    /// Findings in the texts.
    pub(crate) diagnostics: Diagnostics,
    /// The texts.
    pub(crate) sources: SourceMap,
    /// What is wrong beside the texts.
    pub(crate) problems: Vec<Problem>,
    /// Objects that are served in their last good state.
    pub(crate) retained: Vec<String>,
}

// the texts may hold Secrets: Debug leaves them out
impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Findings");
        text.field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl Findings {
    /// How many findings of a level there are.
    pub(crate) fn count(&self, level: Level) -> usize {
        let problems = self
            .problems
            .iter()
            .filter(|problem| problem.level == level);
        self.diagnostics.count(level) + problems.count()
    }

    /// Whether something was refused.
    pub(crate) fn has_errors(&self) -> bool {
        self.count(Level::Error) > 0
    }

    /// The first thing that was refused, in a line.
    pub(crate) fn first_error(&self) -> Option<String> {
        let mut problems = self.problems.iter();
        let problem = problems.find(|problem| problem.level == Level::Error);
        let mut diagnostics = self.diagnostics.iter();
        let diagnostic = diagnostics.find(|diagnostic| diagnostic.level == Level::Error);
        let line = |diagnostic: &Diagnostic| self.render(diagnostic.clone(), Format::Short);
        problem
            .map(ToString::to_string)
            .or_else(|| diagnostic.map(line))
    }

    /// For people; with colours for a terminal.
    pub(crate) fn text(&self, color: bool) -> String {
        let mut out = render(&self.diagnostics, &self.sources, Format::Human { color });
        for problem in &self.problems {
            out.push_str(&format!("{}: {problem}\n", problem.level));
        }
        for object in &self.retained {
            out.push_str(&format!(
                "note: {object} is served in its last good state\n"
            ));
        }
        out
    }

    /// For programs: the diagnostics as everywhere else, then what is wrong beside the texts.
    pub(crate) fn json(&self) -> Value {
        let text = render(&self.diagnostics, &self.sources, Format::Json);
        let problems = self.problems.iter().map(problem_json);
        json!({
            "diagnostics": serde_json::from_str::<Value>(&text).unwrap_or(Value::Null),
            "problems": problems.collect::<Vec<_>>(),
            "retained": self.retained,
        })
    }

    /// Whether this says something else than `earlier` did.
    pub(crate) fn is_news(&self, earlier: &Self) -> bool {
        self.diagnostics != earlier.diagnostics
            || self.problems != earlier.problems
            || self.retained != earlier.retained
    }

    /// Writes errors and warnings to the log.
    pub(crate) fn log(&self) {
        let line = |level, text: &dyn fmt::Display| match level {
            Level::Error => log::error("config", text),
            Level::Warning => log::warn("config", text),
            Level::Info => log::debug("config", text),
        };
        for problem in self.problems.iter().take(LOGGED_MAX) {
            line(problem.level, problem);
        }
        let grave = |diagnostic: &&Diagnostic| diagnostic.level > Level::Info;
        for diagnostic in self.diagnostics.iter().filter(grave).take(LOGGED_MAX) {
            let text = self.render(diagnostic.clone(), Format::Human { color: false });
            line(diagnostic.level, &text);
        }
        let more = self
            .diagnostics
            .iter()
            .filter(grave)
            .count()
            .saturating_sub(LOGGED_MAX);
        if more > 0 {
            log::warn("config", format_args!("and {more} more, see /diagnostics"));
        }
        for object in self.retained.iter().take(LOGGED_MAX) {
            log::warn(
                "config",
                format_args!("{object} is served in its last good state"),
            );
        }
    }

    /// One diagnostic, without the closing count of a whole run.
    fn render(&self, diagnostic: Diagnostic, format: Format) -> String {
        let text = render(&Diagnostics::from_iter([diagnostic]), &self.sources, format);
        let end = text.find("\n\n").unwrap_or(text.len());
        text.get(..end).unwrap_or_default().trim_end().to_owned()
    }
}

/// A problem as JSON.
pub(crate) fn problem_json(problem: &Problem) -> Value {
    json!({
        "level": problem.level.to_string(),
        "about": problem.about,
        "message": problem.message,
    })
}

//! From files to a snapshot: read, parse, check, keep the last good state of what is broken, index,
//! compile.

pub(crate) mod certificates;
pub(crate) mod files;

use std::fmt;
use std::path::Path;

use sallyport_config::diag::Level;

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
    /// An error with a file.
    pub(crate) fn error(path: &Path, message: &dyn fmt::Display) -> Self {
        Self {
            level: Level::Error,
            about: path.display().to_string(),
            message: message.to_string(),
        }
    }

    /// A warning about a file.
    pub(crate) fn warning(path: &Path, message: &str) -> Self {
        Self {
            level: Level::Warning,
            ..Self::error(path, &message)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            level,
            about,
            message,
        } = self;
        write!(f, "{level}: {about}: {message}")
    }
}

//! Lines for the operator, on standard error. Tokens, keys and bodies never come here.

use std::fmt;
use std::io::Write as _;

/// Something worth knowing.
pub(crate) fn info(about: &str, what: impl fmt::Display) {
    line("info", about, what);
}

/// Something that should be looked at.
pub(crate) fn warn(about: &str, what: impl fmt::Display) {
    line("warn", about, what);
}

/// Something that does not work.
pub(crate) fn error(about: &str, what: impl fmt::Display) {
    line("error", about, what);
}

fn line(level: &str, about: &str, what: impl fmt::Display) {
    // control characters of a peer's text must not make lines or colours
    let text: String = what
        .to_string()
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    // nobody is left to tell when standard error is closed
    let _ = writeln!(std::io::stderr(), "{level:5} {about}: {text}");
}

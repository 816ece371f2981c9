//! Diagnostics as text: for people, for terminals that parse, for editors, and for code review.
//!
//! Everything a file says is untrusted: control characters never reach a terminal, and lines of a
//! Secret are never shown.

mod human;
mod machine;

use std::fmt::Write as _;

use super::{Diagnostic, Diagnostics};
use crate::resource::Kind;
use crate::source::{Source, SourceMap};

/// How to write diagnostics down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Like rustc, with snippets.
    Human {
        /// With terminal colours.
        color: bool,
    },
    /// One line each: `file:line:column: level[code]: message`.
    Short,
    /// A JSON array.
    Json,
    /// SARIF 2.1.0, which code hosts read.
    Sarif,
    /// GitHub's workflow commands.
    Github,
}

/// Writes diagnostics down, in the order they come.
#[must_use]
pub fn render(diagnostics: &Diagnostics, sources: &SourceMap, format: Format) -> String {
    match format {
        Format::Human { color } => human::render(diagnostics, sources, color),
        Format::Short => short(diagnostics, sources),
        Format::Json => machine::json(diagnostics, sources),
        Format::Sarif => machine::sarif(diagnostics, sources),
        Format::Github => machine::github(diagnostics, sources),
    }
}

fn short(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        if let Some(span) = diagnostic.span {
            let _ = write!(out, "{}: ", clean(&sources.location(span).to_string()));
        }
        let _ = write!(
            out,
            "{}[{}]: {}",
            diagnostic.level,
            diagnostic.code,
            clean(&diagnostic.message)
        );
        if let Some(help) = &diagnostic.help {
            let _ = write!(out, " ({})", clean(help));
        }
        out.push('\n');
    }
    out
}

/// Text without control characters, which could repaint a terminal or forge a line.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // the right-to-left overrides are not control characters, but can make text lie
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether the lines of a diagnostic may hold secret data.
fn is_secret(diagnostic: &Diagnostic, source: &Source) -> bool {
    match &diagnostic.resource {
        Some(key) => key.kind == Kind::Secret,
        // unreadable or unnamed: any Secret of the file could be the place
        None => source
            .text
            .lines()
            .any(|l| l.contains("kind") && l.contains("Secret")),
    }
}

#[cfg(test)]
mod tests;

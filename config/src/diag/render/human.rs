//! Diagnostics with snippets, like rustc's.

use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level as Severity, Origin, Renderer, Snippet,
};

use super::{clean, is_secret};
use crate::diag::{Diagnostic, Diagnostics, Level};
use crate::source::{Source, SourceMap, Span};

/// Most lines between two places of one snippet; places farther apart get snippets of their own.
const MAX_SNIPPET_LINES: u32 = 100;

/// Longest line shown, in bytes: a minified file would fill the screen.
const MAX_LINE: usize = 400;

pub(super) fn render(diagnostics: &Diagnostics, sources: &SourceMap, color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&[group(diagnostic, sources)]));
        out.push_str("\n\n");
    }
    out.push_str(&summary(diagnostics));
    out
}

/// The last line: how many of what.
fn summary(diagnostics: &Diagnostics) -> String {
    let some = |level, one: &str, many: &str| match diagnostics.count(level) {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let parts: Vec<String> = [
        some(Level::Error, "error", "errors"),
        some(Level::Warning, "warning", "warnings"),
        some(Level::Info, "note", "notes"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("{}\n", parts.join(", "))
    }
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a SourceMap) -> Group<'a> {
    let severity = match diagnostic.level {
        Level::Error => Severity::ERROR,
        Level::Warning => Severity::WARNING,
        Level::Info => Severity::INFO,
    };
    let mut group = severity
        .primary_title(clean(&diagnostic.message))
        .id(diagnostic.code.0)
        .elements(Vec::<Origin<'a>>::new());
    if let Some(span) = diagnostic.span {
        group = places(group, diagnostic, span, sources);
    }
    if let Some(key) = &diagnostic.resource {
        let path = if diagnostic.path.is_empty() {
            String::new()
        } else {
            format!(", {}", clean(&diagnostic.path))
        };
        group = group.element(
            Severity::NOTE
                .with_name("in")
                .message(format!("{}{path}", clean(&key.to_string()))),
        );
    }
    match &diagnostic.help {
        Some(help) => group.element(Severity::HELP.message(clean(help))),
        None => group,
    }
}

/// One mark in a file.
struct Mark<'a> {
    span: Span,
    text: Option<&'a str>,
}

fn places<'a>(
    mut group: Group<'a>,
    diagnostic: &'a Diagnostic,
    span: Span,
    sources: &'a SourceMap,
) -> Group<'a> {
    let mut marks = vec![Mark { span, text: None }];
    marks.extend(diagnostic.labels.iter().map(|(span, text)| Mark {
        span: *span,
        text: Some(text),
    }));
    while let Some((near, far)) = next_window(std::mem::take(&mut marks)) {
        marks = far;
        let Some(first) = near.first() else { break };
        let Some(source) = sources.get(first.span.file) else {
            continue;
        };
        let shown = if is_secret(diagnostic, source) {
            None
        } else {
            snippet(&near, source)
        };
        group = match shown {
            Some(snippet) => group.element(snippet),
            None => {
                let origin = Origin::path(clean(&source.name));
                group.element(
                    origin
                        .line(size(first.span.line))
                        .char_column(size(first.span.column)),
                )
            }
        };
    }
    group
}

/// Splits off the marks that fit into one snippet with the first mark.
fn next_window(marks: Vec<Mark<'_>>) -> Option<(Vec<Mark<'_>>, Vec<Mark<'_>>)> {
    let first = marks.first()?.span;
    let near = |m: &Mark<'_>| {
        m.span.file == first.file && m.span.line.abs_diff(first.line) <= MAX_SNIPPET_LINES
    };
    Some(marks.into_iter().partition(near))
}

/// The lines from the first to the last mark. Only they are handed to the renderer, because it
/// looks at every line it gets and files may be long.
fn snippet<'a>(marks: &[Mark<'a>], source: &'a Source) -> Option<Snippet<'a, Annotation<'a>>> {
    let lines: Vec<Range<usize>> = marks
        .iter()
        .map(|m| line_around(source, size(m.span.start)))
        .collect::<Option<_>>()?;
    let from = lines.iter().map(|l| l.start).min()?;
    let to = lines.iter().map(|l| l.end).max()?;
    if lines.iter().any(|l| l.len() > MAX_LINE) {
        return None;
    }
    let first_line = marks.iter().map(|m| m.span.line).min()?;
    let text = source.text.get(from..to)?;
    let mut snippet = Snippet::source(text)
        .path(clean(&source.name))
        .line_start(size(first_line))
        .fold(true);
    for (mark, line) in marks.iter().zip(&lines) {
        // a value of many lines is marked in its first one
        let start = size(mark.span.start).clamp(line.start, line.end) - from;
        let end = size(mark.span.end).clamp(line.start, line.end) - from;
        let kind = if mark.text.is_none() {
            AnnotationKind::Primary
        } else {
            AnnotationKind::Context
        };
        snippet = snippet.annotation(kind.span(start..end.max(start)).label(mark.text.map(clean)));
    }
    Some(snippet)
}

/// The line that holds a byte, without its end.
fn line_around(source: &Source, at: usize) -> Option<Range<usize>> {
    let (before, after) = source.text.split_at_checked(at.min(source.text.len()))?;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    let end = after
        .find('\n')
        .map_or(source.text.len(), |i| before.len() + i);
    Some(start..end)
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

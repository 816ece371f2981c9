//! Diagnostics for programs: JSON, SARIF, GitHub's workflow commands.

use serde_json::{Map, Value, json};

use crate::diag::{Diagnostic, Diagnostics, Level, codes};
use crate::source::{SourceMap, Span};

pub(super) fn json(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    let list: Vec<Value> = diagnostics.iter().map(|d| object(d, sources)).collect();
    pretty(&Value::Array(list))
}

/// One diagnostic as a JSON object; absent parts are absent keys.
fn object(diagnostic: &Diagnostic, sources: &SourceMap) -> Value {
    let mut out = Map::new();
    out.insert("code".to_owned(), json!(diagnostic.code.0));
    out.insert("level".to_owned(), json!(diagnostic.level.to_string()));
    out.insert("message".to_owned(), json!(diagnostic.message));
    if let Some(key) = &diagnostic.resource {
        let key =
            json!({"kind": key.kind.as_str(), "namespace": &*key.namespace, "name": &*key.name});
        out.insert("resource".to_owned(), key);
    }
    if !diagnostic.path.is_empty() {
        out.insert("path".to_owned(), json!(diagnostic.path));
    }
    if let Some(span) = diagnostic.span {
        out.append(&mut place(span, sources));
    }
    if let Some(help) = &diagnostic.help {
        out.insert("help".to_owned(), json!(help));
    }
    if !diagnostic.labels.is_empty() {
        let label = |(span, text): &(Span, String)| {
            let mut label = place(*span, sources);
            label.insert("message".to_owned(), json!(text));
            Value::Object(label)
        };
        out.insert(
            "labels".to_owned(),
            diagnostic.labels.iter().map(label).collect(),
        );
    }
    Value::Object(out)
}

fn place(span: Span, sources: &SourceMap) -> Map<String, Value> {
    let pairs = [
        ("file", json!(sources.name(span.file))),
        ("line", json!(span.line)),
        ("column", json!(span.column)),
    ];
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

pub(super) fn sarif(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    let mut used: Vec<_> = diagnostics
        .iter()
        .filter_map(|d| codes::info(d.code))
        .collect();
    used.sort_by_key(|i| i.code);
    used.dedup();
    let rules: Vec<Value> = used
        .iter()
        .map(|i| json!({"id": i.code.0, "name": i.title, "shortDescription": {"text": i.template}, "help": {"text": i.page}}))
        .collect();
    let results: Vec<Value> = diagnostics
        .iter()
        .map(|d| sarif_result(d, sources))
        .collect();
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "sallyctl", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

fn sarif_result(diagnostic: &Diagnostic, sources: &SourceMap) -> Value {
    let level = match diagnostic.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "note",
    };
    let text = match &diagnostic.help {
        Some(help) => format!("{}. {help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let location = |span: Span| {
        json!({"physicalLocation": {
            "artifactLocation": {"uri": sources.name(span.file)},
            "region": {"startLine": span.line, "startColumn": span.column},
        }})
    };
    let mut result =
        json!({"ruleId": diagnostic.code.0, "level": level, "message": {"text": text}});
    let Some(out) = result.as_object_mut() else {
        return result;
    };
    if let Some(span) = diagnostic.span {
        let mut place = location(span);
        if let (Some(place), Some(key)) = (place.as_object_mut(), &diagnostic.resource) {
            let name = format!("{key} {}", diagnostic.path);
            place.insert(
                "logicalLocations".to_owned(),
                json!([{"fullyQualifiedName": name.trim_end()}]),
            );
        }
        out.insert("locations".to_owned(), json!([place]));
    }
    if !diagnostic.labels.is_empty() {
        let label = |(span, text): &(Span, String)| {
            let mut label = location(*span);
            if let Some(label) = label.as_object_mut() {
                label.insert("message".to_owned(), json!({"text": text}));
            }
            label
        };
        out.insert(
            "relatedLocations".to_owned(),
            diagnostic.labels.iter().map(label).collect(),
        );
    }
    result
}

/// `::error file=…,line=…,col=…,title=…::message`, escaped as the runner's toolkit does
/// (`@actions/core`, `command.ts`).
pub(super) fn github(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let command = match diagnostic.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "notice",
        };
        let place = diagnostic.span.map(|span| {
            let file = property(sources.name(span.file));
            format!("file={file},line={},col={},", span.line, span.column)
        });
        let help = diagnostic
            .help
            .as_ref()
            .map(|h| format!(" ({h})"))
            .unwrap_or_default();
        let message = data(&format!("{}{help}", diagnostic.message));
        let place = place.unwrap_or_default();
        out.push_str(&format!(
            "::{command} {place}title={}::{message}\n",
            diagnostic.code
        ));
    }
    out
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

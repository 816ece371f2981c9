//! Objects as texts that leave the place of their files: from a control process to its gateways.
//!
//! A [`Document`] knows its file and its line, so that a gateway's findings name the places that the
//! user wrote, and so that both ends compile to the same snapshot. [`files`] puts documents
//! together again as files, for [`crate::pipeline`].

mod scope;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::resource::{Key, Kind, ResourceSet};
use crate::yaml::{Node, Plain, Value};

pub use scope::visible;

/// Blank lines that stand for text in front of a document; a place further down is given up.
const LINES_MAX: u32 = 1_000_000;

/// One document of the user's files. It may be a Secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Document {
    /// Name of its file.
    pub file: Arc<str>,
    /// Place among the objects of its file.
    pub ordinal: u32,
    /// Line of its first byte, from 1.
    pub line: u32,
    /// The text.
    pub text: Arc<str>,
}

// the text of a Secret is the secret
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}:{})", self.file, self.line)
    }
}

/// A document with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its objects: one, or all of a list.
    pub objects: Vec<Key>,
    /// The document.
    pub document: Document,
}

impl Published {
    /// What it is called between control process and gateway: its first object.
    #[must_use]
    pub fn name(&self) -> String {
        self.objects.first().map(Key::to_string).unwrap_or_default()
    }

    /// Whether it must be given only to who may see it: there is a Secret in it.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.objects.iter().any(|key| key.kind == Kind::Secret)
    }
}

/// Takes lists with Secrets apart, so that each of their objects can be given out by itself.
#[must_use]
pub fn apart(published: Vec<Published>, set: &ResourceSet) -> Vec<Published> {
    let mut all = Vec::with_capacity(published.len());
    for one in published {
        if one.is_secret() && one.objects.len() > 1 {
            let objects = one.objects.iter();
            all.extend(objects.filter_map(|key| alone(key, &one.document, set)));
        } else {
            all.push(one);
        }
    }
    all
}

/// One object of a list as a document. None for what is inside another object, which brings it.
fn alone(key: &Key, list: &Document, set: &ResourceSet) -> Option<Published> {
    let resource = set.get(key)?;
    resource.node.get("kind")?;
    let mut text = String::new();
    write(&resource.node, &mut text);
    text.push('\n');
    let within = resource.meta.order & u64::from(u32::MAX);
    Some(Published {
        objects: vec![key.clone()],
        document: Document {
            text: text.into(),
            ordinal: u32::try_from(within).unwrap_or(u32::MAX),
            ..list.clone()
        },
    })
}

/// A tree as text on one line. What was a number or a boolean stays one.
fn write(node: &Node, out: &mut String) {
    let quoted = |text: &str, out: &mut String| {
        out.push_str(&serde_json::Value::from(text).to_string());
    };
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Scalar { text, plain } => match Plain::of(text) {
            Plain::Bool(_) | Plain::Int(_) | Plain::Float(_) if *plain => out.push_str(text),
            _ => quoted(text, out),
        },
        Value::Seq(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (index, entry) in entries.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                quoted(&entry.key, out);
                out.push_str(": ");
                write(&entry.value, out);
            }
            out.push('}');
        }
    }
}

/// Documents as files, name and text: each at its line, blank lines for what is not there.
#[must_use]
pub fn files<'d>(documents: impl IntoIterator<Item = &'d Document>) -> Vec<(String, String)> {
    let mut by_file: BTreeMap<&str, Vec<&Document>> = BTreeMap::new();
    for document in documents {
        by_file.entry(&document.file).or_default().push(document);
    }
    let joined = |(name, mut list): (&str, Vec<&Document>)| {
        list.sort();
        let mut file = File::default();
        list.into_iter().for_each(|document| file.add(document));
        (name.to_owned(), file.text)
    };
    by_file.into_iter().map(joined).collect()
}

/// A file that is put together.
#[derive(Default)]
struct File {
    text: String,
    /// Complete lines so far.
    lines: u32,
    begun: bool,
}

impl File {
    fn add(&mut self, document: &Document) {
        let marker = self.marker(&document.text);
        let lines = u32::from(!marker.is_empty());
        let line = document.line.min(LINES_MAX);
        while self.lines + lines + 1 < line {
            self.push("\n");
        }
        self.push(marker);
        self.push(&document.text);
        if !document.text.ends_with('\n') {
            self.push("\n");
        }
        self.begun = true;
    }

    /// The line that has to stand between what is there and a further document.
    fn marker(&self, text: &str) -> &'static str {
        let mut lines = text.lines().map(str::trim_end);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        let first = first.unwrap_or_default();
        match self.begun {
            false => "",
            // a directive is read only behind the end of a document (YAML 1.2.2 §9.2)
            true if first.starts_with('%') && !self.text.ends_with("\n...\n") => "...\n",
            true if first == "---" || first.starts_with("--- ") || first.starts_with('%') => "",
            true => "---\n",
        }
    }

    fn push(&mut self, text: &str) {
        let lines = text.bytes().filter(|byte| *byte == b'\n').count();
        self.lines = self
            .lines
            .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.text.push_str(text);
    }
}

#[cfg(test)]
mod tests;

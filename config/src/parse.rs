//! Files in; objects, diagnostics and places out. Nothing stops at the first error: a document
//! that cannot be used disables its own object only.

mod embedded;
mod identity;

use std::collections::HashMap;
use std::sync::Arc;

use crate::api::Map;
use crate::diag::{Diagnostic, Diagnostics, Level, codes};
use crate::memory::{Clean, Known, Memory};
use crate::message::{Cx, FromNode, Unknown, message, nearest};
use crate::resource::{Key, Kind, Meta, Resource, ResourceSet, Spec};
use crate::source::{FileId, SourceMap, Span};
use crate::yaml::read::{self, Document};
use crate::yaml::split::{Chunk, split};
use crate::yaml::{Node, Value};
use identity::Identity;

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
    /// Where each object's document is: its file, its text there, and its line.
    pub(crate) places: HashMap<Key, (FileId, Chunk)>,
    /// The documents without an error.
    pub(crate) clean: Vec<Clean>,
}

/// A document that is not in the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The file.
    pub file: FileId,
    /// The object, when the document got as far as naming itself.
    pub key: Option<Key>,
    /// Whether the text could not even be read: what else the file says is then in doubt.
    pub syntax: bool,
}

/// Reads files of YAML or JSON, given as name and text. Files count in the order of their names,
/// whatever order they come in.
#[must_use]
pub fn parse(files: &[(String, String)]) -> Parsed {
    parse_new(files, &Memory::default())
}

/// The same, but documents that are remembered are not read again.
pub(crate) fn parse_new(files: &[(String, String)], memory: &Memory) -> Parsed {
    let mut ranked: Vec<&(String, String)> = files.iter().collect();
    ranked.sort_by(|a, b| a.0.cmp(&b.0));
    let mut reader = Reader::new(memory);
    for (rank, (name, text)) in (0u64..).zip(ranked) {
        let file = reader.parsed.sources.add(name.as_str(), text.as_str());
        reader.next_order = rank << ORDER_BITS;
        reader.file(file, text);
    }
    let mut parsed = reader.parsed;
    parsed.diagnostics = std::mem::take(&mut parsed.diagnostics).sorted();
    parsed
}

/// Reads one text as a file that is known to the caller's own sources by this id.
pub(crate) fn parse_as(file: FileId, name: &str, text: &str) -> Parsed {
    let memory = Memory::default();
    let mut reader = Reader::new(&memory);
    // embedded texts look their outer file up: it must be there under the same id
    for _ in 0..file.0 {
        reader.parsed.sources.add("", "");
    }
    reader.parsed.sources.add(name, text);
    reader.file(file, text);
    reader.parsed
}

/// Bits of `Meta::order` that count objects inside a file.
pub(crate) const ORDER_BITS: u32 = 32;

message! {
    /// `metadata`, as far as it is read.
    pub struct ObjectMeta [Honoured] unknown Ignore {
        name: String,
        namespace: String,
        labels: Map<String>,
        annotations: Map<String>,
        creation_timestamp: String,
    }
}

struct Reader<'m> {
    memory: &'m Memory,
    parsed: Parsed,
    next_order: u64,
    unnamed: u32,
}

impl<'m> Reader<'m> {
    fn new(memory: &'m Memory) -> Self {
        Self {
            memory,
            parsed: Parsed::default(),
            next_order: 0,
            unnamed: 0,
        }
    }

    fn file(&mut self, file: FileId, text: &str) {
        let mut reader = match read::Reader::open(file, text) {
            Ok(reader) => reader,
            Err(diagnostic) => return self.unreadable(file, *diagnostic),
        };
        let memory = self.memory;
        for chunk in split(text) {
            let known = text
                .get(chunk.start..chunk.end)
                .and_then(|part| memory.get(part));
            match known {
                Some(known) if reader.skip(known.clean.nodes) => self.again(file, chunk, known),
                _ => match reader.document(text, chunk) {
                    Ok(document) => document.into_iter().for_each(|d| self.document(file, d)),
                    Err(diagnostic) => self.unreadable(file, *diagnostic),
                },
            }
        }
    }

    fn unreadable(&mut self, file: FileId, diagnostic: Diagnostic) {
        self.parsed.diagnostics.push(diagnostic);
        self.parsed.rejected.push(Rejected {
            file,
            key: None,
            syntax: true,
        });
    }

    /// The objects of a document that was just read.
    fn document(&mut self, file: FileId, document: Document) {
        let (chunk, findings) = (document.chunk, self.findings());
        let mut clean = Clean::new(file, chunk, document.nodes);
        for node in flatten(document.node) {
            clean
                .keys
                .extend(self.object(file, chunk, node, &document.found));
        }
        self.remember(clean, findings);
    }

    /// The objects of a document that was read before.
    fn again(&mut self, file: FileId, chunk: Chunk, known: &Known) {
        let findings = self.findings();
        let mut clean = known.clean.at(file, chunk);
        let found = known.clean.found_at(file, chunk);
        self.parsed.diagnostics.extend(found);
        let mut judged = Vec::new();
        for object in &known.objects {
            let resource = object.again(file, self.next_order, clean.shift());
            self.next_order += 1;
            let key = resource.key();
            let mut diagnostics = Vec::new();
            self.check_duplicate(&key, resource.span_at("metadata.name"), &mut diagnostics);
            if diagnostics.is_empty() {
                judged.extend(known.clean.judged_at(&key, file, chunk));
                clean.keys.push(key.clone());
                self.accept(key, resource, chunk);
            } else {
                self.parsed.diagnostics.extend(diagnostics);
                self.reject(file, Some(key));
            }
        }
        clean.judged.clone_from(&judged);
        self.remember(clean, findings);
        self.parsed.diagnostics.extend(judged);
    }

    /// How much was found so far.
    fn findings(&self) -> (usize, usize) {
        (self.parsed.diagnostics.len(), self.parsed.rejected.len())
    }

    /// Keeps a document in mind with what was found in it, unless that is an error.
    fn remember(&mut self, mut clean: Clean, before: (usize, usize)) {
        let found = self.parsed.diagnostics.iter().skip(before.0);
        clean.found = found.cloned().collect();
        let good = clean.found.iter().all(|d| d.level < Level::Error);
        if good && self.parsed.rejected.len() == before.1 {
            self.parsed.clean.push(clean);
        }
    }

    fn reject(&mut self, file: FileId, key: Option<Key>) {
        self.parsed.rejected.push(Rejected {
            file,
            key,
            syntax: false,
        });
    }

    /// One object: named, decoded, and put into the set or among the rejected. Its name, if it is
    /// of a kind that is read.
    fn object(
        &mut self,
        file: FileId,
        chunk: Chunk,
        node: Node,
        found: &[Diagnostic],
    ) -> Option<Key> {
        let mut diagnostics = inside(found, node.span);
        let identity = Identity::of(&node, &mut diagnostics);
        let mut key = None;
        if let Identity::Known(kind) = identity {
            let order = self.next_order;
            self.next_order += 1;
            let node = Arc::new(node);
            let resource = self.decode(kind, order, &node, file, &mut diagnostics);
            key = resource.as_ref().map(Resource::key);
            if let (Some(key), Some(resource)) = (&key, resource) {
                self.check_duplicate(key, name_span(&node), &mut diagnostics);
                if !diagnostics.iter().any(|d| d.level == Level::Error) {
                    self.accept(key.clone(), resource, chunk);
                }
            }
        }
        let bad = diagnostics.iter().any(|d| d.level == Level::Error);
        for mut diagnostic in diagnostics {
            diagnostic.resource = diagnostic.resource.or_else(|| key.clone());
            self.parsed.diagnostics.push(diagnostic);
        }
        if bad {
            // an unusable ConfigMap takes the mesh configuration inside it down with it
            let mesh = key.as_ref().and_then(embedded::mesh_key);
            for key in std::iter::once(key.clone()).chain(mesh.map(Some)) {
                self.reject(file, key);
            }
        }
        key
    }

    fn accept(&mut self, key: Key, resource: Resource, chunk: Chunk) {
        self.parsed.places.insert(key, (resource.file, chunk));
        let mesh = embedded::mesh_config(&resource, &self.parsed.sources);
        self.parsed.set.insert(resource);
        let Some((mesh, found)) = mesh else { return };
        let bad = found.iter().any(|d| d.level == Level::Error);
        let (key, file) = (mesh.key(), mesh.file);
        self.parsed
            .diagnostics
            .extend(found.into_iter().map(|d| d.on(&key)));
        if bad {
            self.reject(file, Some(key));
        } else {
            self.parsed.places.insert(key, (file, chunk));
            self.parsed.set.insert(mesh);
        }
    }

    fn check_duplicate(&self, key: &Key, at: Span, diagnostics: &mut Vec<Diagnostic>) {
        let Some(first) = self.parsed.set.get(key) else {
            return;
        };
        let message = format!("{key} is defined twice");
        let diagnostic = Diagnostic::new(codes::SP0005, message)
            .at(at)
            .on(key)
            .path("metadata.name");
        diagnostics.push(diagnostic.label(
            first.span_at("metadata.name"),
            "first defined here; this one counts",
        ));
    }

    /// The typed object, if it can be named; errors inside it do not keep it from being named.
    fn decode(
        &mut self,
        kind: Kind,
        order: u64,
        node: &Arc<Node>,
        file: FileId,
        out: &mut Vec<Diagnostic>,
    ) -> Option<Resource> {
        let meta = self.meta(kind, order, node, out)?;
        let (root, inner, unknown) = if kind.is_istio() {
            unknown_top_level(node, out);
            ("spec", node.get("spec"), Unknown::Refuse)
        } else {
            ("", Some(&**node), Unknown::Ignore)
        };
        let mut cx = Cx::new(root, unknown).quiet(kind == Kind::Secret);
        let spec = Spec::decode(kind, inner, &mut cx);
        out.extend(cx.finish());
        let spec = spec.unwrap_or_else(|| Spec::empty(kind));
        Some(Resource::new(meta, spec, Arc::clone(node), file))
    }

    fn meta(
        &mut self,
        kind: Kind,
        order: u64,
        node: &Node,
        out: &mut Vec<Diagnostic>,
    ) -> Option<Meta> {
        let mut cx = Cx::new("metadata", Unknown::Ignore);
        let read = match node.get("metadata") {
            Some(meta) if !meta.is_null() => {
                ObjectMeta::from_node(meta, &mut cx).unwrap_or_default()
            }
            _ => ObjectMeta::default(),
        };
        out.extend(cx.finish());
        let mut name = read.name;
        if name.is_empty() && kind == Kind::IstioOperator {
            // a file format more than an object: `istioctl install -f` takes it without a name
            self.unnamed += 1;
            name = format!("unnamed-{}", self.unnamed);
        }
        if name.is_empty() {
            let help = "every object is known by kind, namespace and name".to_owned();
            let at = node
                .entry("metadata")
                .or_else(|| node.entry("kind"))
                .map_or(node.span, |e| e.key_span);
            out.push(
                Diagnostic::new(codes::SP0007, format!("this {kind} has no metadata.name"))
                    .at(at)
                    .help(help),
            );
            return None;
        }
        let namespace = if kind.is_cluster_scoped() || read.namespace.is_empty() {
            "default"
        } else {
            &read.namespace
        };
        Some(Meta {
            name: name.into(),
            namespace: namespace.into(),
            labels: read.labels,
            annotations: read.annotations,
            creation: creation(node, &read.creation_timestamp, out),
            order,
        })
    }
}

/// Items of `kind: List` and of typed lists, or the object itself. A list of lists is unpacked as
/// deep as the text nests, which the reader bounds.
fn flatten(node: Node) -> Vec<Node> {
    if node.is_null() {
        return Vec::new();
    }
    let is_list = node
        .get("kind")
        .and_then(Node::scalar)
        .is_some_and(|k| k.ends_with("List"))
        && node
            .get("items")
            .is_some_and(|i| matches!(i.value, Value::Seq(_)));
    match node.value {
        Value::Map(entries) if is_list => {
            let items = entries
                .into_iter()
                .find(|e| &*e.key == "items")
                .map(|e| e.value.value);
            match items {
                Some(Value::Seq(items)) => items.into_iter().flat_map(flatten).collect(),
                _ => Vec::new(),
            }
        }
        value => vec![Node { value, ..node }],
    }
}

/// Findings of a document that lie inside one of its objects.
fn inside(found: &[Diagnostic], span: Span) -> Vec<Diagnostic> {
    let within = |d: &&Diagnostic| {
        d.span
            .is_none_or(|s| s.start >= span.start && s.start <= span.end)
    };
    found.iter().filter(within).cloned().collect()
}

fn name_span(node: &Node) -> Span {
    node.get("metadata")
        .and_then(|m| m.get("name"))
        .map_or(node.span, |n| n.span)
}

/// Fields beside `spec` that every Istio object may have.
const TOP_LEVEL: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

fn unknown_top_level(node: &Node, out: &mut Vec<Diagnostic>) {
    for entry in node
        .entries()
        .iter()
        .filter(|e| !TOP_LEVEL.contains(&&*e.key))
    {
        let mut diagnostic =
            Diagnostic::new(codes::SP0002, format!("unknown field `{}`", entry.key))
                .at(entry.key_span);
        diagnostic.path = entry.key.to_string();
        diagnostic.help = nearest(&entry.key, TOP_LEVEL.into_iter())
            .map(|n| format!("did you mean `{n}`?"))
            .or_else(|| Some("fields of the object belong under `spec`".to_owned()));
        out.push(diagnostic);
    }
}

/// Seconds since 1970 of an RFC 3339 timestamp.
fn creation(node: &Node, text: &str, out: &mut Vec<Diagnostic>) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    let seconds = rfc3339(text);
    if seconds.is_none() {
        let at = node
            .get("metadata")
            .and_then(|m| m.get("creationTimestamp"))
            .map_or(node.span, |n| n.span);
        let message = format!("`{text}` is not a timestamp like 2025-01-31T12:00:00Z");
        out.push(
            Diagnostic::new(codes::SP0003, message)
                .at(at)
                .path("metadata.creationTimestamp"),
        );
    }
    seconds
}

/// Parses `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`, dropping the fraction (RFC 3339 §5.6).
fn rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            digits.parse().ok()
        } else {
            None
        }
    };
    let mark =
        |at: usize, allowed: &[u8]| text.as_bytes().get(at).is_some_and(|b| allowed.contains(b));
    if !(mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !((1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60)
    {
        return None;
    }
    let zone = text.get(19..)?;
    let zone = zone
        .strip_prefix('.')
        .map_or(zone, |z| z.trim_start_matches(|c: char| c.is_ascii_digit()));
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), rest) => {
            let (h, m) = rest.split_once(':')?;
            let minutes = h.parse::<i64>().ok()? * 60 + m.parse::<i64>().ok()?;
            if sign == "+" {
                minutes * 60
            } else {
                -minutes * 60
            }
        }
        _ => return None,
    };
    // days since 1970 of the proleptic Gregorian calendar, years beginning in March
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
            - 1
            - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

#[cfg(test)]
mod tests;

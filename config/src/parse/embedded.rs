//! The mesh configuration inside the ConfigMap `istio`: YAML in a YAML string, whose places are
//! mapped back to the outer file so that a diagnostic still points at the line.

use std::sync::Arc;

use crate::diag::Diagnostic;
use crate::message::{Cx, Unknown};
use crate::resource::{Key, Kind, Meta, Resource, Spec};
use crate::source::{SourceMap, Span};
use crate::yaml::read::read;
use crate::yaml::{Node, Value};

/// Name of the ConfigMap, and its key.
const CONFIG_MAP: (&str, &str) = ("istio", "mesh");

/// Name of the MeshConfig that a ConfigMap of this name holds.
pub(crate) fn mesh_key(config_map: &Key) -> Option<Key> {
    let holds = config_map.kind == Kind::ConfigMap && &*config_map.name == CONFIG_MAP.0;
    holds.then(|| Key {
        kind: Kind::MeshConfig,
        ..config_map.clone()
    })
}

/// The MeshConfig of a ConfigMap with what is wrong with it; none for other objects.
pub(crate) fn mesh_config(
    resource: &Resource,
    sources: &SourceMap,
) -> Option<(Resource, Vec<Diagnostic>)> {
    if resource.spec.kind() != Kind::ConfigMap || &*resource.meta.name != CONFIG_MAP.0 {
        return None;
    }
    let outer = resource.node.get("data")?.get(CONFIG_MAP.1)?;
    let text = outer.scalar()?;
    let lines = Lines::of(outer, text, sources);
    let documents = read(resource.file, text);
    let mut found = documents.broken;
    let mut node = Node {
        value: Value::Null,
        span: Span {
            file: resource.file,
            line: 1,
            column: 1,
            ..Span::default()
        },
    };
    if let Some(document) = documents.list.into_iter().next() {
        found.extend(document.found);
        node = document.node;
    }
    lines.map_node(&mut node);
    for diagnostic in &mut found {
        diagnostic.span = diagnostic.span.map(|s| lines.map(s));
        for (span, _) in &mut diagnostic.labels {
            *span = lines.map(*span);
        }
    }
    let node = Arc::new(node);
    let mut cx = Cx::new("mesh", Unknown::Warn);
    let spec = Spec::decode(Kind::MeshConfig, Some(&node), &mut cx);
    found.extend(cx.finish());
    let spec =
        spec.or_else(|| Spec::decode(Kind::MeshConfig, None, &mut Cx::new("", Unknown::Warn)))?;
    let meta = Meta {
        labels: crate::api::Map::default(),
        annotations: crate::api::Map::default(),
        ..resource.meta.clone()
    };
    Some((
        Resource::new(meta, spec, Arc::clone(&node), resource.file),
        found,
    ))
}

/// Where each line of the embedded text begins, inside and outside.
struct Lines {
    outer: Span,
    /// Per line: first byte inside, first byte outside, width of the indentation that YAML
    /// removed, and line outside. Empty when the text is not a literal block.
    starts: Vec<(u32, u32, u32, u32)>,
}

impl Lines {
    fn of(outer: &Node, text: &str, sources: &SourceMap) -> Self {
        let starts = Self::literal(outer, text, sources).unwrap_or_default();
        Self {
            outer: outer.span,
            starts,
        }
    }

    /// Pairs the lines of a literal block (`|`) with those of the file. None when they do not
    /// agree, as in folded blocks and quoted strings.
    fn literal(outer: &Node, text: &str, sources: &SourceMap) -> Option<Vec<(u32, u32, u32, u32)>> {
        let file = &sources.get(outer.span.file)?.text;
        let from = usize::try_from(outer.span.start).ok()?;
        // the reader places a block at its first line, after the indentation
        let mut at = file.get(..from)?.rfind('\n')? + 1;
        let mut inside = 0;
        let mut starts = Vec::new();
        for (line, content) in (outer.span.line..).zip(text.split_inclusive('\n')) {
            let raw = file.get(at..)?.split_inclusive('\n').next()?;
            let wanted = content.trim_end_matches(['\n', '\r']);
            let kept = raw.trim_end_matches(['\n', '\r']);
            let indent = if wanted.trim().is_empty() {
                ""
            } else {
                kept.strip_suffix(wanted)?
            };
            if !indent.bytes().all(|b| b == b' ') {
                return None;
            }
            let number = |n: usize| u32::try_from(n).ok();
            starts.push((number(inside)?, number(at)?, number(indent.len())?, line));
            inside += content.len();
            at += raw.len();
        }
        Some(starts)
    }

    fn map(&self, span: Span) -> Span {
        let index = usize::try_from(span.line)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let Some(&(inside, outside, indent, line)) = self.starts.get(index) else {
            return self.outer;
        };
        let shift = |at: u32| at.saturating_sub(inside) + outside + indent;
        let start = shift(span.start);
        // the end may be lines below, where the distance is larger
        let last = self
            .starts
            .iter()
            .take_while(|s| s.0 < span.end.max(1))
            .last();
        let end = last.map_or(start, |&(i, o, n, _)| span.end.saturating_sub(i) + o + n);
        Span {
            file: self.outer.file,
            start,
            end: end.max(start),
            line,
            column: span.column + indent,
        }
    }

    fn map_node(&self, node: &mut Node) {
        node.span = self.map(node.span);
        match &mut node.value {
            Value::Seq(items) => items.iter_mut().for_each(|n| self.map_node(n)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.key_span = self.map(entry.key_span);
                    self.map_node(&mut entry.value);
                }
            }
            Value::Null | Value::Scalar { .. } => {}
        }
    }
}

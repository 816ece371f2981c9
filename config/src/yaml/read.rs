//! The reader: parser events to trees, with a bound on everything a hostile file could grow.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as RawSpan};

use super::split::{Chunk, split};
use super::{Entry, Node, Value};
use crate::diag::{Code, Diagnostic, codes};
use crate::source::{FileId, Span};

/// Largest file in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 256 << 20;
/// Deepest nesting, aliases included; bounds every recursion over a tree.
pub(crate) const MAX_DEPTH: usize = 128;
/// Most nodes of a file, copies made by anchors and aliases included.
pub(crate) const MAX_NODES: usize = 4_000_000;
/// Most aliases of a file.
pub(crate) const MAX_ALIASES: usize = 100_000;

/// One document.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its tree; null for an empty document.
    pub(crate) node: Node,
    /// Where its text is.
    pub(crate) chunk: Chunk,
    /// What is wrong inside it: duplicate keys. The tree is usable for naming the object only.
    pub(crate) found: Vec<Diagnostic>,
    /// What it took of the file's bound.
    pub(crate) nodes: usize,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// The readable documents.
    pub(crate) list: Vec<Document>,
    /// Syntax errors, one per unreadable document.
    pub(crate) broken: Vec<Diagnostic>,
}

/// Reads every document of a file.
pub(crate) fn read(file: FileId, text: &str) -> Documents {
    let mut out = Documents::default();
    let mut reader = match Reader::open(file, text) {
        Ok(reader) => reader,
        Err(diagnostic) => {
            out.broken.push(*diagnostic);
            return out;
        }
    };
    for chunk in split(text) {
        match reader.document(text, chunk) {
            Ok(document) => out.list.extend(document),
            Err(diagnostic) => out.broken.push(*diagnostic),
        }
    }
    out
}

/// Reads the documents of one file, which share its bounds.
pub(crate) struct Reader {
    file: FileId,
    budget: Budget,
}

impl Reader {
    /// Begins a file, unless it is too large.
    pub(crate) fn open(file: FileId, text: &str) -> Result<Self, Failure> {
        if text.len() > MAX_FILE_BYTES {
            let at = Span {
                file,
                line: 1,
                column: 1,
                ..Span::default()
            };
            let message = format!("the file is larger than {} MiB", MAX_FILE_BYTES >> 20);
            return Err(Builder::fail(codes::SP0008, message, at));
        }
        let budget = Budget {
            nodes: MAX_NODES,
            aliases: MAX_ALIASES,
        };
        Ok(Self { file, budget })
    }

    /// Reads one document; none where there is only blank.
    pub(crate) fn document(
        &mut self,
        text: &str,
        chunk: Chunk,
    ) -> Result<Option<Document>, Failure> {
        let part = text.get(chunk.start..chunk.end).unwrap_or_default();
        let before = self.budget.nodes;
        let mut builder = Builder::new(Places::new(self.file, chunk), part, &mut self.budget);
        builder.run()?;
        let (root, found) = (builder.root.take(), std::mem::take(&mut builder.found));
        let nodes = before - self.budget.nodes;
        Ok(root.map(|node| Document {
            node,
            chunk,
            found,
            nodes,
        }))
    }

    /// Counts a document that need not be read; `false` if there is no room for it.
    pub(crate) fn skip(&mut self, nodes: usize) -> bool {
        let left = self.budget.nodes.checked_sub(nodes);
        self.budget.nodes = left.unwrap_or(self.budget.nodes);
        left.is_some()
    }
}

/// What is left of a file's bounds.
struct Budget {
    nodes: usize,
    aliases: usize,
}

/// Turns the parser's places, in one document, into ours, in the file.
struct Places {
    file: FileId,
    start: u32,
    line: u32,
}

impl Places {
    fn new(file: FileId, chunk: Chunk) -> Self {
        Self {
            file,
            start: u32::try_from(chunk.start).unwrap_or(u32::MAX),
            line: chunk.line,
        }
    }

    fn byte(&self, marker: &Marker) -> u32 {
        let within = marker.byte_offset().unwrap_or_else(|| marker.index());
        self.start
            .saturating_add(u32::try_from(within).unwrap_or(u32::MAX))
    }

    fn point(&self, marker: &Marker) -> Span {
        let start = self.byte(marker);
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX).max(1) - 1;
        let column = u32::try_from(marker.col()).unwrap_or(u32::MAX - 1) + 1;
        Span {
            file: self.file,
            start,
            end: start,
            line: self.line + line,
            column,
        }
    }

    fn span(&self, raw: &RawSpan) -> Span {
        let end = self.byte(&raw.end);
        let start = self.point(&raw.start);
        Span {
            end: end.max(start.start),
            ..start
        }
    }
}

/// A collection under construction.
enum Frame {
    Seq {
        items: Vec<Node>,
    },
    Map {
        entries: Vec<Entry>,
        key: Option<(Box<str>, Span)>,
    },
}

struct Open {
    frame: Frame,
    span: Span,
    anchor: usize,
    /// Nodes inside, and levels below; both are the price of copying it.
    size: usize,
    height: usize,
}

/// A complete node with the price of copying it.
#[derive(Clone)]
struct Done {
    node: Node,
    size: usize,
    height: usize,
}

struct Builder<'b> {
    places: Places,
    part: &'b str,
    budget: &'b mut Budget,
    stack: Vec<Open>,
    anchors: HashMap<usize, Done>,
    root: Option<Node>,
    found: Vec<Diagnostic>,
}

/// Why a document, or a file, cannot be read.
pub(crate) type Failure = Box<Diagnostic>;

impl<'b> Builder<'b> {
    fn new(places: Places, part: &'b str, budget: &'b mut Budget) -> Self {
        Self {
            places,
            part,
            budget,
            stack: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            found: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), Failure> {
        let mut parser = Parser::new_from_str(self.part);
        while let Some(event) = parser.next_event() {
            let (event, raw) = event.map_err(|e| self.syntax(&e))?;
            let span = self.places.span(&raw);
            match event {
                Event::StreamEnd => break,
                Event::Scalar(text, style, anchor, tag) => {
                    let string =
                        tag.is_some_and(|t| t.is_yaml_core_schema() && t.suffix() == "str");
                    let plain = style == ScalarStyle::Plain && !string;
                    let value = match &*text {
                        "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
                        _ => Value::Scalar {
                            text: text.into(),
                            plain,
                        },
                    };
                    self.spend(1, span)?;
                    self.add(
                        Done {
                            node: Node { value, span },
                            size: 1,
                            height: 0,
                        },
                        anchor,
                    )?;
                }
                Event::SequenceStart(_, anchor, _) => {
                    self.open(Frame::Seq { items: Vec::new() }, span, anchor)?
                }
                Event::MappingStart(_, anchor, _) => {
                    self.open(
                        Frame::Map {
                            entries: Vec::new(),
                            key: None,
                        },
                        span,
                        anchor,
                    )?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
                Event::Alias(anchor) => self.alias(anchor, span)?,
                // stream and document boundaries; the rest is emitted on request only
                _ => {}
            }
        }
        Ok(())
    }

    fn syntax(&self, error: &ScanError) -> Failure {
        let message = format!("the document is not YAML: {}", error.info());
        Box::new(Diagnostic::new(codes::SP0001, message).at(self.places.point(error.marker())))
    }

    fn fail(code: Code, message: String, span: Span) -> Failure {
        Box::new(Diagnostic::new(code, message).at(span))
    }

    fn spend(&mut self, nodes: usize, span: Span) -> Result<(), Failure> {
        match self.budget.nodes.checked_sub(nodes) {
            Some(left) => {
                self.budget.nodes = left;
                Ok(())
            }
            None => Err(Self::fail(
                codes::SP0008,
                format!("the file has more than {MAX_NODES} values"),
                span,
            )),
        }
    }

    fn open(&mut self, frame: Frame, span: Span, anchor: usize) -> Result<(), Failure> {
        self.spend(1, span)?;
        self.check_depth(1, span)?;
        self.stack.push(Open {
            frame,
            span,
            anchor,
            size: 1,
            height: 0,
        });
        Ok(())
    }

    fn check_depth(&self, more: usize, span: Span) -> Result<(), Failure> {
        if self.stack.len() + more > MAX_DEPTH {
            return Err(Self::fail(
                codes::SP0008,
                format!("nested deeper than {MAX_DEPTH} levels"),
                span,
            ));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Failure> {
        let Some(left) = self.budget.aliases.checked_sub(1) else {
            return Err(Self::fail(
                codes::SP0008,
                format!("the file has more than {MAX_ALIASES} aliases"),
                span,
            ));
        };
        self.budget.aliases = left;
        let Some(done) = self.anchors.get(&anchor) else {
            return Err(Self::fail(
                codes::SP0001,
                "the alias stands inside its own anchor".to_owned(),
                span,
            ));
        };
        // price first, copy second: the copy is what a bomb is made of
        let (size, height) = (done.size, done.height);
        self.check_depth(height, span)?;
        self.spend(size, span)?;
        if let Some(done) = self.anchors.get(&anchor).cloned() {
            self.add(done, 0)?;
        }
        Ok(())
    }

    /// Puts a complete node where it belongs.
    fn add(&mut self, done: Done, anchor: usize) -> Result<(), Failure> {
        if anchor != 0 {
            self.spend(done.size, done.node.span)?;
            self.anchors.insert(anchor, done.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(done.node);
            return Ok(());
        };
        open.size += done.size;
        open.height = open.height.max(done.height + 1);
        let span = done.node.span;
        match &mut open.frame {
            Frame::Seq { items } => items.push(done.node),
            Frame::Map { entries, key } => match key.take() {
                Some((key, key_span)) => entries.push(Entry {
                    key,
                    key_span,
                    value: done.node,
                }),
                None => match done.node.value {
                    Value::Scalar { text, .. } => *key = Some((text, span)),
                    Value::Null => *key = Some(("null".into(), span)),
                    _ => {
                        return Err(Self::fail(
                            codes::SP0001,
                            "a key must be a single word".to_owned(),
                            span,
                        ));
                    }
                },
            },
        }
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Failure> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        // block collections end where the next token starts; their last child says it better
        let flow = end.end > end.start;
        let (value, last) = match open.frame {
            Frame::Seq { items } => {
                let last = items.last().map(|n| n.span);
                (Value::Seq(items), last)
            }
            Frame::Map { entries, .. } => {
                let last = entries.last().map(|e| e.key_span.to(e.value.span));
                let value = match self.colon_scalar(&entries) {
                    Some(scalar) => scalar,
                    None => Value::Map(self.merged(entries)),
                };
                (value, last)
            }
        };
        let span = match last {
            Some(last) if !flow => open.span.to(last),
            _ if flow => open.span.to(end),
            _ => open.span,
        };
        let node = Node { value, span };
        self.add(
            Done {
                node,
                size: open.size,
                height: open.height,
            },
            open.anchor,
        )
    }

    /// In `[2001:db8::, x]` YAML 1.2 sees a pair with an empty value. Kubernetes' reader, like all
    /// that descend from libyaml, sees an address: a colon ends a word only before a blank.
    fn colon_scalar(&self, entries: &[Entry]) -> Option<Value> {
        let [entry] = entries else { return None };
        let within = |at: u32| usize::try_from(at.checked_sub(self.places.start)?).ok();
        let from_key = self.part.get(within(entry.key_span.start)?..)?;
        let after = self
            .part
            .get(within(entry.key_span.end)?..)?
            .strip_prefix(':')?;
        let implicit = after.starts_with([',', ']'])
            && !from_key.starts_with(['"', '\''])
            && entry.value.is_null();
        implicit.then(|| Value::Scalar {
            text: format!("{}:", entry.key).into(),
            plain: true,
        })
    }

    /// Reports duplicate keys and applies merge keys (`<<`), whose entries yield to explicit ones.
    fn merged(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        self.drop_duplicates(&mut entries);
        let Some(at) = entries.iter().position(|e| &*e.key == "<<") else {
            return entries;
        };
        let merge = entries.remove(at);
        let sources = match merge.value.value {
            Value::Map(inner) => vec![inner],
            Value::Seq(items) => items
                .into_iter()
                .map(|n| {
                    if let Value::Map(m) = n.value {
                        m
                    } else {
                        Vec::new()
                    }
                })
                .collect(),
            _ => {
                let message = "`<<` takes a mapping or a list of mappings";
                self.found
                    .push(Diagnostic::new(codes::SP0003, message).at(merge.value.span));
                Vec::new()
            }
        };
        let mut known: std::collections::HashSet<Box<str>> =
            entries.iter().map(|e| e.key.clone()).collect();
        for entry in sources.into_iter().flatten() {
            if known.insert(entry.key.clone()) {
                entries.push(entry);
            }
        }
        entries
    }

    fn drop_duplicates(&mut self, entries: &mut Vec<Entry>) {
        let mut first: HashMap<&str, Span> = HashMap::new();
        let mut twice = Vec::new();
        if entries.len() <= FEW && !has_duplicates(entries) {
            return;
        }
        for (i, entry) in entries.iter().enumerate() {
            if let Some(before) = first.get(&*entry.key) {
                let message = format!("key `{}` is given twice", entry.key);
                let diagnostic = Diagnostic::new(codes::SP0006, message).at(entry.key_span);
                self.found
                    .push(diagnostic.label(*before, "first given here"));
                twice.push(i);
            } else {
                first.insert(&entry.key, entry.key_span);
            }
        }
        let mut twice = twice.into_iter().peekable();
        let mut index = 0..;
        entries.retain(|_| twice.next_if_eq(&index.next().unwrap_or(0)).is_none());
    }
}

/// Mappings up to this size are compared pair by pair, which is faster than hashing.
const FEW: usize = 16;

fn has_duplicates(entries: &[Entry]) -> bool {
    entries
        .iter()
        .enumerate()
        .any(|(i, e)| entries.iter().take(i).any(|f| f.key == e.key))
}

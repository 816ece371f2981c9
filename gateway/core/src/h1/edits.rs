//! What the gateway changes in a head: removals as a set of positions, additions as ready lines.
//!
//! Nothing is rebuilt: [`crate::h1::encode_request`] copies the untouched lines of the received
//! head in runs and appends the additions. [`HeaderView`] shows rules and logs the outcome.

use crate::call::HeaderLines;
use crate::h1::field::{Field, FieldSet, HeaderIndex};
use crate::h1::known::KnownHeader;
use crate::h1::scan;
use crate::plan::EditSink;

/// Edits of one head; reused between heads.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// Fields that rules no longer see and that are not forwarded.
    removed: FieldSet,
    /// Fields that are not forwarded.
    dropped: FieldSet,
    /// The added lines, `name: value CRLF` each.
    lines: Vec<u8>,
    added: Vec<Added>,
}

#[derive(Clone, Copy, Debug)]
struct Added {
    start: usize,
    name_len: usize,
    end: usize,
    live: bool,
}

impl Added {
    fn name(self, lines: &[u8]) -> &[u8] {
        lines
            .get(self.start..self.start + self.name_len)
            .unwrap_or_default()
    }

    fn value(self, lines: &[u8]) -> &[u8] {
        lines
            .get(self.start + self.name_len + 2..self.end - 2)
            .unwrap_or_default()
    }

    fn line(self, lines: &[u8]) -> &[u8] {
        lines.get(self.start..self.end).unwrap_or_default()
    }
}

impl HeaderEdits {
    /// No edits.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            removed: FieldSet::NONE,
            dropped: FieldSet::NONE,
            lines: Vec::new(),
            added: Vec::new(),
        }
    }

    /// Starts over for a head whose `drop` set came from the parser: fields nominated by
    /// `Connection` vanish for rules too, as if they had never been sent; the per-hop ones stay
    /// visible (a rule may ask for `upgrade`) but are not forwarded.
    pub fn begin(&mut self, drop: FieldSet, index: &HeaderIndex) {
        self.dropped = drop;
        self.removed = drop.without(index.per_hop());
        self.lines.clear();
        self.added.clear();
    }

    /// Removes the field at `position`.
    pub const fn remove_at(&mut self, position: usize) {
        self.removed.insert(position);
        self.dropped.insert(position);
    }

    /// Removes every field of a known name, added ones too. [`KnownHeader::XEnvoy`] removes all
    /// names it stands for.
    pub fn remove_known(&mut self, index: &HeaderIndex, known: KnownHeader) {
        for (position, _) in index.all(known) {
            self.remove_at(position);
        }
        if known == KnownHeader::XEnvoy {
            self.remove_added(|name| KnownHeader::of(name) == Some(known));
        } else {
            self.remove_added(|name| name == known.name());
        }
    }

    /// Removes every field named `name` (lower case), added ones too.
    pub fn remove(&mut self, buf: &[u8], index: &HeaderIndex, name: &[u8]) {
        for (position, _) in index.named(buf, name) {
            self.remove_at(position);
        }
        self.remove_added(|added| added == name);
    }

    /// Removes every field named `name` (lower case), and every alias with `_` for `-` that an
    /// origin may take for it.
    pub fn remove_like(&mut self, buf: &[u8], index: &HeaderIndex, name: &[u8]) {
        let dash = |byte: &u8| match byte {
            b'_' => b'-',
            other => other.to_ascii_lowercase(),
        };
        let like = |other: &[u8]| other.iter().map(dash).eq(name.iter().map(dash));
        for (position, field) in index.fields().iter().enumerate() {
            if like(field.name.of(buf)) {
                self.remove_at(position);
            }
        }
        self.remove_added(like);
    }

    fn remove_added(&mut self, matches: impl Fn(&[u8]) -> bool) {
        for added in &mut self.added {
            if matches(added.name(&self.lines)) {
                added.live = false;
            }
        }
    }

    /// Adds a field line behind all others. The name is lower-cased. A name that is not a token or
    /// that belongs to the hop (framing, `connection`, `host`), or a value with control characters,
    /// is not added (`false`): nothing that a rule computes may ever end a line or a message.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> bool {
        if !scan::is_token_text(name) {
            return false;
        }
        let start = self.lines.len();
        self.lines.extend(name.iter().map(u8::to_ascii_lowercase));
        let lower = self.lines.get(start..).and_then(KnownHeader::of);
        if lower.is_some_and(KnownHeader::is_per_hop) {
            self.lines.truncate(start);
            return false;
        }
        self.finish_line(start, name.len(), &[value])
    }

    /// Adds a field with a known name that does not belong to the hop, its value in parts.
    /// Control characters are refused as in [`HeaderEdits::add`].
    pub fn add_known(&mut self, known: KnownHeader, parts: &[&[u8]]) -> bool {
        if known.is_per_hop() || known == KnownHeader::XEnvoy {
            return false;
        }
        let start = self.lines.len();
        self.lines.extend_from_slice(known.name());
        self.finish_line(start, known.name().len(), parts)
    }

    /// Completes the line whose name stands at `start`, or takes the name away again.
    fn finish_line(&mut self, start: usize, name_len: usize, parts: &[&[u8]]) -> bool {
        self.lines.extend_from_slice(b": ");
        for part in parts {
            if scan::text(part) != part.len() {
                self.lines.truncate(start);
                return false;
            }
            self.lines.extend_from_slice(part);
        }
        self.lines.extend_from_slice(b"\r\n");
        let end = self.lines.len();
        self.added.push(Added {
            start,
            name_len,
            end,
            live: true,
        });
        true
    }

    /// Replaces every field named `name` (lower case) by one.
    pub fn set(&mut self, buf: &[u8], index: &HeaderIndex, name: &[u8], value: &[u8]) -> bool {
        self.remove(buf, index, name);
        self.add(name, value)
    }

    /// Replaces every field of a known name by one.
    pub fn set_known(&mut self, index: &HeaderIndex, known: KnownHeader, value: &[u8]) -> bool {
        self.remove_known(index, known);
        self.add_known(known, &[value])
    }

    /// Whether the field at `position` is forwarded as it is.
    pub(super) const fn keeps(&self, position: usize) -> bool {
        !self.dropped.contains(position)
    }

    /// Name and value of the fields that were added and not removed again.
    pub(super) fn added(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let live = self.added.iter().filter(|added| added.live);
        live.map(|added| (added.name(&self.lines), added.value(&self.lines)))
    }

    /// Appends the lines that were added and not removed again.
    pub(super) fn write_added(&self, out: &mut Vec<u8>) {
        if self.added.iter().all(|added| added.live) {
            out.extend_from_slice(&self.lines);
            return;
        }
        for added in self.added.iter().filter(|added| added.live) {
            out.extend_from_slice(added.line(&self.lines));
        }
    }

    /// Bytes that the additions need at most.
    pub(super) const fn added_bytes(&self) -> usize {
        self.lines.len()
    }
}

/// Lets rules edit a head by name.
#[derive(Debug)]
pub struct HeaderEditor<'a> {
    /// The buffer that holds the head.
    pub buf: &'a [u8],
    /// Its index.
    pub index: &'a HeaderIndex,
    /// Where the edits go.
    pub edits: &'a mut HeaderEdits,
}

impl EditSink for HeaderEditor<'_> {
    fn remove(&mut self, name: &str) {
        self.edits.remove(self.buf, self.index, name.as_bytes());
    }

    fn remove_like(&mut self, name: &str) {
        self.edits
            .remove_like(self.buf, self.index, name.as_bytes());
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.edits.set(self.buf, self.index, name.as_bytes(), value);
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.edits.add(name.as_bytes(), value);
    }
}

/// A head as it will be after its edits: what rules match and logs print.
#[derive(Clone, Copy, Debug)]
pub struct HeaderView<'a> {
    /// The buffer that holds the head.
    pub buf: &'a [u8],
    /// Its index.
    pub index: &'a HeaderIndex,
    /// Its edits so far.
    pub edits: &'a HeaderEdits,
}

impl<'a> HeaderView<'a> {
    /// The value of the first field named `name` (lower case).
    #[must_use]
    pub fn value(self, name: &[u8]) -> Option<&'a [u8]> {
        match KnownHeader::of(name) {
            Some(known) if known != KnownHeader::XEnvoy => self.known(known),
            _ => self.values(name).next(),
        }
    }

    /// The values of every field named `name` (lower case), in order.
    pub fn values<'n>(self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let sent = self
            .index
            .named(self.buf, name)
            .filter(move |(at, _)| self.sees(*at));
        let added = self.added().filter(move |(added, _)| *added == name);
        sent.map(move |(_, field)| field.value.of(self.buf))
            .chain(added.map(|(_, value)| value))
    }

    /// The value of the first field of a known name.
    #[must_use]
    pub fn known(self, known: KnownHeader) -> Option<&'a [u8]> {
        let mut sent = self.index.all(known).filter(move |(at, _)| self.sees(*at));
        let sent = sent.next().map(|(_, field)| field.value.of(self.buf));
        let added = || self.added().find(|(name, _)| *name == known.name());
        sent.or_else(|| added().map(|(_, value)| value))
    }

    /// Name and value of every field.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let sent = self
            .index
            .fields()
            .iter()
            .enumerate()
            .filter(move |(at, _)| self.sees(*at));
        let pair = move |field: &Field| (field.name.of(self.buf), field.value.of(self.buf));
        sent.map(move |(_, field)| pair(field)).chain(self.added())
    }

    /// Name and value of every field that goes to the next hop: what a wire that does not copy
    /// lines writes.
    pub fn forwarded(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let fields = self.index.fields().iter().enumerate();
        let kept = fields.filter(move |(at, _)| self.edits.keeps(*at));
        kept.map(move |(_, field)| (field.name.of(self.buf), field.value.of(self.buf)))
            .chain(self.added())
    }

    fn sees(self, position: usize) -> bool {
        !self.edits.removed.contains(position)
    }

    fn added(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let lines = &self.edits.lines;
        let live = self.edits.added.iter().filter(|added| added.live);
        live.map(move |added| (added.name(lines), added.value(lines)))
    }
}

impl HeaderLines for HeaderView<'_> {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.values(name.as_bytes()).any(visit)
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        self.value(name.as_bytes())
    }
}

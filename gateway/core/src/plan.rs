//! What to send, where, and how often: everything that the rules say about a forwarded request.

use crate::call::Call;
use crate::cors::CorsFields;
use crate::rewrite::Path;
use crate::template::{Facts, Format};
use sallyport_config::ir::{
    ClusterId, ClusterRef, HeaderEdits, HeaderWrite, Millis, Piece, Retry, Route, Template,
};
use smallvec::SmallVec;

/// A forwarded request, as the rules want it. Borrowed from the tables, not from the call.
#[derive(Debug, Clone)]
pub struct Plan<'t> {
    /// The rule: name and origin for logs.
    pub route: &'t Route,
    /// Where to; a missing cluster is answered with 503 NC.
    pub cluster: &'t ClusterRef,
    /// Wait this long before connecting (injected; flag DI).
    pub delay: Option<Millis>,
    /// Path that the upstream sees.
    pub path: Path<'t>,
    /// Authority that the upstream sees; `None` leaves the client's.
    pub authority: Option<&'t str>,
    /// Edits of the request head, before `x-envoy-original-path` and `x-envoy-original-host`.
    pub request: Edits<'t>,
    /// Edits of the response head, also of a local reply after this point.
    pub response: Edits<'t>,
    /// CORS fields of the response, set after `response`.
    pub cors: Option<CorsFields<'t>>,
    /// Limit of the whole request with retries.
    pub timeout: Option<Millis>,
    /// Retry policy.
    pub retry: &'t Retry,
    /// Clusters that get a copy.
    pub mirrors: SmallVec<[ClusterId; 2]>,
}

impl Plan<'_> {
    /// Calls the sink with everything that changes the request's fields: the edits, then original
    /// authority and path of rewrites. Path, query and authority are the client's.
    pub fn edit_request(
        &self,
        call: &Call<'_>,
        facts: &dyn Facts,
        scratch: &mut Vec<u8>,
        sink: &mut dyn EditSink,
    ) {
        self.request.apply(facts, scratch, sink);
        if self.authority.is_some() {
            sink.set("x-envoy-original-host", call.authority.as_bytes());
        }
        if !self.path.is_kept() {
            scratch.clear();
            Path::Kept.write(call.path, call.query, scratch);
            sink.set("x-envoy-original-path", scratch);
        }
    }

    /// Calls the sink with everything that changes the response's fields.
    pub fn edit_response(&self, facts: &dyn Facts, scratch: &mut Vec<u8>, sink: &mut dyn EditSink) {
        self.response.apply(facts, scratch, sink);
        if let Some(cors) = &self.cors {
            cors.apply(sink);
        }
    }
}

/// Whatever holds the fields of a head that is being edited. Names are lower-case.
pub trait EditSink {
    /// Removes every line of this name.
    fn remove(&mut self, name: &str);
    /// Removes every line of this name, `_` counting as `-`.
    fn remove_like(&mut self, name: &str) {
        self.remove(name);
    }
    /// Replaces every line of this name by one.
    fn set(&mut self, name: &str, value: &[u8]);
    /// Adds a line.
    fn add(&mut self, name: &str, value: &[u8]);
}

/// Edits of one head: the destination's, then the route's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edits<'t> {
    levels: [&'t [Edit]; 2],
}

impl<'t> Edits<'t> {
    pub(crate) fn new(destination: &'t [Edit], route: &'t [Edit]) -> Self {
        Self {
            levels: [destination, route],
        }
    }

    /// Whether nothing is edited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(|level| level.is_empty())
    }

    /// The edits in order.
    pub fn iter(&self) -> impl Iterator<Item = &'t Edit> + use<'t> {
        let [destination, route] = self.levels;
        destination.iter().chain(route)
    }

    /// Renders each edit into the sink. `scratch` is cleared and reused, so that nothing is
    /// allocated. A value that comes out empty writes nothing, as with Envoy's
    /// `keep_empty_value: false`.
    pub fn apply(&self, facts: &dyn Facts, scratch: &mut Vec<u8>, sink: &mut dyn EditSink) {
        for edit in self.iter() {
            match edit {
                Edit::Remove(name) => sink.remove(name),
                Edit::Set(name, value) => {
                    value.with(facts, scratch, |value| sink.set(name, value));
                }
                Edit::Add(name, value) => {
                    value.with(facts, scratch, |value| sink.add(name, value));
                }
            }
        }
    }
}

/// One compiled edit. Names are lower-case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Remove every line.
    Remove(Box<str>),
    /// Replace every line by one.
    Set(Box<str>, Format),
    /// Add a line.
    Add(Box<str>, Format),
}

impl Edit {
    /// Compiles the request edits of one level. Values see the head without what this level
    /// removes, and with what the level `before` did to it.
    pub(crate) fn request(edits: &HeaderEdits, before: &HeaderEdits) -> Box<[Self]> {
        let seen = |name: &str| seen(name, edits, before);
        Self::compile(edits, |value| Format::new(&settle(value, &seen)))
    }

    /// Compiles the response edits of one level. Request fields in their values are the client's.
    pub(crate) fn response(edits: &HeaderEdits) -> Box<[Self]> {
        Self::compile(edits, Format::new)
    }

    /// In Envoy's order: remove, set, add.
    fn compile(edits: &HeaderEdits, format: impl Fn(&Template) -> Format) -> Box<[Self]> {
        let removes = edits.remove.iter();
        let removes = removes.map(|name| Self::Remove(name.as_str().into()));
        let (adds, sets): (Vec<_>, Vec<_>) = edits.write.iter().partition(|write| write.append);
        let writes = sets.into_iter().chain(adds).map(|write| {
            let (name, value) = (write.name.as_str().into(), format(&write.value));
            if write.append {
                Self::Add(name, value)
            } else {
                Self::Set(name, value)
            }
        });
        removes.chain(writes).collect()
    }
}

/// What a value sees of a request field.
enum Seen<'e> {
    /// The client's.
    Client,
    /// Nothing: removed.
    Gone,
    /// What an earlier level wrote.
    Written(&'e str),
}

/// What one level's writes leave of a field is only known here if they are literal; else a value
/// sees the client's field.
fn seen<'e>(name: &str, edits: &HeaderEdits, before: &'e HeaderEdits) -> Seen<'e> {
    let removed = |edits: &HeaderEdits| edits.remove.iter().any(|removed| removed == name);
    if removed(edits) {
        return Seen::Gone;
    }
    let literal = |write: &'e HeaderWrite| match write.value.0.as_slice() {
        [Piece::Literal(text)] if write.name == name && !text.is_empty() => Some(text.as_str()),
        _ => None,
    };
    let (adds, sets): (Vec<_>, Vec<_>) = before.write.iter().partition(|write| write.append);
    if let Some(text) = sets.into_iter().rev().find_map(literal) {
        return Seen::Written(text);
    }
    if !removed(before) {
        return Seen::Client;
    }
    adds.into_iter()
        .find_map(literal)
        .map_or(Seen::Gone, Seen::Written)
}

/// Replaces request operators whose value the rules themselves decide.
fn settle<'e>(template: &Template, seen: &dyn Fn(&str) -> Seen<'e>) -> Template {
    let pieces = template.0.iter().filter_map(|piece| match piece {
        Piece::Operator {
            name,
            argument: Some(argument),
            max_length,
        } if name == "REQ" => {
            let mut names = argument.split('?');
            let operator = |argument: String| Piece::Operator {
                name: name.clone(),
                argument: Some(argument),
                max_length: *max_length,
            };
            loop {
                let first = names.next()?;
                match seen(&first.to_ascii_lowercase()) {
                    Seen::Gone => {}
                    Seen::Written(text) => return Some(Piece::Literal(cut(text, *max_length))),
                    Seen::Client => {
                        let mut argument = first.to_owned();
                        let lower = |or: &&str| or.to_ascii_lowercase();
                        let or = names.find(|or| !matches!(seen(&lower(or)), Seen::Gone));
                        argument.extend(or.into_iter().flat_map(|or| ["?", or]));
                        return Some(operator(argument));
                    }
                }
            }
        }
        piece => Some(piece.clone()),
    });
    Template(pieces.collect())
}

fn cut(text: &str, max_length: Option<u32>) -> String {
    let max = max_length.and_then(|max| usize::try_from(max).ok());
    let end = text.floor_char_boundary(max.unwrap_or(usize::MAX));
    text.get(..end).unwrap_or_default().to_owned()
}

impl Format {
    /// Calls `write` with the rendered value, unless it is empty.
    fn with(&self, facts: &dyn Facts, scratch: &mut Vec<u8>, write: impl FnOnce(&[u8])) {
        let value = match self.literal() {
            Some(literal) => literal,
            None => {
                scratch.clear();
                self.render(facts, scratch);
                scratch
            }
        };
        if !value.is_empty() {
            write(value);
        }
    }
}

#[cfg(test)]
mod tests;

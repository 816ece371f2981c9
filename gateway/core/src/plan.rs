//! What to send, where, and how often: everything that the rules say about a forwarded request.

use crate::cors::CorsFields;
use crate::rewrite::Path;
use crate::template::{Facts, Format};
use sallyport_config::ir::{ClusterRef, HeaderEdits, Millis, Retry, Route};
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
    /// Edits of the request head, after `x-envoy-original-path` and `x-envoy-original-host`.
    pub request: Edits<'t>,
    /// Edits of the response head, also of a local reply after this point.
    pub response: Edits<'t>,
    /// CORS fields of the response, set after `response`.
    pub cors: Option<CorsFields<'t>>,
    /// Limit of the whole request with retries.
    pub timeout: Option<Millis>,
    /// Retry policy.
    pub retry: &'t Retry,
    /// Clusters that get a copy. A missing one is left out by whoever sends.
    pub mirrors: SmallVec<[&'t ClusterRef; 2]>,
}

impl Plan<'_> {
    /// Calls the sink with everything that changes the request's fields: original path and
    /// authority of rewrites, then the edits.
    pub fn edit_request(
        &self,
        path: &str,
        query: Option<&str>,
        authority: &str,
        facts: &dyn Facts,
        scratch: &mut Vec<u8>,
        sink: &mut dyn EditSink,
    ) {
        if !self.path.is_kept() {
            scratch.clear();
            scratch.extend_from_slice(path.as_bytes());
            if let Some(query) = query {
                scratch.push(b'?');
                scratch.extend_from_slice(query.as_bytes());
            }
            sink.set("x-envoy-original-path", scratch);
        }
        if self.authority.is_some_and(|new| new != authority) {
            sink.set("x-envoy-original-host", authority.as_bytes());
        }
        self.request.apply(facts, scratch, sink);
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
    /// allocated. A value that comes out empty though operators stood in it writes nothing, as
    /// Envoy's `keep_empty_value: false`.
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
    /// Compiles the edits of one level.
    pub(crate) fn compile(edits: &HeaderEdits) -> Box<[Self]> {
        let removes = edits
            .remove
            .iter()
            .map(|name| Self::Remove(name.as_str().into()));
        let writes = edits.write.iter().map(|write| {
            let (name, value) = (write.name.as_str().into(), Format::new(&write.value));
            if write.append {
                Self::Add(name, value)
            } else {
                Self::Set(name, value)
            }
        });
        removes.chain(writes).collect()
    }
}

impl Format {
    /// Calls `write` with the rendered value, unless operators made it empty.
    fn with(&self, facts: &dyn Facts, scratch: &mut Vec<u8>, write: impl FnOnce(&[u8])) {
        if let Some(literal) = self.literal() {
            return write(literal);
        }
        scratch.clear();
        self.render(facts, scratch);
        if !scratch.is_empty() {
            write(scratch);
        }
    }
}

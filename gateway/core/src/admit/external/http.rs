//! Asking over HTTP: a request like the client's, whose answer is the verdict.

use super::{
    Asked, Change, Changes, Cleared, Outcome, PARTIAL_FIELD, Question, denied, is_of_the_way,
};
use crate::admit::Denial;
use crate::h1::HeaderEdits;
use sallyport_config::ir::{CheckProtocol, HttpCheck, TextMatch};

/// Fields of an answer by which an authorizer has fields of the request taken out.
const REMOVE_FIELD: &str = "x-envoy-auth-headers-to-remove";
/// What a refused client always sees of the answer.
const ON_DENY: [&str; 3] = ["content-type", "location", "www-authenticate"];

/// A request to an authorizer. Its method and authority are the client's; its body is what is shown
/// of the client's, and has a length.
#[derive(Debug)]
pub struct HttpCall {
    /// Path and query.
    pub target: String,
    /// Fields.
    pub fields: HeaderEdits,
}

impl<'t> Question<'t> {
    /// The request to ask with; `None` when it is asked otherwise.
    #[must_use]
    pub fn http(self, asked: &Asked<'_>) -> Option<HttpCall> {
        let CheckProtocol::Http(check) = &self.authorizer.protocol else {
            return None;
        };
        let mut fields = HeaderEdits::new();
        for (name, value) in asked.fields {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            let added = check.add.iter().any(|(added, _)| *added == name);
            let shown = name == "authorization" || any(&check.include, &name);
            if shown && !added && !is_of_the_way(&name) {
                fields.add(name.as_bytes(), value);
            }
        }
        for (name, value) in &check.add {
            fields.add(name.as_bytes(), value.as_bytes());
        }
        if let Some(shown) = asked.body {
            let partial: &[u8] = if shown.partial { b"true" } else { b"false" };
            fields.add(PARTIAL_FIELD.as_bytes(), partial);
        }
        let call = &asked.call;
        let query = call.query.map(|q| format!("?{q}")).unwrap_or_default();
        Some(HttpCall {
            target: format!("{}{}{query}", check.path_prefix, call.path),
            fields,
        })
    }

    /// What an answer over HTTP means: 200 lets pass, 5xx is a failure, all else is what the client
    /// is told (Envoy's `ext_authz_http_impl.cc`).
    ///
    /// # Errors
    /// What the client is told.
    pub fn answered<'f>(
        self,
        status: u16,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        body: Vec<u8>,
    ) -> (Outcome, Result<Cleared, Denial<'t>>) {
        let CheckProtocol::Http(check) = &self.authorizer.protocol else {
            return self.failed();
        };
        let lower = |(name, value): (&[u8], &'f [u8])| {
            (String::from_utf8_lossy(name).to_ascii_lowercase(), value)
        };
        let fields = fields.map(lower).filter(|(name, _)| !is_of_the_way(name));
        match status {
            200 => (Outcome::Ok, Ok(check.cleared(fields.collect()))),
            500..=599 => self.failed(),
            _ => {
                let seen = |name: &str| {
                    check.on_deny.is_empty() || ON_DENY.contains(&name) || any(&check.on_deny, name)
                };
                let text = |(name, value): (String, &[u8])| {
                    Some((name, str::from_utf8(value).ok()?.to_owned()))
                };
                let fields = fields.filter(|(name, _)| seen(name)).filter_map(text);
                (Outcome::Denied, Err(denied(status, fields.collect(), body)))
            }
        }
    }
}

/// What an answer that lets pass changes.
trait Clears {
    fn cleared(&self, fields: Vec<(String, &[u8])>) -> Cleared;
}

impl Clears for HttpCheck {
    fn cleared(&self, fields: Vec<(String, &[u8])>) -> Cleared {
        let mut request = Vec::new();
        for (name, value) in &fields {
            if name == REMOVE_FIELD {
                let names = String::from_utf8_lossy(value).to_ascii_lowercase();
                let names = names
                    .split(',')
                    .map(str::trim)
                    .filter(|n| !is_of_the_way(n));
                request.extend(names.map(|name| Change::Remove(name.to_owned())));
            }
        }
        request.extend(chosen(&self.to_upstream, &fields));
        Cleared {
            request: Changes(request),
            response: Changes(chosen(&self.on_allow, &fields).collect()),
        }
    }
}

/// The fields that are wanted: the first line of a name replaces what was there, further ones
/// follow it.
fn chosen<'f>(
    wanted: &'f [TextMatch],
    fields: &'f [(String, &[u8])],
) -> impl Iterator<Item = Change> + use<'f> {
    let numbered = fields.iter().enumerate();
    let wanted = numbered.filter(|(_, (name, _))| name != REMOVE_FIELD && any(wanted, name));
    wanted.map(|(at, (name, value))| {
        let mut before = fields.iter().take(at);
        if before.any(|(other, _)| other == name) {
            Change::Add(name.clone(), value.to_vec())
        } else {
            Change::Set(name.clone(), value.to_vec())
        }
    })
}

fn any(patterns: &[TextMatch], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern {
        TextMatch::Exact(text) => text == name,
        TextMatch::Prefix(text) => name.starts_with(text.as_str()),
        TextMatch::Suffix(text) => name.ends_with(text.as_str()),
        TextMatch::Present => true,
    })
}

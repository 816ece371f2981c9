//! Tokens of requests: found, verified, turned into claims, and taken out.
//!
//! Istio's arrangement of Envoy's filter: no token is no reason to refuse, but every token that is
//! presented must be good. Tokens are strangers' bytes: sizes are bounded before anything is
//! decoded, and whatever is not exactly as RFC 7515 writes it is refused.

mod cache;
mod places;
mod token;

use super::edits::RequestEdits;
use super::jwks::{KeySet, Refusal};
use super::{Admitted, Context, Denial};
use crate::call::Call;
use crate::flags::Flags;
use crate::reply::Reply;
use crate::tables::Tables;
use places::Places;
use sallyport_config::ir::{JwtKeys, JwtRule, Policies, TokenPlace};
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use token::Token;

pub use cache::TokenCache;

/// Longest realm of `www-authenticate`, in bytes (Envoy's limit of a URI in it).
const REALM_MAX: usize = 256;

/// Rules for tokens, compiled.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    rules: Vec<Rule>,
    places: Places,
    /// Headers that only we may set.
    outputs: Vec<Box<str>>,
}

#[derive(Debug)]
struct Rule {
    rule: JwtRule,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Here(Arc<KeySet>),
    /// Fetched from a URL.
    At(Box<str>),
}

/// Why a token is refused; the texts are Envoy's, people search for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Missing,
    BadFormat,
    TooLarge,
    HeaderBase64,
    HeaderJson,
    BadAlgorithm,
    UnknownAlgorithm,
    BadKeyId,
    Critical,
    PayloadBase64,
    PayloadJson,
    BadIssuer,
    BadSubject,
    BadExpiry,
    BadNotBefore,
    BadAudience,
    SignatureBase64,
    UnknownIssuer,
    NotYetValid,
    Expired,
    WrongAudience,
    NoKeys,
    NoKey,
    Forged,
}

impl Refused {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "Jwt is missing",
            Self::BadFormat => {
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
            }
            Self::TooLarge => "Jwt is too large",
            Self::HeaderBase64 => "Jwt header is an invalid Base64url encoded",
            Self::HeaderJson => "Jwt header is an invalid JSON",
            Self::BadAlgorithm => "Jwt header [alg] field is required and must be a string",
            Self::UnknownAlgorithm => "Jwt header [alg] is not supported",
            Self::BadKeyId => "Jwt header [kid] field must be a string",
            Self::Critical => "Jwt header [crit] is not supported",
            Self::PayloadBase64 => "Jwt payload is an invalid Base64url encoded",
            Self::PayloadJson => "Jwt payload is an invalid JSON",
            Self::BadIssuer => "Jwt payload [iss] field must be a string",
            Self::BadSubject => "Jwt payload [sub] field must be a string",
            Self::BadExpiry => "Jwt payload [exp] field must be an integer or within valid range",
            Self::BadNotBefore => {
                "Jwt payload [nbf] field must be an integer or within valid range"
            }
            Self::BadAudience => "Jwt payload [aud] field must be a string or string list",
            Self::SignatureBase64 => "Jwt signature is an invalid Base64url encoded",
            Self::UnknownIssuer => "Jwt issuer is not configured",
            Self::NotYetValid => "Jwt not yet valid",
            Self::Expired => "Jwt is expired",
            Self::WrongAudience => "Audiences in Jwt are not allowed",
            Self::NoKeys => "Jwks remote fetch is failed",
            Self::NoKey => "Jwks doesn't have key to match kid or alg from Jwt",
            Self::Forged => "Jwt verification fails",
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoKey => Self::NoKey,
            Refusal::Forged => Self::Forged,
        }
    }
}

impl Tokens {
    pub(crate) fn new(policies: &Policies) -> Self {
        let compile = |rule: &JwtRule| Rule {
            keys: match &rule.keys {
                // a set that cannot be read has no keys: nothing verifies
                JwtKeys::Inline(text) => {
                    Keys::Here(Arc::new(KeySet::parse(text).unwrap_or_default()))
                }
                JwtKeys::Remote { uri, .. } => Keys::At(uri.as_str().into()),
                JwtKeys::Discovery { .. } => Keys::At(rule.issuer.as_str().into()),
            },
            rule: rule.clone(),
        };
        let outputs = policies.jwt.iter().flat_map(|rule| {
            let claims = rule.claim_headers.iter().map(|(name, _)| name);
            claims.chain(&rule.payload_header)
        });
        Self {
            rules: policies.jwt.iter().map(compile).collect(),
            places: Places::new(&policies.jwt),
            outputs: outputs.map(|name| name.as_str().into()).collect(),
        }
    }

    /// A query without the parameters in which tokens are looked for; `None` when it has none: a
    /// token is not for logs.
    pub(crate) fn redacted(&self, query: Option<&str>) -> Option<Option<String>> {
        self.places.redacted(query?)
    }

    /// Verifies every presented token. The first that is good says what is claimed.
    fn check(
        &self,
        call: &Call<'_>,
        context: &Context<'_>,
        admitted: &mut Admitted,
    ) -> Result<(), Refused> {
        let mut satisfied: Vec<usize> = Vec::new();
        for (place, rules, text) in self.places.presented(call)? {
            let token = match context.cache {
                Some(cache) => cache.recall(&text)?,
                None => Rc::new(Token::parse(&text)?),
            };
            let index = self.verify(rules, &token, context)?;
            let Some(Rule { rule, .. }) = self.rules.get(index) else {
                continue;
            };
            if satisfied.is_empty() {
                admitted.claims = token.claims(&rule.space_delimited);
            }
            satisfied.push(index);
            let edits = &mut admitted.edits;
            if !rule.forward {
                take(place, call, edits);
            }
            if let Some(name) = &rule.payload_header {
                edits.set(name, token.payload_text());
            }
            for (name, path) in &rule.claim_headers {
                if let Some(value) = token.header_value(path) {
                    edits.set(name, &value);
                }
            }
        }
        let mut rules = self.rules.iter().enumerate();
        let missing = rules.any(|(index, r)| r.rule.required && !satisfied.contains(&index));
        if missing {
            Err(Refused::Missing)
        } else {
            Ok(())
        }
    }

    /// The rule by which a token is good; else what the first that might have been found wrong.
    fn verify(
        &self,
        rules: &[usize],
        token: &Rc<Token>,
        context: &Context<'_>,
    ) -> Result<usize, Refused> {
        let mut refused = None;
        for index in rules {
            let Some(rule) = self.rules.get(*index) else {
                continue;
            };
            if Some(rule.rule.issuer.as_str()) != token.issuer() {
                continue;
            }
            match rule.verify(token, context) {
                Ok(()) => return Ok(*index),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        Err(refused.unwrap_or(Refused::UnknownIssuer))
    }
}

impl Rule {
    /// In Envoy's order: time, audience, keys, signature.
    fn verify(&self, token: &Rc<Token>, context: &Context<'_>) -> Result<(), Refused> {
        token.is_timely(context.unix_seconds)?;
        if !self.rule.audiences.is_empty() && !token.is_for(&self.rule.audiences) {
            return Err(Refused::WrongAudience);
        }
        let keys = match &self.keys {
            Keys::Here(keys) => keys,
            Keys::At(url) => {
                let fetched = context.keys.and_then(|store| store.get(url));
                fetched.ok_or(Refused::NoKeys)?
            }
        };
        if token.is_good_by(keys) {
            return Ok(());
        }
        let verified = token.verify(keys);
        // A new key may have no name, or the name of the old one: then it looks like a forgery.
        if let (Err(_), Keys::At(url), Some(misses)) = (verified, &self.keys, context.misses) {
            misses.note(url);
        }
        verified?;
        if let Some(cache) = context.cache {
            cache.keep(token);
        }
        Ok(())
    }
}

/// Takes a token out of the request. Cookies stay, as in Envoy.
fn take(place: &TokenPlace, call: &Call<'_>, edits: &mut RequestEdits) {
    match place {
        TokenPlace::Header { name, .. } => edits.remove(name),
        TokenPlace::Param(name) => {
            let kept = places::without(edits.query(call.query).unwrap_or_default(), &[name]);
            edits.set_query(kept);
        }
        TokenPlace::Cookie(_) => {}
    }
}

/// Verifies tokens, before routing, because routes may match on claims.
pub(super) fn tokens<'t>(
    tables: &'t Tables,
    call: &Call<'_>,
    context: &Context<'_>,
    admitted: &mut Admitted,
) -> Result<(), Denial<'t>> {
    let tokens = tables.tokens();
    if tokens.rules.is_empty() {
        return Ok(());
    }
    // whoever reads them trusts them: they are never a client's
    for name in &tokens.outputs {
        admitted.edits.remove(name);
    }
    if is_preflight(call) {
        return Ok(());
    }
    let checked = tokens.check(call, context, admitted);
    checked.map_err(|why| denied(call, why))
}

/// A browser's question carries no token, and Istio lets it pass to be answered by CORS.
fn is_preflight(call: &Call<'_>) -> bool {
    let has = |name| call.headers.any(name, &mut |line| !line.is_empty());
    call.method == "OPTIONS" && has("origin") && has("access-control-request-method")
}

fn denied<'t>(call: &Call<'_>, why: Refused) -> Denial<'t> {
    let text = why.text();
    let details = format!("jwt_authn_access_denied{{{}}}", text.replace(' ', "_"));
    let status = if why == Refused::WrongAudience {
        403
    } else {
        401
    };
    let mut reply = Reply {
        details: Cow::Owned(details),
        ..Reply::text(status, Flags::UAEX, "", text)
    };
    if status == 401 {
        let error = if why == Refused::Missing {
            ""
        } else {
            ", error=\"invalid_token\""
        };
        let uri = [call.scheme.as_str(), "://", call.authority, call.path].concat();
        let plain = uri.chars().filter(|c| !matches!(c, '"' | '\\'));
        let realm: String = plain
            .filter(char::is_ascii_graphic)
            .take(REALM_MAX)
            .collect();
        let challenge = format!("Bearer realm=\"{realm}\"{error}");
        reply
            .headers
            .push(("www-authenticate".into(), challenge.into()));
    }
    Box::new(reply)
}

#[cfg(test)]
mod tests;

//! Where tokens are looked for.

use super::Refused;
use crate::call::Call;
use sallyport_config::ir::{JwtRule, TokenPlace};

/// Tokens of one request that are looked at.
const TOKENS_MAX: usize = 8;

/// Every place, once, with the rules that look there.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<(TokenPlace, Vec<usize>)>);

/// A token, where it was found, and the rules that look there.
pub(super) type Presented<'p> = (&'p TokenPlace, &'p [usize], String);

impl Places {
    pub(super) fn new(rules: &[JwtRule]) -> Self {
        let mut places: Vec<(TokenPlace, Vec<usize>)> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for place in &rule.from {
                match places.iter_mut().find(|(known, _)| known == place) {
                    Some((_, looking)) => looking.push(index),
                    None => places.push((place.clone(), vec![index])),
                }
            }
        }
        Self(places)
    }

    /// Everything that a request presents as a token.
    pub(super) fn presented(&self, call: &Call<'_>) -> Result<Vec<Presented<'_>>, Refused> {
        let mut all = Vec::new();
        for (place, rules) in &self.0 {
            let tokens = match place {
                TokenPlace::Header { name, prefix } => in_header(call, name, prefix)?,
                TokenPlace::Param(name) => {
                    let pairs = pairs(call.query.unwrap_or_default());
                    let named = pairs.filter(|(key, _, _)| key == name);
                    named.map(|(_, value, _)| value.to_owned()).collect()
                }
                TokenPlace::Cookie(name) => in_cookies(call, name),
            };
            let tokens = tokens.into_iter().filter(|token| !token.is_empty());
            all.extend(tokens.map(|token| (place, rules.as_slice(), token)));
            if all.len() > TOKENS_MAX {
                return Err(Refused::BadFormat);
            }
        }
        Ok(all)
    }

    /// A query without tokens, if it may have any.
    pub(super) fn redacted(&self, query: &str) -> Option<Option<String>> {
        let params = self.0.iter().filter_map(|(place, _)| match place {
            TokenPlace::Param(name) => Some(name.as_str()),
            _ => None,
        });
        let params: Vec<&str> = params.collect();
        let any = pairs(query).any(|(key, _, _)| params.contains(&key));
        any.then(|| without(query, &params))
    }
}

/// Tokens in a header. One that is sent twice is refused if either is a token: two readers might
/// choose differently.
fn in_header(call: &Call<'_>, name: &str, prefix: &str) -> Result<Vec<String>, Refused> {
    let mut lines = 0_usize;
    let mut tokens = Vec::new();
    call.headers.any(name, &mut |line| {
        lines += 1;
        if let Some(token) = line.strip_prefix(prefix.as_bytes()) {
            tokens.push(String::from_utf8_lossy(token.trim_ascii()).into_owned());
        }
        false
    });
    let alone = tokens.is_empty() || lines == 1;
    let whole = prefix.is_empty() || tokens.iter().all(|token| !token.is_empty());
    (alone && whole).then_some(tokens).ok_or(Refused::BadFormat)
}

fn in_cookies(call: &Call<'_>, name: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    call.headers.any("cookie", &mut |line| {
        for cookie in line.split(|byte| *byte == b';') {
            let text = String::from_utf8_lossy(cookie.trim_ascii());
            if let Some((key, value)) = text.split_once('=')
                && key == name
            {
                tokens.push(value.trim_matches('"').to_owned());
            }
        }
        false
    });
    tokens
}

/// Name, value and whole text of each parameter.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    query.split('&').map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key, value, pair)
    })
}

/// A query without some parameters; `None` when nothing is left.
pub(super) fn without(query: &str, names: &[&str]) -> Option<String> {
    let kept = pairs(query).filter(|(key, _, _)| !names.contains(key));
    let kept: Vec<&str> = kept.map(|(_, _, pair)| pair).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

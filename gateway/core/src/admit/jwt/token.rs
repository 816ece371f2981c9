//! One token: header, payload and signature (RFC 7515, RFC 7519).

use super::Refused;
use crate::admit::jwks::{Algorithm, Digest, KeySet, Refusal};
use crate::admit::{Claims, base64url, json};
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};

/// Longest token, in bytes.
const BYTES_MAX: usize = 16 * 1024;
/// How far clocks may differ, in seconds (Envoy's).
const SKEW: u64 = 60;
/// Times from here on are no times: 2^53, where numbers of JSON stop being exact.
const TIME_END: u64 = 1 << 53;

/// A token that is well formed; of its signature is known what was found out so far.
#[derive(Debug)]
pub(super) struct Token {
    text: Box<str>,
    /// Where the payload begins in the text, and where it ends: the dots are around it.
    payload_text: (usize, usize),
    algorithm: Algorithm,
    key_id: Option<String>,
    payload: Map<String, Value>,
    signature: Vec<u8>,
    expiry: Option<u64>,
    not_before: Option<u64>,
    audiences: Vec<String>,
    /// The keys that verified it last.
    good_by: Cell<Option<Digest>>,
    /// Claims asked for last, and the claims that were taken apart at spaces.
    claims: RefCell<Option<(Vec<String>, Claims)>>,
}

impl Token {
    /// Takes a token apart, strictly.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refused::BadFormat)?;
        let (header, payload_text) = signed.split_once('.').ok_or(Refused::BadFormat)?;
        if payload_text.contains('.') {
            return Err(Refused::BadFormat);
        }
        let places = (header.len() + 1, signed.len());
        let header = base64url::decode(header).ok_or(Refused::HeaderBase64)?;
        let (algorithm, key_id) = header_of(&header)?;
        let payload = base64url::decode(payload_text).ok_or(Refused::PayloadBase64)?;
        let payload = json::object(&payload).ok_or(Refused::PayloadJson)?;
        let text_or_nothing = |name: &str| payload.get(name).is_none_or(Value::is_string);
        if !text_or_nothing("iss") {
            return Err(Refused::BadIssuer);
        }
        if !text_or_nothing("sub") {
            return Err(Refused::BadSubject);
        }
        Ok(Self {
            text: text.into(),
            payload_text: places,
            algorithm,
            key_id,
            expiry: time(payload.get("exp")).ok_or(Refused::BadExpiry)?,
            not_before: time(payload.get("nbf")).ok_or(Refused::BadNotBefore)?,
            audiences: audiences(payload.get("aud")).ok_or(Refused::BadAudience)?,
            payload,
            signature: base64url::decode(signature).ok_or(Refused::SignatureBase64)?,
            good_by: Cell::new(None),
            claims: RefCell::new(None),
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The payload as the token has it: base64url of JSON.
    pub(super) fn payload_text(&self) -> &str {
        let (begin, end) = self.payload_text;
        self.text.get(begin..end).unwrap_or_default()
    }

    /// Header and payload as they are signed.
    fn signed(&self) -> &[u8] {
        let (_, end) = self.payload_text;
        self.text.as_bytes().get(..end).unwrap_or_default()
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        self.payload.get("iss").and_then(Value::as_str)
    }

    pub(super) fn is_timely(&self, now: u64) -> Result<(), Refused> {
        if self
            .not_before
            .is_some_and(|from| from > now.saturating_add(SKEW))
        {
            return Err(Refused::NotYetValid);
        }
        if self
            .expiry
            .is_some_and(|until| now > until.saturating_add(SKEW))
        {
            return Err(Refused::Expired);
        }
        Ok(())
    }

    /// Whether any of its audiences is wanted, scheme and last slash apart, as in Envoy.
    pub(super) fn is_for(&self, wanted: &[String]) -> bool {
        let mut wanted = wanted.iter().map(|audience| bare(audience));
        wanted.any(|wanted| {
            self.audiences
                .iter()
                .any(|audience| bare(audience) == wanted)
        })
    }

    /// Whether these keys verified it before.
    pub(super) fn is_good_by(&self, keys: &KeySet) -> bool {
        self.good_by
            .get()
            .is_some_and(|good| good == *keys.digest())
    }

    pub(super) fn verify(&self, keys: &KeySet) -> Result<(), Refusal> {
        let id = self.key_id.as_deref();
        keys.verify(self.algorithm, id, self.signed(), &self.signature)?;
        self.good_by.set(Some(*keys.digest()));
        Ok(())
    }

    /// What rules may match on.
    pub(super) fn claims(&self, space_delimited: &[String]) -> Claims {
        let mut known = self.claims.borrow_mut();
        match &*known {
            Some((delimited, claims)) if delimited == space_delimited => claims.clone(),
            _ => {
                let claims = self.collect_claims(space_delimited);
                *known = Some((space_delimited.to_vec(), claims.clone()));
                claims
            }
        }
    }

    fn collect_claims(&self, space_delimited: &[String]) -> Claims {
        let mut out = Vec::new();
        for (name, value) in &self.payload {
            match value {
                Value::String(list) if space_delimited.contains(name) => {
                    let members = list.split(' ').filter(|member| !member.is_empty());
                    let members = members.map(str::to_owned).collect();
                    out.push((vec![name.clone()], members));
                }
                value => collect(&mut vec![name.clone()], value, &mut out),
            }
        }
        Claims::new(out)
    }

    /// A claim as the value of a header (Envoy's `claim_to_headers`).
    pub(super) fn header_value(&self, path: &[String]) -> Option<String> {
        let (first, rest) = path.split_first()?;
        let nested = |value, name: &String| Value::get(value, name.as_str());
        let value = self.payload.get(first.as_str())?;
        match rest.iter().try_fold(value, nested)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null => None,
            list => Some(base64url::encode_padded(list.to_string().as_bytes())),
        }
    }
}

fn header_of(header: &[u8]) -> Result<(Algorithm, Option<String>), Refused> {
    let header = json::object(header).ok_or(Refused::HeaderJson)?;
    let algorithm = header.get("alg").and_then(Value::as_str);
    let algorithm = Algorithm::named(algorithm.ok_or(Refused::BadAlgorithm)?);
    let key_id = match header.get("kid") {
        None => None,
        Some(id) => Some(id.as_str().ok_or(Refused::BadKeyId)?.to_owned()),
    };
    // RFC 7515 §4.1.11: what must be understood is not understood here, `b64` (RFC 7797) among it
    if header.contains_key("crit") || header.get("b64").is_some_and(|b64| *b64 != true) {
        return Err(Refused::Critical);
    }
    Ok((algorithm.ok_or(Refused::UnknownAlgorithm)?, key_id))
}

/// A NumericDate (RFC 7519 §2). The outer `None`: it is no time.
fn time(value: Option<&Value>) -> Option<Option<u64>> {
    let Some(value) = value else {
        return Some(None);
    };
    let whole = value.as_u64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
        format!("{seconds:.0}").parse().ok()
    });
    whole.filter(|seconds| *seconds < TIME_END).map(Some)
}

fn audiences(value: Option<&Value>) -> Option<Vec<String>> {
    match value {
        None => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(list)) => {
            let texts = list.iter().map(|member| member.as_str().map(str::to_owned));
            texts.collect()
        }
        Some(_) => None,
    }
}

fn bare(audience: &str) -> &str {
    let https = audience.strip_prefix("https://");
    let rest = https.or_else(|| audience.strip_prefix("http://"));
    let rest = rest.unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}

/// Strings, and strings of lists, with their paths.
fn collect(path: &mut Vec<String>, value: &Value, out: &mut Vec<(Vec<String>, Vec<String>)>) {
    match value {
        Value::String(text) => out.push((path.clone(), vec![text.clone()])),
        Value::Array(list) => {
            let texts = list.iter().filter_map(Value::as_str);
            out.push((path.clone(), texts.map(str::to_owned).collect()));
        }
        Value::Object(members) => {
            for (name, value) in members {
                path.push(name.clone());
                collect(path, value, out);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

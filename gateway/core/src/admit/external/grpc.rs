//! Asking over gRPC: `envoy.service.auth.v3.Authorization/Check`, protobuf both ways. Numbers of
//! fields are those of `envoy/service/auth/v3/*.proto`.

use super::proto::{Value, Writer, fields};
use super::{
    Asked, Change, Changes, Cleared, Outcome, PARTIAL_FIELD, Question, denied, is_of_the_way,
};
use crate::admit::Denial;
use crate::call::Call;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Path of the method.
pub(super) const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";
/// What stands before a message: a flag and four bytes of length (gRPC over HTTP2,
/// "Length-Prefixed-Message").
const FRAME_BYTES: usize = 5;

impl<'t> Question<'t> {
    /// Path of the method to call, and the framed message; `None` when it is asked otherwise.
    #[must_use]
    pub fn grpc(self, asked: &Asked<'_>) -> Option<(&'static str, Vec<u8>)> {
        if !self.is_grpc() {
            return None;
        }
        let raw = self.authorizer.body.is_some_and(|body| body.raw);
        let mut check = Writer::default();
        check.message(1, |attributes| {
            ends(attributes, &asked.call);
            attributes.message(4, |request| {
                request.message(1, |time| {
                    time.number(1, asked.unix_micros / 1_000_000);
                    time.number(2, asked.unix_micros % 1_000_000 * 1_000);
                });
                request.message(2, |http| request_of(http, asked, raw));
            });
        });
        Some((METHOD, framed(&check.finish())))
    }

    /// As [`Self::grpc`], about a connection that carries bytes: only its ends are told.
    #[must_use]
    pub fn grpc_connection(self, call: &Call<'_>) -> Option<(&'static str, Vec<u8>)> {
        if !self.is_grpc() {
            return None;
        }
        let mut check = Writer::default();
        check.message(1, |attributes| ends(attributes, call));
        Some((METHOD, framed(&check.finish())))
    }

    /// What the answer to a call of gRPC means: its HTTP status, `grpc-status`, and framed message.
    ///
    /// # Errors
    /// What the client is told.
    pub fn grpc_answered(
        self,
        status: u16,
        grpc_status: Option<&[u8]>,
        body: &[u8],
    ) -> (Outcome, Result<Cleared, Denial<'t>>) {
        let fine = status == 200 && grpc_status == Some(b"0");
        let verdict = message(body).filter(|_| fine).and_then(verdict);
        match verdict {
            Some(Ok(cleared)) => (Outcome::Ok, Ok(cleared)),
            Some(Err(denial)) => (Outcome::Denied, Err(denial)),
            None => self.failed(),
        }
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_BYTES + message.len());
    out.push(0);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// The one message of a body; compressed ones were not asked for.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (frame, message) = body.split_at_checked(FRAME_BYTES)?;
    let (flag, length) = frame.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let whole = usize::try_from(length).ok()? == message.len();
    (*flag == 0 && whole).then_some(message)
}

/// Both ends of a connection, and the server name of its handshake.
fn ends(attributes: &mut Writer, call: &Call<'_>) {
    attributes.message(1, |source| peer(source, call.client, call.identity));
    attributes.message(2, |destination| peer(destination, call.local, None));
    if let Some(sni) = call.sni {
        attributes.message(12, |tls| tls.bytes(1, sni.as_bytes()));
    }
}

fn peer(out: &mut Writer, address: SocketAddr, identity: Option<&str>) {
    out.message(1, |out| {
        out.message(1, |socket| {
            socket.bytes(2, address.ip().to_canonical().to_string().as_bytes());
            socket.number(3, u64::from(address.port()));
        });
    });
    out.bytes(4, identity.unwrap_or_default().as_bytes());
}

fn request_of(out: &mut Writer, asked: &Asked<'_>, raw: bool) {
    let call = &asked.call;
    let query = call.query.map(|q| format!("?{q}")).unwrap_or_default();
    let target = format!("{}{query}", call.path);
    out.bytes(1, asked.id.to_string().as_bytes());
    out.bytes(2, call.method.as_bytes());
    let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, value) in asked.fields {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        match all.get_mut(&name) {
            // as Envoy joins the lines of one name
            Some(lines) => {
                lines.push(b',');
                lines.extend_from_slice(value);
            }
            None => drop(all.insert(name, value.to_vec())),
        }
    }
    for (name, value) in [
        (":authority", call.authority),
        (":method", call.method),
        (":path", target.as_str()),
        (":scheme", call.scheme.as_str()),
    ] {
        all.insert(name.to_owned(), value.as_bytes().to_vec());
    }
    if let Some(shown) = asked.body {
        let partial = shown.partial.to_string();
        all.insert(PARTIAL_FIELD.to_owned(), partial.into_bytes());
    }
    for (name, value) in &all {
        out.message(3, |entry| {
            entry.bytes(1, name.as_bytes());
            entry.text(2, value);
        });
    }
    out.bytes(4, target.as_bytes());
    out.bytes(5, call.authority.as_bytes());
    out.bytes(6, call.scheme.as_str().as_bytes());
    let size = asked.body.map_or(0, |shown| shown.bytes.len());
    out.number(9, u64::try_from(size).unwrap_or(u64::MAX));
    out.bytes(10, asked.version.as_str().as_bytes());
    match asked.body {
        Some(shown) if raw => out.bytes(12, shown.bytes),
        Some(shown) => out.text(11, shown.bytes),
        None => {}
    }
}

/// What a `CheckResponse` says; `None` when it is none.
fn verdict<'t>(message: &[u8]) -> Option<Result<Cleared, Denial<'t>>> {
    let mut code = 0;
    let (mut refusal, mut consent) = (&[][..], &[][..]);
    for (field, value) in fields(message)? {
        match field {
            1 => {
                let status = fields(value.bytes())?;
                code = last(&status, 1).map_or(0, Value::number);
            }
            2 => refusal = value.bytes(),
            3 => consent = value.bytes(),
            // `error_response`: it could not say
            5 => return None,
            _ => {}
        }
    }
    Some(if code == 0 {
        Ok(cleared(consent)?)
    } else {
        Err(refused(refusal)?)
    })
}

fn last<'m>(all: &[(u64, Value<'m>)], wanted: u64) -> Option<Value<'m>> {
    let mut all = all.iter().rev();
    all.find(|(field, _)| *field == wanted)
        .map(|(_, value)| *value)
}

/// `OkHttpResponse`.
fn cleared(message: &[u8]) -> Option<Cleared> {
    let (mut request, mut response) = (Vec::new(), Vec::new());
    for (field, value) in fields(message)? {
        match field {
            2 => request.extend(change(value.bytes())?),
            5 => {
                let name = String::from_utf8_lossy(value.bytes()).to_ascii_lowercase();
                request.extend((!is_of_the_way(&name)).then_some(Change::Remove(name)));
            }
            6 => response.extend(change(value.bytes())?),
            _ => {}
        }
    }
    Some(Cleared {
        request: Changes(request),
        response: Changes(response),
    })
}

/// `HeaderValueOption`; the inner `None`: a field that is not an authorizer's to change. Without
/// `append` it replaces, as the message's documentation says, and not what the enumeration begins
/// with: a client must not have its own line beside the authorizer's.
fn change(message: &[u8]) -> Option<Option<Change>> {
    let all = fields(message)?;
    let header = fields(last(&all, 1)?.bytes())?;
    let text = |field| last(&header, field).map_or(&[][..], Value::bytes);
    let name = String::from_utf8_lossy(text(1)).to_ascii_lowercase();
    let value = match text(3) {
        [] => text(2).to_vec(),
        raw => raw.to_vec(),
    };
    if is_of_the_way(&name) {
        return Some(None);
    }
    let append = match last(&all, 2) {
        None => None,
        Some(wrapped) => {
            let wrapped = fields(wrapped.bytes())?;
            Some(last(&wrapped, 1).is_some_and(|value| value.number() != 0))
        }
    };
    let action = last(&all, 3).map_or(0, Value::number);
    Some(Some(match (append, action) {
        (Some(true), _) => Change::Add(name, value),
        (None, 1) => Change::Fill(name, value),
        (None, 3) => Change::Replace(name, value),
        _ => Change::Set(name, value),
    }))
}

/// `DeniedHttpResponse`.
fn refused<'t>(message: &[u8]) -> Option<Denial<'t>> {
    let mut status = 403;
    let mut headers = Vec::new();
    let mut body = Vec::new();
    for (field, value) in fields(message)? {
        match field {
            1 => {
                let code = last(&fields(value.bytes())?, 1).map_or(0, Value::number);
                status = u16::try_from(code).unwrap_or(0);
            }
            2 => match change(value.bytes())? {
                Some(Change::Add(name, value)) => headers.extend(text(name, value)),
                Some(Change::Set(name, value) | Change::Fill(name, value)) => {
                    headers.retain(|(other, _)| *other != name);
                    headers.extend(text(name, value));
                }
                Some(Change::Remove(_) | Change::Replace(..)) | None => {}
            },
            3 => body = value.bytes().to_vec(),
            _ => {}
        }
    }
    Some(denied(status, headers, body))
}

fn text(name: String, value: Vec<u8>) -> Option<(String, String)> {
    Some((name, String::from_utf8(value).ok()?))
}

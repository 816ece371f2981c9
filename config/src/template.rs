//! Envoy's format strings (`%REQ(X-ID?:PATH):40%`) taken apart: header values and access logs.
//!
//! Only the grammar and the names are here; what an operator says about a request is the
//! gateway's. Grammar: Envoy `source/common/formatter/substitution_formatter.cc`.

use crate::ir::{Piece, Template};
use std::fmt;

/// Takes a format string apart. `%%` is a percent sign.
///
/// # Errors
/// A `%` that begins no operator, an operator that does not exist, or a missing or impossible
/// argument.
pub fn parse(text: &str) -> Result<Template, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(offset) = rest.find('%') else {
            literal.push_str(rest);
            break;
        };
        literal.push_str(rest.get(..offset).unwrap_or_default());
        at += offset;
        let rest = rest.get(offset + 1..).unwrap_or_default();
        if rest.starts_with('%') {
            literal.push('%');
            at += 2;
            continue;
        }
        let (piece, length) = operator(rest).map_err(|problem| FormatError { at, problem })?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(piece);
        at += 1 + length;
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Template(pieces))
}

/// Whether a format string can be used, for diagnostics.
///
/// # Errors
/// As [`parse`].
pub fn check_format(text: &str) -> Result<(), FormatError> {
    parse(text).map(|_| ())
}

/// What is wrong with a format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// Byte offset of the `%`.
    pub at: usize,
    /// What is wrong there.
    pub problem: FormatProblem,
}

/// What is wrong with an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatProblem {
    /// A `%` without its partner; `%%` is a percent sign.
    Unclosed,
    /// No operator has this name.
    Unknown {
        /// As written.
        name: String,
        /// The nearest one that exists.
        nearest: Option<&'static str>,
    },
    /// The operator needs an argument in parentheses.
    NoArgument(&'static str),
    /// The operator takes no argument.
    UselessArgument(&'static str),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            FormatProblem::Unclosed => {
                f.write_str("`%` begins no operator; write `%%` for a percent sign")
            }
            FormatProblem::Unknown { name, nearest } => {
                write!(f, "there is no operator `%{name}%`")?;
                nearest.map_or(Ok(()), |nearest| write!(f, "; did you mean `%{nearest}%`?"))
            }
            FormatProblem::NoArgument(name) => {
                write!(f, "`%{name}%` needs an argument: `%{name}(name)%`")
            }
            FormatProblem::UselessArgument(name) => write!(f, "`%{name}%` takes no argument"),
        }
    }
}

impl std::error::Error for FormatError {}

/// Whether an operator takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// It must have one.
    Required,
    /// It may have one.
    Optional,
    /// It has none.
    None,
}

/// Every operator that Envoy has for HTTP, and whether it takes an argument.
pub const OPERATORS: &[(&str, Argument)] = &[
    ("ACCESS_LOG_TYPE", Argument::None),
    ("BYTES_RECEIVED", Argument::None),
    ("BYTES_RETRANSMITTED", Argument::None),
    ("BYTES_SENT", Argument::None),
    ("CEL", Argument::Required),
    ("CONNECTION_ID", Argument::None),
    ("CONNECTION_TERMINATION_DETAILS", Argument::None),
    ("COMMON_DURATION", Argument::Required),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", Argument::None),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Argument::None),
    (
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        Argument::None,
    ),
    ("DOWNSTREAM_DIRECT_REMOTE_PORT", Argument::None),
    ("DOWNSTREAM_HEADER_BYTES_RECEIVED", Argument::None),
    ("DOWNSTREAM_HEADER_BYTES_SENT", Argument::None),
    ("DOWNSTREAM_HANDSHAKE_DURATION", Argument::None),
    ("DOWNSTREAM_LOCAL_ADDRESS", Argument::None),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Argument::None),
    ("DOWNSTREAM_LOCAL_DNS_SAN", Argument::None),
    ("DOWNSTREAM_LOCAL_PORT", Argument::None),
    ("DOWNSTREAM_LOCAL_SUBJECT", Argument::None),
    ("DOWNSTREAM_LOCAL_URI_SAN", Argument::None),
    ("DOWNSTREAM_PEER_CERT", Argument::None),
    ("DOWNSTREAM_PEER_CERT_V_END", Argument::Optional),
    ("DOWNSTREAM_PEER_CERT_V_START", Argument::Optional),
    ("DOWNSTREAM_PEER_DNS_SAN", Argument::None),
    ("DOWNSTREAM_PEER_FINGERPRINT_1", Argument::None),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", Argument::None),
    ("DOWNSTREAM_PEER_ISSUER", Argument::None),
    ("DOWNSTREAM_PEER_SERIAL", Argument::None),
    ("DOWNSTREAM_PEER_SUBJECT", Argument::None),
    ("DOWNSTREAM_PEER_URI_SAN", Argument::None),
    ("DOWNSTREAM_REMOTE_ADDRESS", Argument::None),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Argument::None),
    ("DOWNSTREAM_REMOTE_PORT", Argument::None),
    ("DOWNSTREAM_TLS_CIPHER", Argument::None),
    ("DOWNSTREAM_TLS_SESSION_ID", Argument::None),
    ("DOWNSTREAM_TLS_VERSION", Argument::None),
    ("DOWNSTREAM_TRANSPORT_FAILURE_REASON", Argument::None),
    ("DOWNSTREAM_WIRE_BYTES_RECEIVED", Argument::None),
    ("DOWNSTREAM_WIRE_BYTES_SENT", Argument::None),
    ("DURATION", Argument::None),
    ("DYNAMIC_METADATA", Argument::Required),
    ("EMIT_TIME", Argument::Optional),
    ("ENVIRONMENT", Argument::Required),
    ("FILTER_CHAIN_NAME", Argument::None),
    ("FILTER_STATE", Argument::Required),
    ("GRPC_STATUS", Argument::Optional),
    ("GRPC_STATUS_NUMBER", Argument::None),
    ("HOSTNAME", Argument::None),
    ("LOCAL_REPLY_BODY", Argument::None),
    ("METADATA", Argument::Required),
    ("PATH", Argument::Optional),
    ("PROTOCOL", Argument::None),
    ("QUERY_PARAM", Argument::Required),
    ("REQ", Argument::Required),
    ("REQUESTED_SERVER_NAME", Argument::None),
    ("REQUEST_DURATION", Argument::None),
    ("REQUEST_HEADERS_BYTES", Argument::None),
    ("REQUEST_TX_DURATION", Argument::None),
    ("REQ_WITHOUT_QUERY", Argument::Required),
    ("RESP", Argument::Required),
    ("RESPONSE_CODE", Argument::None),
    ("RESPONSE_CODE_DETAILS", Argument::None),
    ("RESPONSE_DURATION", Argument::None),
    ("RESPONSE_FLAGS", Argument::None),
    ("RESPONSE_FLAGS_LONG", Argument::None),
    ("RESPONSE_HEADERS_BYTES", Argument::None),
    ("RESPONSE_TRAILERS_BYTES", Argument::None),
    ("RESPONSE_TX_DURATION", Argument::None),
    ("ROUNDTRIP_DURATION", Argument::None),
    ("ROUTE_NAME", Argument::None),
    ("START_TIME", Argument::Optional),
    ("START_TIME_LOCAL", Argument::Optional),
    ("STREAM_ID", Argument::None),
    ("TLS_JA3_FINGERPRINT", Argument::None),
    ("TRACE_ID", Argument::None),
    ("TRAILER", Argument::Required),
    ("UNIQUE_ID", Argument::None),
    ("UPSTREAM_CLUSTER", Argument::None),
    ("UPSTREAM_CLUSTER_RAW", Argument::None),
    ("UPSTREAM_CONNECTION_ID", Argument::None),
    ("UPSTREAM_CONNECTION_POOL_READY_DURATION", Argument::None),
    ("UPSTREAM_FILTER_STATE", Argument::Required),
    ("UPSTREAM_HEADER_BYTES_RECEIVED", Argument::None),
    ("UPSTREAM_HEADER_BYTES_SENT", Argument::None),
    ("UPSTREAM_HOST", Argument::None),
    ("UPSTREAM_HOSTS_ATTEMPTED", Argument::None),
    ("UPSTREAM_HOST_NAME", Argument::None),
    ("UPSTREAM_HOST_NAME_WITHOUT_PORT", Argument::None),
    ("UPSTREAM_LOCAL_ADDRESS", Argument::None),
    ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Argument::None),
    ("UPSTREAM_LOCAL_PORT", Argument::None),
    ("UPSTREAM_METADATA", Argument::Required),
    ("UPSTREAM_PEER_CERT", Argument::None),
    ("UPSTREAM_PEER_ISSUER", Argument::None),
    ("UPSTREAM_PEER_SUBJECT", Argument::None),
    ("UPSTREAM_PEER_URI_SAN", Argument::None),
    ("UPSTREAM_PROTOCOL", Argument::None),
    ("UPSTREAM_REMOTE_ADDRESS", Argument::None),
    ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Argument::None),
    ("UPSTREAM_REMOTE_PORT", Argument::None),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Argument::None),
    ("UPSTREAM_TLS_CIPHER", Argument::None),
    ("UPSTREAM_TLS_SESSION_ID", Argument::None),
    ("UPSTREAM_TLS_VERSION", Argument::None),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Argument::None),
    ("UPSTREAM_WIRE_BYTES_RECEIVED", Argument::None),
    ("UPSTREAM_WIRE_BYTES_SENT", Argument::None),
    ("VIRTUAL_CLUSTER_NAME", Argument::None),
];

/// Reads one operator behind its `%`; also says how many bytes it took, closing `%` included.
fn operator(text: &str) -> Result<(Piece, usize), FormatProblem> {
    let name_end = text
        .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .filter(|end| *end > 0)
        .ok_or(FormatProblem::Unclosed)?;
    let (name, rest) = text.split_at(name_end);
    let (argument, tail) = match rest.strip_prefix('(') {
        Some(inner) => {
            let (argument, tail) = argument(inner).ok_or(FormatProblem::Unclosed)?;
            (Some(argument), tail)
        }
        None => (None, rest),
    };
    let (max_length, tail) = length(tail).ok_or(FormatProblem::Unclosed)?;
    check(name, argument)?;
    let piece = Piece::Operator {
        name: name.to_owned(),
        argument: argument.map(str::to_owned),
        max_length,
    };
    Ok((piece, text.len() - tail.len()))
}

/// The argument up to the first `)` that ends an operator: a time format contains `%` itself.
fn argument(inner: &str) -> Option<(&str, &str)> {
    inner.match_indices(')').find_map(|(at, _)| {
        let tail = inner.get(at + 1..)?;
        length(tail)?;
        Some((inner.get(..at)?, tail))
    })
}

/// `:40%` or `%`; what follows it.
fn length(tail: &str) -> Option<(Option<u32>, &str)> {
    match tail.strip_prefix(':') {
        Some(tail) => {
            let (digits, rest) = tail.split_once('%')?;
            Some((Some(digits.parse().ok()?), rest))
        }
        None => Some((None, tail.strip_prefix('%')?)),
    }
}

fn check(name: &str, argument: Option<&str>) -> Result<(), FormatProblem> {
    let known = OPERATORS.iter().find(|(known, _)| *known == name);
    match known {
        None => Err(FormatProblem::Unknown {
            name: name.to_owned(),
            nearest: nearest(name),
        }),
        Some((name, Argument::Required)) if argument.is_none_or(str::is_empty) => {
            Err(FormatProblem::NoArgument(name))
        }
        Some((name, Argument::None)) if argument.is_some() => {
            Err(FormatProblem::UselessArgument(name))
        }
        Some(_) => Ok(()),
    }
}

/// The operator with the smallest edit distance, if it is near enough to be a slip.
fn nearest(name: &str) -> Option<&'static str> {
    OPERATORS
        .iter()
        .map(|(known, _)| (distance(name, known), *known))
        .min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
        .map(|(_, known)| known)
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (diagonal + usize::from(x != y))
                .min(*cell + 1)
                .min(left + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parsed: Result<Template, FormatError>) -> String {
        let Template(pieces) = match parsed {
            Ok(template) => template,
            Err(error) => return format!("{}: {error}", error.at),
        };
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => format!("<{text}>"),
                Piece::Operator {
                    name,
                    argument,
                    max_length,
                } => format!("[{name} {argument:?} {max_length:?}]"),
            })
            .collect()
    }

    #[test]
    fn formats_are_taken_apart() {
        for (input, want) in [
            ("", ""),
            ("plain", "<plain>"),
            ("100%%", "<100%>"),
            ("%PROTOCOL%", "[PROTOCOL None None]"),
            ("a%REQ(x)%b", "<a>[REQ Some(\"x\") None]<b>"),
            ("%REQ(X?:PATH):40%", "[REQ Some(\"X?:PATH\") Some(40)]"),
            ("%START_TIME(%Y %s)%", "[START_TIME Some(\"%Y %s\") None]"),
            (
                "50%",
                "2: `%` begins no operator; write `%%` for a percent sign",
            ),
            ("é%REQ%", "2: `%REQ%` needs an argument: `%REQ(name)%`"),
            (
                "%RESPONSE_COD%",
                "0: there is no operator `%RESPONSE_COD%`; did you mean `%RESPONSE_CODE%`?",
            ),
            ("%DURATION(x)%", "0: `%DURATION%` takes no argument"),
            (
                "%REQ(x):y%",
                "0: `%` begins no operator; write `%%` for a percent sign",
            ),
        ] {
            assert_eq!(text(parse(input)), want, "{input}");
        }
    }

    #[test]
    fn operators_are_written_once() {
        let mut names: Vec<_> = OPERATORS.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPERATORS.len());
    }
}

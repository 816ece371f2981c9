//! Path normalisation: one spelling of a path for rules, logs and the upstream alike.
//!
//! Istio's four modes (`meshConfig.pathNormalization`) and the EDGE profile's redirect. The order
//! is Istio's: unescape slashes, then RFC 3986 (unreserved characters decoded, backslashes turned,
//! dot segments removed, what a URI cannot hold escaped), then merge slashes. The fragment is dropped in every mode; the query is
//! never touched.

/// What to do with `%2F`, `%2f`, `%5C` and `%5c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EscapedSlashes {
    /// Leave them (Envoy's `KEEP_UNCHANGED`).
    Keep,
    /// Decode and forward (`UNESCAPE_AND_FORWARD`).
    Unescape,
    /// Decode and send the client to the decoded path (`UNESCAPE_AND_REDIRECT`).
    Redirect,
    /// Refuse the request (`REJECT_REQUEST`).
    Reject,
}

/// How paths are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathPolicy {
    /// Apply RFC 3986 §6.2.2 and turn backslashes.
    pub normalize: bool,
    /// Merge runs of slashes.
    pub merge_slashes: bool,
    /// Escaped slashes.
    pub escaped_slashes: EscapedSlashes,
    /// Refuse a dot segment with a parameter (`/..;/`), which some servers resolve and others do
    /// not.
    pub refuse_dot_parameters: bool,
}

impl PathPolicy {
    /// Istio's NONE: only the fragment goes.
    pub const NONE: Self = Self {
        normalize: false,
        merge_slashes: false,
        escaped_slashes: EscapedSlashes::Keep,
        refuse_dot_parameters: false,
    };
    /// Istio's BASE, its default.
    pub const BASE: Self = Self {
        normalize: true,
        ..Self::NONE
    };
    /// Istio's MERGE_SLASHES.
    pub const MERGE_SLASHES: Self = Self {
        merge_slashes: true,
        ..Self::BASE
    };
    /// Istio's DECODE_AND_MERGE_SLASHES.
    pub const DECODE_AND_MERGE_SLASHES: Self = Self {
        escaped_slashes: EscapedSlashes::Unescape,
        ..Self::MERGE_SLASHES
    };
    /// The EDGE profile: everything, and a redirect where a slash was escaped, so that no cache
    /// or rule in front of us has seen another path than the one we serve.
    pub const EDGE: Self = Self {
        escaped_slashes: EscapedSlashes::Redirect,
        refuse_dot_parameters: true,
        ..Self::MERGE_SLASHES
    };
}

/// What became of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathAction {
    /// It is its own normal form.
    Unchanged,
    /// The scratch buffer holds the normal form: use that for everything.
    Rewritten,
    /// The scratch buffer holds the `location` of a 307.
    Redirect,
    /// Answer with this status: 400 (an escaped NUL, a forbidden escaped slash) or 403 (a dot
    /// segment in disguise).
    Reject {
        /// 400 or 403.
        status: u16,
    },
}

/// Normalises a target in origin form (anything else is left alone). The result, if there is one,
/// replaces the contents of `scratch`; a target that needs nothing costs one scan.
pub fn normalize(target: &[u8], policy: PathPolicy, scratch: &mut Vec<u8>) -> PathAction {
    if target.first() != Some(&b'/') || is_plain(target) {
        return PathAction::Unchanged;
    }
    let whole = until(target, b'#');
    let path = until(whole, b'?');
    let query = whole.get(path.len()..).unwrap_or_default();
    scratch.clear();
    scratch.extend_from_slice(path);
    let mut redirect = false;
    match policy.escaped_slashes {
        EscapedSlashes::Keep => {}
        EscapedSlashes::Reject if has_escaped_slash(scratch) => {
            return PathAction::Reject { status: 400 };
        }
        EscapedSlashes::Reject => {}
        EscapedSlashes::Unescape | EscapedSlashes::Redirect => {
            let unescaped = unescape_slashes(scratch);
            redirect = unescaped && policy.escaped_slashes == EscapedSlashes::Redirect;
        }
    }
    if policy.normalize {
        if has_escape(scratch, |byte| byte == 0) {
            return PathAction::Reject { status: 400 };
        }
        decode_unreserved(scratch);
        remove_dot_segments(scratch);
        escape_unsafe(scratch);
    }
    if policy.merge_slashes {
        merge_slashes(scratch);
    }
    if policy.refuse_dot_parameters && has_dot_parameter(scratch) {
        return PathAction::Reject { status: 403 };
    }
    scratch.extend_from_slice(query);
    if redirect {
        PathAction::Redirect
    } else if scratch == target {
        PathAction::Unchanged
    } else {
        PathAction::Rewritten
    }
}

/// Whether no mode could change the target: nothing escaped or to be escaped, no backslash, no
/// fragment, no empty segment, no segment that begins with a dot.
fn is_plain(target: &[u8]) -> bool {
    let mut previous = 0;
    let mut in_query = false;
    for byte in target {
        match byte {
            b'#' => return false,
            b'?' => in_query = true,
            _ if in_query => {}
            b'%' | b'\\' => return false,
            _ if is_unsafe(*byte) => return false,
            b'/' | b'.' if previous == b'/' => return false,
            _ => {}
        }
        previous = *byte;
    }
    true
}

/// `bytes` up to the first `end`.
fn until(bytes: &[u8], end: u8) -> &[u8] {
    bytes.split(|b| *b == end).next().unwrap_or_default()
}

/// The byte that `%XX` at `at` stands for.
fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = bytes.get(at..at + 3)? else {
        return None;
    };
    Some(hex(*high)? << 4 | hex(*low)?)
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn has_escape(path: &[u8], wanted: impl Fn(u8) -> bool) -> bool {
    (0..path.len()).any(|at| escape_at(path, at).is_some_and(&wanted))
}

fn has_escaped_slash(path: &[u8]) -> bool {
    has_escape(path, |byte| matches!(byte, b'/' | b'\\'))
}

/// Rewrites `path` in place, replacing escapes for which `decode` has a byte. An escape whose byte
/// would complete another one (`%%34%31` would become `%41`) stays: the result must be stable.
fn replace_escapes(path: &mut Vec<u8>, decode: impl Fn(u8) -> Option<u8>) -> bool {
    let (mut read, mut write, mut changed) = (0, 0, false);
    while let Some(byte) = path.get(read).copied() {
        let decoded = escape_at(path, read).and_then(&decode);
        let (byte, step) = match decoded {
            Some(decoded) if !completes_escape(path, write, decoded) => (decoded, 3),
            // an escape that stays is copied whole, so that its digits cannot begin another
            _ if escape_at(path, read).is_some() => {
                path.copy_within(read..read + 3, write);
                read += 3;
                write += 3;
                continue;
            }
            _ => (byte, 1),
        };
        changed |= step == 3;
        if let Some(slot) = path.get_mut(write) {
            *slot = byte;
        }
        read += step;
        write += 1;
    }
    path.truncate(write);
    changed
}

/// Whether `byte`, written at `end`, would stand as a digit behind a `%` that begins no escape.
fn completes_escape(path: &[u8], end: usize, byte: u8) -> bool {
    if hex(byte).is_none() {
        return false;
    }
    let written = path.get(..end).unwrap_or_default();
    match written {
        [.., b'%'] => true,
        [.., b'%', digit] => hex(*digit).is_some(),
        _ => false,
    }
}

/// Decodes escaped slashes and backslashes; whether there were any.
fn unescape_slashes(path: &mut Vec<u8>) -> bool {
    replace_escapes(path, |byte| matches!(byte, b'/' | b'\\').then_some(byte))
}

/// Decodes unreserved characters (RFC 3986 §6.2.2.2) and turns backslashes.
fn decode_unreserved(path: &mut Vec<u8>) {
    let unreserved =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    replace_escapes(path, |byte| unreserved(byte).then_some(byte));
    for byte in path {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
}

/// Resolves `.` and `..` segments in place (RFC 3986 §5.2.4). An empty segment is one that `..`
/// can remove: `/a//../b` is `/a/b`.
fn remove_dot_segments(path: &mut Vec<u8>) {
    let (mut read, mut write) = (0, 0);
    while read < path.len() {
        let rest = path.get(read + 1..).unwrap_or_default();
        let len = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        let last = len == rest.len();
        let dots = match rest.get(..len) {
            Some(b".") => 1,
            Some(b"..") => 2,
            _ => 0,
        };
        if dots == 2 {
            let written = path.get(..write).unwrap_or_default();
            write = written.iter().rposition(|b| *b == b'/').unwrap_or(0);
        }
        if dots == 0 {
            path.copy_within(read..=read + len, write);
            write += len + 1;
        } else if last {
            // the path then ends with the slash that stood before the dots
            if let Some(slot) = path.get_mut(write) {
                *slot = b'/';
            }
            write += 1;
        }
        read += len + 1;
    }
    path.truncate(write);
}

/// Visible characters that a URI cannot hold (RFC 3986 §2), as far as they are printable ASCII.
const fn is_unsafe(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// Escapes what a URI cannot hold, so that every server downstream reads the same bytes.
fn escape_unsafe(path: &mut Vec<u8>) {
    if !path.iter().any(|byte| is_unsafe(*byte)) {
        return;
    }
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'A' - 10 };
    let old = path.len();
    for at in 0..old {
        match path.get(at).copied() {
            Some(byte) if is_unsafe(byte) => {
                path.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
            }
            Some(byte) => path.push(byte),
            None => {}
        }
    }
    path.drain(..old);
}

fn merge_slashes(path: &mut Vec<u8>) {
    path.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
}

/// A segment that is `.` or `..` once its parameters are cut off.
fn has_dot_parameter(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|segment| {
        let name = until(segment, b';');
        name.len() < segment.len() && matches!(name, b"." | b"..")
    })
}

#[cfg(test)]
mod tests;

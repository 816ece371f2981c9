//! What a message consists of, as data: decoding looks names up here, COVERAGE.md prints it.

/// What becomes of a field; COVERAGE.md shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Does what Istio says.
    Honoured,
    /// Some of its values do what Istio says: which.
    Partly(&'static str),
    /// The object is refused with this code.
    Refused(&'static str),
    /// Accepted; means nothing here, and why.
    NoEffect(&'static str),
    /// Read and checked, not yet acted upon, and what will.
    Later(&'static str),
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub struct FieldInfo {
    /// Name in the struct; a trailing underscore is not part of it.
    pub name: &'static str,
    /// Istio's JSON name where it does not follow from `name`; none else.
    pub json: Option<&'static str>,
    /// Further accepted names.
    pub aliases: &'static [&'static str],
    /// What becomes of it.
    pub disposition: Disposition,
    /// Type of the field.
    pub shape: fn() -> Shape,
}

impl FieldInfo {
    /// The JSON name, like `perTryTimeout` for `per_try_timeout`.
    #[must_use]
    pub fn json_name(&self) -> String {
        self.json.map_or_else(|| camel(self.name), str::to_owned)
    }

    pub(super) fn accepts(&self, key: &str) -> bool {
        let name = self.name.trim_end_matches('_');
        key == name
            || self
                .json
                .map_or_else(|| is_camel_of(key, name), |json| key == json)
            || self.aliases.contains(&key)
    }
}

/// One message type.
#[derive(Debug)]
pub struct MessageInfo {
    /// Name of the struct.
    pub name: &'static str,
    /// Its fields in declaration order.
    pub fields: &'static [FieldInfo],
}

/// Type of a field, for the inventory.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A scalar, by its protobuf name.
    Scalar(&'static str),
    /// One of these names.
    Enum(&'static [&'static str]),
    /// A nested message.
    Message(&'static MessageInfo),
    /// A list of these.
    List(Box<Self>),
    /// A mapping from strings to these.
    Map(Box<Self>),
    /// Anything; kept as written.
    Raw,
}

/// Protobuf's JSON name: every `_x` becomes `X`.
pub(super) fn camel(snake: &str) -> String {
    let mut out = String::with_capacity(snake.len());
    let mut upper = false;
    for c in snake.trim_end_matches('_').chars() {
        if c == '_' {
            upper = true;
        } else {
            out.push(if upper { c.to_ascii_uppercase() } else { c });
            upper = false;
        }
    }
    out
}

/// Whether `key` is the JSON name of `snake`, without building it.
fn is_camel_of(key: &str, snake: &str) -> bool {
    let mut key = key.bytes();
    let mut upper = false;
    for b in snake.bytes() {
        if b == b'_' {
            upper = true;
            continue;
        }
        let want = if upper { b.to_ascii_uppercase() } else { b };
        upper = false;
        if key.next() != Some(want) {
            return false;
        }
    }
    key.next().is_none()
}

/// Whether two field names are the same up to camelCase and snake_case.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || is_camel_of(a, b) || is_camel_of(b, a)
}

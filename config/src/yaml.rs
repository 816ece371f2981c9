//! Text to a tree in which every key and value knows its place.
//!
//! JSON is YAML, so one reader serves both. The tree is what decoding, `span_at` and the
//! diagnostics stand on.

pub(crate) mod read;
pub(crate) mod split;

use crate::source::Span;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it is; for collections, from the first to the last byte.
    pub span: Span,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing at all.
    Null,
    /// A scalar as written, without quotes and escapes.
    Scalar {
        /// The text.
        text: Box<str>,
        /// Whether it was unquoted, and so may be a number or a boolean.
        plain: bool,
    },
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping in the order of the file; keys are unique.
    Map(Vec<Entry>),
}

/// One key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as written, without quotes.
    pub key: Box<str>,
    /// Where the key is.
    pub key_span: Span,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The value of a key; none for other nodes than mappings.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|e| &e.value)
    }

    /// The entry of a key, with the key's place.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| &*e.key == key)
    }

    /// Entries of a mapping; empty for other nodes.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Items of a sequence; empty for other nodes.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::Seq(items) => items,
            _ => &[],
        }
    }

    /// Text of a scalar, quoted or not.
    #[must_use]
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What to call it in a sentence, with the article.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar { plain: false, .. } => "a string",
            Value::Scalar { text, .. } => match Plain::of(text) {
                Plain::Bool(_) => "a boolean",
                Plain::Int(_) | Plain::Float(_) => "a number",
                Plain::Text => "a string",
            },
        }
    }
}

/// What an unquoted scalar means by YAML 1.2's core schema.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plain {
    /// `true` or `false`.
    Bool(bool),
    /// An integer; wider ones than `i128` are text.
    Int(i128),
    /// A number with a fraction or an exponent, an infinity, or not-a-number.
    Float(f64),
    /// Anything else.
    Text,
}

impl Plain {
    /// Resolves the text of an unquoted scalar.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text {
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            ".inf" | ".Inf" | ".INF" | "+.inf" => return Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Self::Float(f64::NEG_INFINITY),
            ".nan" | ".NaN" | ".NAN" => return Self::Float(f64::NAN),
            _ => {}
        }
        let radix = |prefix, base| {
            text.strip_prefix(prefix)
                .and_then(|t| i128::from_str_radix(t, base).ok())
        };
        let first = text.trim_start_matches(['+', '-']).as_bytes().first();
        if !first.is_some_and(|b| b.is_ascii_digit() || *b == b'.') {
            return Self::Text;
        }
        if let Some(int) = text
            .parse()
            .ok()
            .or_else(|| radix("0x", 16))
            .or_else(|| radix("0o", 8))
        {
            return Self::Int(int);
        }
        let numeric = text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        match text.parse() {
            Ok(float) if numeric => Self::Float(float),
            _ => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests;

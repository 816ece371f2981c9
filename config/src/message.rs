//! From a YAML tree to typed messages, by protobuf's JSON rules, collecting every error.
//!
//! `message!` makes three things from one field list: the plain struct, its decoder, and the
//! inventory that COVERAGE.md is written from. So a field cannot be read without being listed,
//! or listed without saying what becomes of it. Rules of decoding:
//!
//! - camelCase and snake_case names are both accepted, null means unset;
//! - an unknown field is an error at its key, with the nearest name as help;
//! - numbers may be strings, 64-bit style; durations are Go's (`1h30m`); enums are names;
//! - nothing stops at the first error: a bad field stays unset and the rest is read.

mod inventory;
mod map;
mod near;
mod scalar;

use std::fmt::Write as _;

use crate::diag::{Code, Diagnostic, codes};
use crate::yaml::{Entry, Node, Value};

use inventory::camel;
pub(crate) use inventory::same_name;
pub use inventory::{Disposition, FieldInfo, MessageInfo, Shape};
pub use map::Map;
pub(crate) use near::nearest;
pub use scalar::{Bytes, IntOrString, SecretText};
pub(crate) use scalar::{base64, go_duration};

/// What to do with a field that the message does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// An error at its key: Istio's own kinds.
    Refuse,
    /// A warning: MeshConfig, which Istio decodes leniently.
    Warn,
    /// Nothing: Kubernetes kinds, of which only some fields are read.
    Ignore,
}

/// One step of a path; kept instead of a string because most paths are never printed.
#[derive(Debug, Clone, Copy)]
enum Step<'n> {
    Field(&'static FieldInfo),
    Key(&'n str),
    Index(usize),
}

/// State of one object's decoding: where we are, and what was found.
#[derive(Debug)]
pub struct Cx<'n> {
    root: &'static str,
    path: Vec<Step<'n>>,
    unknown: Unknown,
    quiet: bool,
    found: Vec<Diagnostic>,
}

impl<'n> Cx<'n> {
    /// A decoding whose paths begin with `root` (`spec`, or empty for the whole object).
    #[must_use]
    pub fn new(root: &'static str, unknown: Unknown) -> Self {
        Self {
            root,
            path: Vec::new(),
            unknown,
            quiet: false,
            found: Vec::new(),
        }
    }

    /// Never quotes values: for objects that hold secrets.
    #[must_use]
    pub fn quiet(mut self, quiet: bool) -> Self {
        self.quiet = quiet;
        self
    }

    /// What was found, in the order of the text.
    #[must_use]
    pub fn finish(self) -> Vec<Diagnostic> {
        self.found
    }

    /// The path of the value being decoded.
    #[must_use]
    pub fn path(&self) -> String {
        let mut out = String::from(self.root);
        for step in &self.path {
            match step {
                Step::Index(i) => {
                    let _ = write!(out, "[{i}]");
                }
                Step::Field(f) => join(&mut out, &f.json_name()),
                Step::Key(k) => join(&mut out, k),
            }
        }
        out
    }

    /// Reports a value of the wrong type.
    pub fn mismatch(&mut self, node: &Node, expected: &str) {
        let found = match (&node.value, node.scalar()) {
            (Value::Scalar { .. }, Some(text)) if !self.quiet && text.len() <= SHOWN_TEXT => {
                format!("{} `{text}`", node.describe())
            }
            _ => node.describe().to_owned(),
        };
        self.report(
            codes::SP0003,
            node,
            format!("expected {expected}, found {found}"),
            None,
        );
    }

    /// Reports anything at a node.
    pub fn report(&mut self, code: Code, node: &Node, message: String, help: Option<String>) {
        let mut diagnostic = Diagnostic::new(code, message)
            .at(node.span)
            .path(self.path());
        diagnostic.help = help;
        self.found.push(diagnostic);
    }

    fn unknown_field(&mut self, entry: &Entry, fields: &'static [FieldInfo]) {
        let code = match self.unknown {
            Unknown::Refuse => codes::SP0002,
            Unknown::Warn => codes::SP0010,
            Unknown::Ignore => return,
        };
        let suffix = if self.unknown == Unknown::Warn {
            " is ignored"
        } else {
            ""
        };
        let mut diagnostic =
            Diagnostic::new(code, format!("unknown field `{}`{suffix}", entry.key))
                .at(entry.key_span);
        let mut path = self.path();
        join(&mut path, &entry.key);
        diagnostic.path = path;
        let names: Vec<String> = fields.iter().map(FieldInfo::json_name).collect();
        diagnostic.help = nearest(&entry.key, names.iter().map(String::as_str))
            .map(|n| format!("did you mean `{n}`?"));
        self.found.push(diagnostic);
    }
}

/// Longest scalar that a message quotes, in bytes.
const SHOWN_TEXT: usize = 80;

fn join(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// A type that a node decodes to. None means that an error was reported.
pub trait FromNode: Sized {
    /// Decodes, reporting every error to `cx`.
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self>;
    /// Its type, for the inventory.
    fn shape() -> Shape;
}

/// Puts a decoded value in place; null and errors leave the field as it is.
pub type Setter<M> = for<'n> fn(&mut M, &'n Node, &mut Cx<'n>);

/// A struct made by `message!`.
pub trait Message: Default + 'static {
    /// Name and fields.
    const INFO: &'static MessageInfo;
    /// One setter per field, in the same order.
    const SETTERS: &'static [Setter<Self>];
    /// How it and all below it treat unknown fields, where that differs from the object's way.
    const UNKNOWN: Option<Unknown>;
    /// Which fields of each oneof are set, by name.
    fn oneofs(&self) -> Vec<Vec<(&'static str, bool)>>;
}

impl<M: Message> FromNode for M {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            cx.mismatch(node, "a mapping");
            return None;
        };
        let outer = cx.unknown;
        cx.unknown = Self::UNKNOWN.unwrap_or(outer);
        let mut out = Self::default();
        let mut seen = Seen::default();
        for entry in entries {
            let fields = Self::INFO.fields;
            let Some(index) = fields.iter().position(|f| f.accepts(&entry.key)) else {
                cx.unknown_field(entry, fields);
                continue;
            };
            let (Some(field), Some(set)) = (fields.get(index), Self::SETTERS.get(index)) else {
                continue;
            };
            cx.path.push(Step::Field(field));
            if !seen.first(index) {
                let message = format!(
                    "field `{}` is given twice, under two of its names",
                    field.json_name()
                );
                cx.report(codes::SP0006, &entry.value, message, None);
            } else if !entry.value.is_null() {
                set(&mut out, &entry.value, cx);
            }
            cx.path.pop();
        }
        cx.unknown = outer;
        for group in out.oneofs() {
            let set: Vec<String> = group
                .iter()
                .filter(|g| g.1)
                .map(|g| format!("`{}`", camel(g.0)))
                .collect();
            if set.len() > 1 {
                cx.report(
                    codes::SP0009,
                    node,
                    format!("only one of {} may be set", set.join(", ")),
                    None,
                );
            }
        }
        Some(out)
    }

    fn shape() -> Shape {
        Shape::Message(Self::INFO)
    }
}

/// Which of a message's fields were met; messages have at most 128 fields.
#[derive(Default)]
struct Seen(u128);

impl Seen {
    fn first(&mut self, index: usize) -> bool {
        let bit = u32::try_from(index)
            .ok()
            .and_then(|i| 1u128.checked_shl(i))
            .unwrap_or(0);
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first
    }
}

/// Decodes into a field.
pub(crate) fn set<'n, T: FromNode>(slot: &mut T, node: &'n Node, cx: &mut Cx<'n>) {
    if let Some(value) = T::from_node(node, cx) {
        *slot = value;
    }
}

impl<T: FromNode> FromNode for Option<T> {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        if node.is_null() {
            Some(None)
        } else {
            T::from_node(node, cx).map(Some)
        }
    }
    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        let Value::Seq(items) = &node.value else {
            cx.mismatch(node, "a list");
            return None;
        };
        let mut out = Self::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            cx.path.push(Step::Index(i));
            out.extend(T::from_node(item, cx));
            cx.path.pop();
        }
        Some(out)
    }
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
}

impl FromNode for Node {
    fn from_node<'n>(node: &'n Node, _: &mut Cx<'n>) -> Option<Self> {
        Some(node.clone())
    }
    fn shape() -> Shape {
        Shape::Raw
    }
}

/// Makes message structs, their decoders and their inventory. A message states the disposition of
/// its fields in brackets; a field may state its own after `=>`.
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident [$all:expr] $(unknown $unknown:ident)? {
            $($field:ident $(as $json:literal)? $(also $alias:literal)* : $ty:ty $(=> $own:expr)?),* $(,)?
        }
        $(oneof [$($one:ident),+])*
    )+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name {
            $(#[doc = concat!("`", stringify!($field), "` of Istio's schema.")]
            pub $field: $ty,)*
        }

        impl $crate::message::Message for $name {
            const INFO: &'static $crate::message::MessageInfo = {
                #[allow(unused_imports, reason = "a message without fields or with one disposition uses few of them")]
                use $crate::message::Disposition::{Honoured, Later, NoEffect, Partly, Refused};
                &$crate::message::MessageInfo {
                    name: stringify!($name),
                    fields: &[$($crate::message::FieldInfo {
                        name: stringify!($field),
                        json: message!(@first $($json)?),
                        aliases: &[$($alias),*],
                        disposition: message!(@own $all $(, $own)?),
                        shape: <$ty as $crate::message::FromNode>::shape,
                    }),*],
                }
            };
            const SETTERS: &'static [$crate::message::Setter<Self>] =
                &[$(|out, node, cx| $crate::message::set(&mut out.$field, node, cx)),*];
            const UNKNOWN: Option<$crate::message::Unknown> = message!(@unknown $($unknown)?);
            fn oneofs(&self) -> Vec<Vec<(&'static str, bool)>> {
                vec![$(vec![$((stringify!($one), self.$one.is_some())),+]),*]
            }
        }
    )+};
    (@unknown) => { None };
    (@unknown $unknown:ident) => { Some($crate::message::Unknown::$unknown) };
    (@first) => { None };
    (@first $json:literal) => { Some($json) };
    (@own $all:expr) => { $all };
    (@own $all:expr, $own:expr) => { $own };
}

/// Makes enums whose first value is protobuf's zero value, decoded by name.
macro_rules! enumeration {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident { $first:ident = $first_text:literal $(, $variant:ident = $text:literal)* $(,)? }
    )+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub enum $name {
            #[doc = concat!("`", $first_text, "`; also when unset.")]
            #[default]
            $first,
            $(#[doc = concat!("`", $text, "`.")]
            $variant,)*
        }

        impl $name {
            /// Istio's name of the value.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_text,
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl $crate::message::FromNode for $name {
            fn from_node<'n>(node: &'n $crate::yaml::Node, cx: &mut $crate::message::Cx<'n>) -> Option<Self> {
                $crate::message::choice(node, cx, &[($first_text, Self::$first) $(, ($text, Self::$variant))*])
            }
            fn shape() -> $crate::message::Shape {
                $crate::message::Shape::Enum(&[$first_text $(, $text)*])
            }
        }
    )+};
}

pub(crate) use {enumeration, message};

/// Decodes an enum by name.
pub(crate) fn choice<'n, T: Copy>(
    node: &'n Node,
    cx: &mut Cx<'n>,
    table: &[(&'static str, T)],
) -> Option<T> {
    let text = node.scalar().unwrap_or_default();
    if let Some((_, value)) = table.iter().find(|(name, _)| *name == text) {
        return Some(*value);
    }
    let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    if node.scalar().is_none() {
        cx.mismatch(node, &format!("one of {}", names.join(", ")));
        return None;
    }
    let near = nearest(text, names.iter().copied())
        .map(|n| format!("; did you mean `{n}`?"))
        .unwrap_or_default();
    let help = format!("the values are {}{near}", names.join(", "));
    cx.report(
        codes::SP0003,
        node,
        format!("unknown value `{text}`"),
        Some(help),
    );
    None
}

#[cfg(test)]
mod tests;

//! Mappings with free keys: labels, headers, named things.

use super::{Cx, FromNode, Shape, Step, Unknown};
use crate::yaml::{Node, Value};

/// A mapping with free keys, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Map<T>(Vec<(String, T)>);

impl<T> Default for Map<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Map<T> {
    /// The value of a key. Linear: these maps are labels and headers.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&T> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Whether the key is there.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Adds a key, or replaces its value.
    pub fn insert(&mut self, key: impl Into<String>, value: T) {
        let key = key.into();
        match self.0.iter_mut().find(|(k, _)| *k == key) {
            Some(slot) => slot.1 = value,
            None => self.0.push((key, value)),
        }
    }

    /// Pairs in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// Keys in the order of the file.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(k, _)| k.as_str())
    }

    /// Values in the order of the file.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|(_, v)| v)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, T> FromIterator<(K, T)> for Map<T> {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(iter: I) -> Self {
        Self(iter.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }
}

impl<T: FromNode> FromNode for Map<T> {
    fn from_node<'n>(node: &'n Node, cx: &mut Cx<'n>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            cx.mismatch(node, "a mapping");
            return None;
        };
        let mut out = Vec::with_capacity(entries.len());
        for entry in entries {
            // Kubernetes reads a null value as none; protobuf refuses it
            if entry.value.is_null() && cx.unknown == Unknown::Ignore {
                continue;
            }
            cx.path.push(Step::Key(&entry.key));
            if let Some(value) = T::from_node(&entry.value, cx) {
                out.push((entry.key.to_string(), value));
            }
            cx.path.pop();
        }
        Some(Self(out))
    }
    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }
}

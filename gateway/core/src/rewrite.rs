//! Rewrites of the path: by prefix, whole, by regex. The query is never touched.

/// A path on its way to the upstream or into a `location`, without query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Path<'t> {
    /// As the client sent it.
    #[default]
    Kept,
    /// `with`, followed by what the client's path has from byte `from`: costs no allocation.
    Spliced {
        /// New beginning.
        with: &'t str,
        /// Where the kept tail of the client's path begins.
        from: usize,
    },
    /// All new.
    Owned(String),
}

impl Path<'_> {
    /// Whether the client's path goes on unchanged.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        *self == Self::Kept
    }

    /// The parts of the new path, given the client's.
    #[must_use]
    pub fn parts<'a>(&'a self, path: &'a str) -> [&'a str; 2] {
        match self {
            Self::Kept => [path, ""],
            Self::Spliced { with, from } => [with, path.get(*from..).unwrap_or_default()],
            Self::Owned(owned) => [owned, ""],
        }
    }

    /// Appends the new path and the query, given the client's.
    pub fn write(&self, path: &str, query: Option<&str>, out: &mut Vec<u8>) {
        for part in self.parts(path) {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
    }
}

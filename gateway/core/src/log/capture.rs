//! The few fields that a log line will ask for, kept after the head that held them is gone.

use crate::call::HeaderLines;
use smallvec::SmallVec;
use std::ops::Range;

/// First lines of some fields, copied into one buffer that is reused from request to request.
#[derive(Debug, Clone, Default)]
pub struct Capture<'n> {
    names: &'n [Box<str>],
    bytes: Vec<u8>,
    spans: SmallVec<[Option<Range<u32>>; 8]>,
}

/// Longer values are cut: a log line is no place for them.
pub const CAPTURED_VALUE_BYTES_MAX: usize = 4096;

impl<'n> Capture<'n> {
    /// Keeps nothing yet of these fields.
    #[must_use]
    pub fn new(names: &'n [Box<str>]) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }

    /// Copies the first line of each field, forgetting what was kept before.
    pub fn take(&mut self, lines: &dyn HeaderLines) {
        self.bytes.clear();
        self.spans.clear();
        for name in self.names {
            let span = lines.first(name).and_then(|line| {
                let line = line.get(..CAPTURED_VALUE_BYTES_MAX).unwrap_or(line);
                let start = u32::try_from(self.bytes.len()).ok()?;
                self.bytes.extend_from_slice(line);
                Some(start..u32::try_from(self.bytes.len()).ok()?)
            });
            self.spans.push(span);
        }
    }
}

impl HeaderLines for Capture<'_> {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.first(name).is_some_and(visit)
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        let at = self.names.iter().position(|known| **known == *name)?;
        let span = self.spans.get(at)?.clone()?;
        let (start, end) = (usize::try_from(span.start), usize::try_from(span.end));
        self.bytes.get(start.ok()?..end.ok()?)
    }
}

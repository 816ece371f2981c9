//! Choices read from bytes; when they run out, always the first choice.

/// Bytes that choices are read from.
#[derive(Debug)]
pub(super) struct Bytes<'d> {
    rest: &'d [u8],
}

impl<'d> Bytes<'d> {
    pub(super) fn new(rest: &'d [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// `0..n`
    pub(super) fn below(&mut self, n: u8) -> u8 {
        self.byte() % n.max(1)
    }

    /// True in so many of a hundred cases.
    pub(super) fn chance(&mut self, percent: u8) -> bool {
        // The last values are true, so that no bytes means no.
        self.below(100) >= 100 - percent.min(100)
    }

    pub(super) fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let n = u8::try_from(from.len()).unwrap_or(u8::MAX);
        let at = usize::from(self.below(n));
        from.get(at).copied().unwrap_or_default()
    }

    pub(super) fn text(&mut self, from: &[&'static str]) -> String {
        self.pick(from).to_owned()
    }

    /// Up to `max` things.
    pub(super) fn some<T>(&mut self, max: u8, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(max + 1)).map(|_| make(self)).collect()
    }

    /// A thing, in so many of a hundred cases.
    pub(super) fn maybe<T>(&mut self, percent: u8, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }
}

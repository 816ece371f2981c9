//! Which of many keys begin (or end) a text, in one pass over the text.
//!
//! A rolling hash is kept while walking; wherever a key of that length exists, one probe is made.
//! The cost depends on the text and on how many different key lengths there are, not on how many
//! keys. ASCII case can be ignored, so that nothing has to be lowered first.

/// From which side keys are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Keys are prefixes.
    Front,
    /// Keys are suffixes.
    Back,
}

/// A set of byte strings, each with a number. A probe touches one slot and the bytes of one key.
#[derive(Debug)]
pub(super) struct AffixMap {
    side: Side,
    fold: bool,
    used: usize,
    /// Open addressing, a power of two long.
    slots: Box<[Slot]>,
    /// All keys, one behind the other.
    keys: Vec<u8>,
    /// Bit `n`: a key of length `n` exists.
    lengths: Vec<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u64,
    value: u32,
    start: u32,
    /// Length of the key plus one; 0 is a free slot.
    length: u32,
}

/// FNV-1a: cheap per byte, and a prefix's hash is a state on the way to the whole text's.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(PRIME)
}

impl AffixMap {
    /// An empty set; with `fold`, ASCII case is ignored.
    pub(super) fn new(side: Side, fold: bool) -> Self {
        Self {
            side,
            fold,
            used: 0,
            slots: Box::new([Slot::default(); 2]),
            keys: Vec::new(),
            lengths: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The number of this key, which is `fresh` if the key is new. Keys of more than 4 GiB
    /// altogether are not kept.
    pub(super) fn insert(&mut self, key: &[u8], fresh: u32) -> u32 {
        let hash = self.hash(key);
        if let Some(known) = self.probe(hash, key) {
            return known;
        }
        let (Ok(start), Ok(length)) =
            (u32::try_from(self.keys.len()), u32::try_from(key.len() + 1))
        else {
            return fresh;
        };
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow();
        }
        self.used += 1;
        self.keys.extend_from_slice(key);
        self.place(Slot {
            hash,
            value: fresh,
            start,
            length,
        });
        let word = key.len() / 64;
        if self.lengths.len() <= word {
            self.lengths.resize(word + 1, 0);
        }
        if let Some(bits) = self.lengths.get_mut(word) {
            *bits |= 1 << (key.len() % 64);
        }
        fresh
    }

    /// Calls `visit` with the number and length of every key that the text begins (or ends) with,
    /// shortest first.
    pub(super) fn visit(&self, text: &[u8], mut visit: impl FnMut(u32, usize)) {
        if self.is_empty() {
            return;
        }
        let mut hash = BASIS;
        for length in 0..=text.len() {
            let Some(bits) = self.lengths.get(length / 64) else {
                return;
            };
            if bits >> (length % 64) & 1 == 1
                && let Some(value) = self.probe(hash, self.affix(text, length))
            {
                visit(value, length);
            }
            let Some(byte) = self.byte(text, length) else {
                return;
            };
            hash = step(hash, byte);
        }
    }

    /// The number of the longest key that the text begins (or ends) with and is longer than.
    pub(super) fn longest_proper(&self, text: &[u8]) -> Option<u32> {
        let mut longest = None;
        self.visit(text, |value, length| {
            if length < text.len() {
                longest = Some(value);
            }
        });
        longest
    }

    /// The number of the key that the whole text is.
    pub(super) fn exact(&self, text: &[u8]) -> Option<u32> {
        let bits = self.lengths.get(text.len() / 64)?;
        if bits >> (text.len() % 64) & 1 == 0 {
            return None;
        }
        self.probe(self.hash(text), text)
    }

    fn hash(&self, text: &[u8]) -> u64 {
        let bytes = (0..text.len()).filter_map(|at| self.byte(text, at));
        bytes.fold(BASIS, step)
    }

    /// Byte at this distance from the side where keys begin.
    fn byte(&self, text: &[u8], at: usize) -> Option<u8> {
        let byte = match self.side {
            Side::Front => text.get(at),
            Side::Back => text.get(text.len().checked_sub(at + 1)?),
        }?;
        Some(if self.fold {
            byte.to_ascii_lowercase()
        } else {
            *byte
        })
    }

    fn affix<'a>(&self, text: &'a [u8], length: usize) -> &'a [u8] {
        let affix = match self.side {
            Side::Front => text.get(..length),
            Side::Back => text.get(text.len().saturating_sub(length)..),
        };
        affix.unwrap_or_default()
    }

    fn probe(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let mut slot = self.first_slot(hash);
        loop {
            // At least half of the slots are free, so this ends.
            let found = self.slots.get(slot).filter(|slot| slot.length > 0)?;
            if found.hash == hash && self.same(self.key(found), key) {
                return Some(found.value);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn same(&self, a: &[u8], b: &[u8]) -> bool {
        if self.fold {
            a.eq_ignore_ascii_case(b)
        } else {
            a == b
        }
    }

    fn first_slot(&self, hash: u64) -> usize {
        let mixed = hash ^ (hash >> 32);
        usize::try_from(mixed & 0xffff_ffff).unwrap_or_default() & (self.slots.len() - 1)
    }

    fn key(&self, slot: &Slot) -> &[u8] {
        let start = usize::try_from(slot.start).unwrap_or_default();
        let length = usize::try_from(slot.length).unwrap_or_default();
        let end = start.saturating_add(length).saturating_sub(1);
        self.keys.get(start..end).unwrap_or_default()
    }

    fn grow(&mut self) {
        let larger = vec![Slot::default(); self.slots.len() * 2].into();
        let old = std::mem::replace(&mut self.slots, larger);
        for slot in old.iter().filter(|slot| slot.length > 0) {
            self.place(*slot);
        }
    }

    fn place(&mut self, slot: Slot) {
        let mut at = self.first_slot(slot.hash);
        while let Some(taken) = self.slots.get_mut(at) {
            if taken.length == 0 {
                *taken = slot;
                return;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(side: Side, fold: bool, keys: &[&str]) -> AffixMap {
        let mut map = AffixMap::new(side, fold);
        for (number, key) in (0..).zip(keys) {
            map.insert(key.as_bytes(), number);
        }
        map
    }

    #[test]
    fn every_key_that_begins_the_text_is_found_shortest_first() {
        let map = map(Side::Front, false, &["/", "", "/ab", "/abc", "/b", "/a"]);
        for (text, want) in [
            ("/abcd", vec![1, 0, 5, 2, 3]),
            ("/ab", vec![1, 0, 5, 2]),
            ("", vec![1]),
            ("x", vec![1]),
            ("/B", vec![1, 0]),
        ] {
            let mut found = Vec::new();
            map.visit(text.as_bytes(), |value, _| found.push(value));
            assert_eq!(found, want, "{text}");
        }
    }

    #[test]
    fn the_longest_proper_suffix_wins_whatever_its_case() {
        let map = map(Side::Back, true, &[".com", ".foo.com", "x.org"]);
        for (text, want) in [
            ("a.FOO.com", Some(1)),
            (".foo.com", Some(0)),
            ("foo.COM", Some(0)),
            (".com", None),
            ("x.org", None),
            ("ax.org", Some(2)),
        ] {
            assert_eq!(map.longest_proper(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn many_keys_keep_their_numbers() {
        let mut map = AffixMap::new(Side::Front, false);
        for number in 0..20_000_u32 {
            assert_eq!(map.insert(format!("/k{number}").as_bytes(), number), number);
        }
        assert_eq!(map.insert(b"/k7", 99), 7);
        for number in 0..20_000_u32 {
            assert_eq!(map.exact(format!("/k{number}").as_bytes()), Some(number));
        }
        assert_eq!(map.exact(b"/k20000"), None);
        assert_eq!(map.exact(b"/"), None);
    }
}

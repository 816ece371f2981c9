//! Maglev (Eisenbud et al., NSDI 2016, §3.4): a table that every member fills in its own order of
//! preference, turn by turn. One look-up finds a member, and shares are even to a slot.

use crate::hash::xxh64;

/// Slots tried at random before the table is searched from where the last one was.
const DRAWS: u64 = 16;
const EMPTY: u32 = u32::MAX;

/// The table.
#[derive(Debug, Clone)]
pub(super) struct Maglev {
    slots: Box<[u32]>,
}

/// Where a member is in its permutation of the slots.
struct Turn {
    next: u64,
    skip: u64,
    /// It may take a slot when its weight times the round reaches this.
    due: u128,
}

impl Maglev {
    /// `size` slots, a prime (else a permutation does not reach all slots, and members far down
    /// the list get less). Members are placed by name alone.
    pub(super) fn new(names: &[String], weights: &[u64], size: u32) -> Self {
        let size = u64::from(size.max(2));
        let mut slots = vec![EMPTY; usize::try_from(size).unwrap_or(2)].into_boxed_slice();
        let most = weights.iter().copied().max().map_or(1, |w| w.max(1));
        let mut turns: Vec<Turn> = names
            .iter()
            .map(|name| Turn {
                next: xxh64(name.as_bytes(), 0) % size,
                skip: xxh64(name.as_bytes(), 1) % (size - 1) + 1,
                due: 0,
            })
            .collect();
        let mut free = if names.is_empty() { 0 } else { size };
        let mut round = 0_u128;
        while free > 0 {
            round += 1;
            for ((turn, weight), member) in turns.iter_mut().zip(weights).zip(0_u32..) {
                if round * u128::from(*weight) < turn.due || free == 0 {
                    continue;
                }
                turn.due += u128::from(most);
                if take(&mut slots, turn, size, member) {
                    free -= 1;
                }
            }
        }
        Self { slots }
    }

    /// The member of the hash's slot, else of another slot that the hash leads to.
    pub(super) fn find(&self, hash: u64, accept: impl Fn(u32) -> bool) -> Option<u32> {
        let size = u64::try_from(self.slots.len()).ok()?;
        let mut slot = hash % size;
        for draw in 0..DRAWS {
            let member = *self.slots.get(usize::try_from(slot).ok()?)?;
            if member != EMPTY && accept(member) {
                return Some(member);
            }
            slot = xxh64(&hash.to_le_bytes(), draw + 1) % size;
        }
        let (before, after) = self.slots.split_at_checked(usize::try_from(slot).ok()?)?;
        let mut members = after.iter().chain(before).copied();
        members.find(|member| *member != EMPTY && accept(*member))
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }
}

/// The next free slot of a member's permutation becomes its own.
fn take(slots: &mut [u32], turn: &mut Turn, size: u64, member: u32) -> bool {
    for _ in 0..size {
        let at = turn.next;
        turn.next = (at + turn.skip) % size;
        let slot = usize::try_from(at).ok().and_then(|at| slots.get_mut(at));
        if let Some(slot) = slot
            && *slot == EMPTY
        {
            *slot = member;
            return true;
        }
    }
    // the size is no prime: whatever is free
    let free = slots.iter_mut().find(|slot| **slot == EMPTY);
    free.map(|slot| *slot = member).is_some()
}

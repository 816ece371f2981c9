//! Ring hash (ketama): endpoints stand on a circle at many points; a key goes to the next one.

use crate::hash::xxh64;

/// Most points of a ring, whatever the weights ask for (Envoy's `maximum_ring_size`).
const POINTS_MAX: u64 = 8_388_608;

/// The circle.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    /// (where, member), by place.
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// At least `min_size` points, shared out by weight so that the lightest member has a whole
    /// number of them. Members are placed by name alone, wherever they stand in the list.
    pub(super) fn new(names: &[String], weights: &[u64], min_size: u32) -> Self {
        let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
        let least = weights.iter().copied().min().map_or(1, |w| w.max(1));
        let copies = (u128::from(min_size) * u128::from(least))
            .div_ceil(total.max(1))
            .max(1);
        // points per weight, as a fraction
        let (mut points, mut weight) = (copies, u128::from(least));
        if points * total > u128::from(POINTS_MAX) * weight {
            (points, weight) = (u128::from(POINTS_MAX), total);
        }
        let (mut placed, mut reached) = (0_u128, 0_u128);
        let mut ring = Vec::new();
        let mut text = String::new();
        for ((name, own), member) in names.iter().zip(weights).zip(0_u32..) {
            reached += u128::from(*own) * points;
            let mut copy = 0_u32;
            while placed * weight < reached {
                text.clear();
                text.push_str(name);
                text.push('_');
                text.push_str(&copy.to_string());
                ring.push((xxh64(text.as_bytes(), 0), member));
                placed += 1;
                copy += 1;
            }
        }
        ring.sort_unstable();
        Self {
            points: ring.into_boxed_slice(),
        }
    }

    /// The first acceptable member from the hash on. Leaving a member out this way moves its keys
    /// and no others, exactly as a ring without it would.
    pub(super) fn find(&self, hash: u64, accept: impl Fn(u32) -> bool) -> Option<u32> {
        let start = self.points.partition_point(|(at, _)| *at < hash);
        let (before, after) = self.points.split_at_checked(start)?;
        let mut members = after.iter().chain(before).map(|(_, member)| *member);
        members.find(|member| accept(*member))
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.points)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }
}

//! Chance as a value: xoshiro256++ (Blackman and Vigna), seeded by the caller.
//!
//! For spreading load, jitter and request ids. Not for keys: its output can be predicted.

/// A seeded generator. One per worker; a test that passes the same seed sees the same choices.
#[derive(Debug, Clone)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// From any seed, 0 included: it is stretched with SplitMix64.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut counter = seed;
        let mut next = || {
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = counter;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        Self {
            state: [next(), next(), next(), next()],
        }
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let out = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        out
    }

    /// Uniform in `0..bound`; 0 for a bound of 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Uniform in `0..1_000_000`: the die of [`sallyport_config::ir::Ppm::hit`].
    pub fn die(&mut self) -> u32 {
        u32::try_from(self.below(1_000_000)).unwrap_or(0)
    }

    /// Fills a buffer with uniform bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            for (to, from) in chunk.iter_mut().zip(self.next_u64().to_le_bytes()) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            [rng.next_u64(), rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(0), [0; 3]);
    }

    #[test]
    fn below_stays_below_and_is_even() {
        let mut rng = Rng::new(1);
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
        let mut hits = [0_u32; 5];
        for _ in 0..50_000 {
            hits[usize::try_from(rng.below(5)).unwrap()] += 1;
        }
        assert!(
            hits.iter().all(|hit| (9_500..10_500).contains(hit)),
            "{hits:?}"
        );
    }

    #[test]
    fn fill_covers_every_length() {
        let mut rng = Rng::new(2);
        for length in 0..40 {
            let mut buffer = vec![0; length];
            // a byte stays zero in one of 256 draws, so ask several times before complaining
            for _ in 0..16 {
                let mut draw = vec![0; length];
                rng.fill(&mut draw);
                buffer.iter_mut().zip(draw).for_each(|(a, b)| *a |= b);
            }
            assert!(buffer.iter().all(|byte| *byte != 0), "{length}");
        }
    }
}

//! Chance that can be replayed.

#![allow(dead_code, clippy::cast_possible_truncation)]

/// A generator for tests: xorshift64* (Vigna, 2014), seeded and printed, so that a run can be replayed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let seed = std::env::var("COFFER_TEST_SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
        println!("COFFER_TEST_SEED={seed}");
        Self(seed)
    }

    /// Dice of their own for a task that runs beside others.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.below(u64::from(u32::MAX)) << 8 | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

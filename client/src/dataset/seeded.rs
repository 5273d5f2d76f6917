//! Random numbers that depend on nothing but a seed, a purpose and a position.
//!
//! Every draw comes from a stream named by these three, never from state that a run carries along.
//! So a resumed run draws what an uninterrupted one would have drawn, and no thread count changes a
//! number.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Order of the shards of an epoch.
pub(super) const SHARD_ORDER: &str = "shard-order";
/// Order of the samples of a window.
pub(super) const SAMPLE_ORDER: &str = "sample-order";
/// Which samples are held out.
pub(super) const HOLDOUT: &str = "holdout";
/// Order in which samples are packed.
pub(super) const PACK_ORDER: &str = "pack-order";

/// The stream for `purpose` at `position` (an epoch, or an epoch and a step, ...). Different
/// purposes never share numbers.
pub fn stream(seed: u64, purpose: &str, position: &[u64]) -> ChaCha8Rng {
    // The name is older than this module. Another one would give runs that are there other numbers.
    let mut hasher = blake3::Hasher::new_derive_key("coffer-train random stream 1");
    hasher.update(&seed.to_le_bytes());
    for coordinate in position {
        hasher.update(&coordinate.to_le_bytes());
    }
    // The tag comes last: the coordinates before it have a fixed width, so no two inputs collide.
    hasher.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Puts `items` in a random order (Fisher and Yates).
///
/// The order is part of the format: a run that was started with one release must be resumable
/// with the next, so this doesn't lean on a library's shuffle.
pub fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    let mut left = 0u64;
    for i in 0..items.len() {
        left += 1;
        // The bias of the remainder is under 2^-32 for any slice that fits into memory.
        let pick = rng.next_u64() % left;
        if let Ok(pick) = usize::try_from(pick) {
            items.swap(i, pick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_position() {
        let first = |seed, purpose, at: &[u64]| stream(seed, purpose, at).next_u64();
        let base = first(1, HOLDOUT, &[2, 3]);
        assert_eq!(base, first(1, HOLDOUT, &[2, 3]));
        assert_ne!(base, first(2, HOLDOUT, &[2, 3]));
        assert_ne!(base, first(1, SHARD_ORDER, &[2, 3]));
        assert_ne!(base, first(1, HOLDOUT, &[3, 2]));
        assert_ne!(base, first(1, HOLDOUT, &[2]));
    }

    #[test]
    fn shuffle_reaches_every_order() {
        let mut seen = std::collections::BTreeSet::new();
        for at in 0..200 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut stream(1, SAMPLE_ORDER, &[at]), &mut items);
            seen.insert(items);
        }
        assert_eq!(seen.len(), 24);
    }
}

//! Where randomness comes in.

/// A source of cryptographically strong random bytes.
///
/// The real one is [`OsRandom`]; tests may pass a seeded one so that a failing case replays.
pub trait Random: Send + Sync {
    /// Fills `out` entirely, or fails without promising anything about its content.
    ///
    /// # Errors
    /// [`RandomUnavailable`] when the source cannot deliver; the caller must give up the operation.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable>;
}

/// The operating system could not supply random bytes.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("no random bytes from the operating system ({0}); refusing to make keys without them")]
pub struct RandomUnavailable(pub String);

/// The operating system's generator (`getrandom`).
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        getrandom::fill(out).map_err(|e| RandomUnavailable(e.to_string()))
    }
}

/// Draws an array of `N` random bytes.
///
/// # Errors
/// As [`Random::fill`].
pub fn array<const N: usize>(random: &dyn Random) -> Result<[u8; N], RandomUnavailable> {
    let mut out = [0u8; N];
    random.fill(&mut out)?;
    Ok(out)
}

/// A counter stretched by BLAKE3: the same seed gives the same bytes. For tests and simulation only.
#[derive(Debug)]
pub struct SeededRandom {
    seed: [u8; 32],
    counter: std::sync::atomic::AtomicU64,
}

impl SeededRandom {
    /// A generator whose whole output follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self { seed: key, counter: std::sync::atomic::AtomicU64::new(0) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        let n = self.counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(&n.to_le_bytes());
        hasher.finalize_xof().fill(out);
        Ok(())
    }
}

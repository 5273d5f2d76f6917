//! Reed-Solomon coding over GF(2^8): k data shards gain m parity shards; any k of them suffice.
//!
//! The code is systematic (data shards are stored as they are) and works byte by byte, so the same
//! run of blocks cut from any k shards rebuilds that run of the others: a degraded read of one
//! segment needs k blocks, not k shards.

use reed_solomon_erasure::galois_8::ReedSolomon;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

/// How many shards a chunk has: `k` data and `m` parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(u8, u8)", into = "(u8, u8)")]
pub struct Code {
    k: u8,
    m: u8,
}

impl Code {
    /// 4 data and 2 parity shards: survives any two losses at 1.5 times the space.
    pub const DEFAULT: Self = Self { k: 4, m: 2 };
    /// The most data shards.
    pub const MAX_K: u8 = 16;
    /// The most parity shards.
    pub const MAX_M: u8 = 8;

    /// A code of `k` data and `m` parity shards; `k = 1` is plain replication.
    ///
    /// # Errors
    /// [`CodeError::Shape`] unless `1 <= k <= 16` and `1 <= m <= 8`.
    pub fn new(k: u8, m: u8) -> Result<Self, CodeError> {
        if (1..=Self::MAX_K).contains(&k) && (1..=Self::MAX_M).contains(&m) {
            Ok(Self { k, m })
        } else {
            Err(CodeError::Shape { k, m })
        }
    }

    /// Data shards.
    pub const fn k(self) -> usize {
        self.k as usize
    }

    /// Parity shards: how many losses are survived.
    pub const fn m(self) -> usize {
        self.m as usize
    }

    /// All shards.
    pub const fn n(self) -> usize {
        self.k() + self.m()
    }

    /// How many shards must be durable before a write is acknowledged: enough that one more loss
    /// (of two parity shards, say) right after it is survived.
    pub const fn write_quorum(self) -> usize {
        self.k() + self.m().div_ceil(2)
    }

    /// The same protection with fewer data shards, for a chunk too short to fill `k` of them.
    #[must_use]
    pub(crate) fn with_data(self, k: usize) -> Self {
        let k = u8::try_from(k).unwrap_or(self.k).clamp(1, self.k);
        Self { k, m: self.m }
    }
}

impl TryFrom<(u8, u8)> for Code {
    type Error = CodeError;

    fn try_from((k, m): (u8, u8)) -> Result<Self, CodeError> {
        Self::new(k, m)
    }
}

impl From<Code> for (u8, u8) {
    fn from(c: Code) -> Self {
        (c.k, c.m)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.k, self.m)
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(s: &str) -> Result<Self, CodeError> {
        let (k, m) = s.split_once('+').ok_or_else(|| CodeError::Text(s.to_owned()))?;
        match (k.parse(), m.parse()) {
            (Ok(k), Ok(m)) => Self::new(k, m),
            _ => Err(CodeError::Text(s.to_owned())),
        }
    }
}

/// Why coding failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Numbers out of range.
    #[error("erasure code {k}+{m} is not allowed: data shards 1 to 16, parity shards 1 to 8")]
    Shape {
        /// Data shards asked for.
        k: u8,
        /// Parity shards asked for.
        m: u8,
    },
    /// Not of the form `k+m`.
    #[error("{0:?} is not an erasure code; write it as data+parity, for instance 4+2")]
    Text(String),
    /// Too few shards are left.
    #[error("{have} of {need} needed shards are left; the chunk can't be rebuilt from them")]
    TooFew {
        /// Shards at hand.
        have: usize,
        /// Shards needed.
        need: usize,
    },
    /// Shards of different lengths, or the wrong number of them.
    #[error("shards do not fit together: {0}")]
    Mismatch(String),
}

/// Encodes and rebuilds; keeps the matrices of the codes that it has met.
#[derive(Default)]
pub struct Coder {
    codecs: RwLock<HashMap<Code, Arc<ReedSolomon>>>,
}

impl fmt::Debug for Coder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coder")
    }
}

impl Coder {
    fn codec(&self, code: Code) -> Result<Arc<ReedSolomon>, CodeError> {
        let known = self.codecs.read().unwrap_or_else(PoisonError::into_inner).get(&code).cloned();
        if let Some(codec) = known {
            return Ok(codec);
        }
        let codec = Arc::new(
            ReedSolomon::new(code.k(), code.m()).map_err(|e| CodeError::Mismatch(e.to_string()))?,
        );
        let mut codecs = self.codecs.write().unwrap_or_else(PoisonError::into_inner);
        Ok(codecs.entry(code).or_insert(codec).clone())
    }

    /// Fills in the parity of `stripe`, which holds `k + m` shards of equal length one after the
    /// other; the first `k` are read, the last `m` overwritten.
    ///
    /// # Errors
    /// [`CodeError::Mismatch`] when the length does not divide into `k + m` shards.
    pub fn encode(&self, code: Code, stripe: &mut [u8]) -> Result<(), CodeError> {
        let shard_len = stripe.len() / code.n();
        if shard_len == 0 || shard_len * code.n() != stripe.len() {
            return Err(CodeError::Mismatch(format!(
                "{} bytes are not {} equal shards",
                stripe.len(),
                code.n()
            )));
        }
        let (data, parity) = stripe.split_at_mut(code.k() * shard_len);
        let data: Vec<&[u8]> = data.chunks_exact(shard_len).collect();
        let mut parity: Vec<&mut [u8]> = parity.chunks_exact_mut(shard_len).collect();
        self.codec(code)?
            .encode_sep(&data, &mut parity)
            .map_err(|e| CodeError::Mismatch(e.to_string()))
    }

    /// Rebuilds the missing *data* shards. `shards` has `k + m` places, at least `k` of them
    /// filled with equally long runs of the same blocks.
    ///
    /// # Errors
    /// [`CodeError::TooFew`] with fewer than `k` shards, [`CodeError::Mismatch`] when they do not
    /// fit together.
    pub fn rebuild_data(
        &self,
        code: Code,
        shards: &mut [Option<Vec<u8>>],
    ) -> Result<(), CodeError> {
        self.check(code, shards)?;
        self.codec(code)?.reconstruct_data(shards).map_err(|e| CodeError::Mismatch(e.to_string()))
    }

    /// Rebuilds all missing shards, parity included; otherwise as [`Coder::rebuild_data`].
    ///
    /// # Errors
    /// As [`Coder::rebuild_data`].
    pub fn rebuild_all(&self, code: Code, shards: &mut [Option<Vec<u8>>]) -> Result<(), CodeError> {
        self.check(code, shards)?;
        self.codec(code)?.reconstruct(shards).map_err(|e| CodeError::Mismatch(e.to_string()))
    }

    fn check(&self, code: Code, shards: &[Option<Vec<u8>>]) -> Result<(), CodeError> {
        let have = shards.iter().flatten().count();
        if shards.len() != code.n() {
            Err(CodeError::Mismatch(format!("{} places for code {code}", shards.len())))
        } else if have < code.k() {
            Err(CodeError::TooFew { have, need: code.k() })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn replication_is_copies() {
        let coder = Coder::default();
        let mut stripe = b"abcdef........".to_vec();
        stripe.truncate(6);
        stripe.extend([0; 12]);
        coder.encode(Code::new(1, 2).unwrap(), &mut stripe).unwrap();
        assert_eq!(&stripe, b"abcdefabcdefabcdef");
    }

    #[test]
    fn text_form_round_trips_and_teaches() {
        assert_eq!("8+3".parse::<Code>().map(|c| c.to_string()), Ok("8+3".to_owned()));
        for bad in ["", "4", "4+", "0+2", "4+0", "17+1", "4+9", "a+b"] {
            assert!(bad.parse::<Code>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn codes_read_back_as_they_print(text in "[0-9+ -]{0,8}|\\PC*") {
            if let Ok(code) = text.parse::<Code>() {
                prop_assert_eq!(code.to_string().parse::<Code>(), Ok(code));
            }
        }

        #[test]
        fn any_k_shards_rebuild_all(
            k in 1u8..=10, m in 1u8..=4, len in 1usize..200, seed: u64, lost in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let code = Code::new(k, m).unwrap();
            let coder = Coder::default();
            let mut stripe = vec![0u8; code.n() * len];
            let mut x = seed | 1;
            for b in &mut stripe[..code.k() * len] {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *b = (x >> 56) as u8;
            }
            coder.encode(code, &mut stripe).unwrap();
            let whole: Vec<Vec<u8>> = stripe.chunks(len).map(<[u8]>::to_vec).collect();
            let mut shards: Vec<Option<Vec<u8>>> = whole.iter().cloned().map(Some).collect();
            for i in &lost {
                let i = i.index(code.n());
                shards[i] = None;
            }
            let missing = shards.iter().filter(|s| s.is_none()).count();
            let result = coder.rebuild_all(code, &mut shards);
            if missing <= code.m() {
                result.unwrap();
                prop_assert_eq!(shards.into_iter().flatten().collect::<Vec<_>>(), whole);
            } else {
                prop_assert_eq!(result, Err(CodeError::TooFew { have: code.n() - missing, need: code.k() }));
            }
        }
    }
}

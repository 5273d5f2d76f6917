//! A chunk's true stripe out of the fewest shards, in spite of nodes that lie.
//!
//! A data shard is proven by opening its segments, padding included. Parity can't be opened: what
//! was rebuilt from it can, and if it does not open, other parity is tried. Once the data is proven,
//! all parity follows from it.

use coffer_core::erasure::{CodeError, Coder};
use coffer_core::layout::{ChunkShape, TAG_LEN};
use coffer_core::seal::PartSealer;
use coffer_core::seal::stream::ChunkPosition;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Collects the shards of one chunk until they give its stripe.
pub(super) struct Rebuild {
    coder: Arc<Coder>,
    /// Without it (the client has the key) shards are believed.
    sealer: Option<Arc<PartSealer>>,
    position: ChunkPosition,
    shape: ChunkShape,
    data: BTreeMap<u8, Vec<u8>>,
    parity: BTreeMap<u8, Vec<u8>>,
    /// Sets of parity shards that did not give the data.
    failed: HashSet<Vec<u8>>,
}

impl Rebuild {
    pub(super) fn new(
        coder: Arc<Coder>,
        sealer: Option<Arc<PartSealer>>,
        position: ChunkPosition,
        shape: ChunkShape,
    ) -> Self {
        let (data, parity) = (BTreeMap::new(), BTreeMap::new());
        Self { coder, sealer, position, shape, data, parity, failed: HashSet::new() }
    }

    /// Adds a shard that came whole. Returns whether it may be sound.
    pub(super) fn add(&mut self, index: u8, bytes: Vec<u8>) -> bool {
        let is_data = usize::from(index) < self.shape.code().k();
        if is_data && !self.is_authentic(index, &bytes) {
            return false;
        }
        let shards = if is_data { &mut self.data } else { &mut self.parity };
        shards.insert(index, bytes);
        true
    }

    /// How many more shards it takes at least.
    pub(super) fn wants(&self) -> usize {
        let have = self.data.len() + self.parity.len();
        self.shape.code().k().saturating_sub(have).max(usize::from(self.is_stuck()))
    }

    /// Whether all sets of the parity at hand have been tried in vain.
    fn is_stuck(&self) -> bool {
        let lacking = self.shape.code().k() - self.data.len();
        self.sets(lacking).iter().all(|set| self.failed.contains(set))
    }

    /// The stripe, if the shards at hand give it.
    pub(super) fn stripe(&mut self) -> Result<Option<Vec<u8>>, CodeError> {
        let code = self.shape.code();
        for set in self.sets(code.k() - self.data.len()) {
            if self.failed.contains(&set) {
                continue;
            }
            let mut shards: Vec<Option<Vec<u8>>> = vec![None; code.n()];
            for (index, bytes) in &self.data {
                shards[usize::from(*index)] = Some(bytes.clone());
            }
            for index in &set {
                shards[usize::from(*index)] = self.parity.get(index).cloned();
            }
            self.coder.rebuild_data(code, &mut shards)?;
            let rebuilt = (0u8..).zip(&shards[..code.k()]);
            let mut unproven = rebuilt.filter(|(i, _)| !self.data.contains_key(i));
            let is_true =
                unproven.all(|(i, s)| s.as_ref().is_some_and(|s| self.is_authentic(i, s)));
            if is_true {
                let data = shards.into_iter().take(code.k()).flatten();
                let mut stripe: Vec<u8> = data.flatten().collect();
                stripe.resize(self.shape.stripe_len(), 0);
                self.coder.encode(code, &mut stripe)?;
                return Ok(Some(stripe));
            }
            self.failed.insert(set);
        }
        Ok(None)
    }

    /// Parity shards at hand that a stripe shows to be forged.
    pub(super) fn forged(&self, stripe: &[u8]) -> Vec<u8> {
        let len = self.shape.shard_len() as usize;
        let differs = |(index, bytes): (&u8, &Vec<u8>)| {
            let at = usize::from(*index) * len;
            (stripe.get(at..at + len) != Some(bytes)).then_some(*index)
        };
        self.parity.iter().filter_map(differs).collect()
    }

    /// All sets of `size` of the parity shards at hand.
    fn sets(&self, size: usize) -> Vec<Vec<u8>> {
        let mut sets = vec![Vec::new()];
        for index in self.parity.keys() {
            let with = sets.iter().filter(|s| s.len() < size);
            let with: Vec<Vec<u8>> = with.map(|s| [&s[..], &[*index]].concat()).collect();
            sets.extend(with);
        }
        sets.retain(|s| s.len() == size);
        sets
    }

    fn is_authentic(&self, index: u8, bytes: &[u8]) -> bool {
        self.sealer
            .as_ref()
            .is_none_or(|s| is_authentic(s, self.position, self.shape, index, bytes))
    }
}

/// Whether a whole data shard is as it was sealed.
pub(super) fn is_authentic(
    sealer: &PartSealer,
    position: ChunkPosition,
    shape: ChunkShape,
    index: u8,
    bytes: &[u8],
) -> bool {
    let per_shard = shape.segments_per_shard();
    let first = u32::from(index) * per_shard;
    let segments = first..(first + per_shard).min(shape.segments());
    let sealed: usize =
        segments.clone().map(|i| shape.segment_range(i).len() + TAG_LEN as usize).sum();
    let padded = bytes.len() == shape.shard_len() as usize
        && bytes.get(sealed..).is_some_and(|padding| padding.iter().all(|b| *b == 0));
    padded && sealer.open_segments(position, shape, segments, &mut bytes.to_vec()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::erasure::Code;
    use coffer_core::ids::BlobId;
    use coffer_core::seal::{CipherSuite, Key};
    use proptest::prelude::*;

    const AT: ChunkPosition = ChunkPosition { chunk: 0, last: true };

    fn sealed(len: u32, code: Code) -> (Arc<PartSealer>, ChunkShape, Vec<u8>) {
        let key = Key::from_bytes([7; 32]);
        let sealer =
            PartSealer::new(CipherSuite::default(), &key, BlobId::from_bytes([1; 16])).unwrap();
        let shape = ChunkShape::new(len, code).unwrap();
        let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut stripe = sealer.seal_chunk(AT, shape, &plain).unwrap();
        Coder::default().encode(shape.code(), &mut stripe).unwrap();
        (Arc::new(sealer), shape, stripe)
    }

    proptest! {
        /// Shards come in any order, some of them changed in any byte: what comes out is the
        /// stripe, and as long as k sound ones come, it does come out.
        #[test]
        fn lies_are_never_believed(
            len in 8_000u32..40_000,
            order in Just((0u8..7).collect::<Vec<_>>()).prop_shuffle(),
            lies in prop::collection::vec((0u8..7, any::<prop::sample::Index>()), 0..3),
        ) {
            let (sealer, shape, stripe) = sealed(len, Code::new(4, 3).unwrap());
            let coder = Arc::new(Coder::default());
            let shard_len = shape.shard_len() as usize;
            let mut rebuild = Rebuild::new(coder, Some(sealer), AT, shape);
            let mut got = None;
            for index in order.into_iter().filter(|i| usize::from(*i) < shape.code().n()) {
                let at = usize::from(index) * shard_len;
                let mut bytes = stripe[at..at + shard_len].to_vec();
                for (_, place) in lies.iter().filter(|(liar, _)| *liar == index) {
                    bytes[place.index(shard_len)] ^= 1;
                }
                rebuild.add(index, bytes);
                if rebuild.wants() == 0 {
                    got = rebuild.stripe().unwrap();
                    if got.is_some() { break }
                    prop_assert!(rebuild.wants() > 0);
                }
            }
            let got = got.expect("at most two of seven lie");
            prop_assert!(got == stripe);
            prop_assert!(rebuild.forged(&got).iter().all(|i| lies.iter().any(|(l, _)| l == i)));
        }
    }

    #[test]
    fn without_a_key_the_first_k_shards_are_believed() {
        let (_, shape, stripe) = sealed(10_000, Code::DEFAULT);
        let mut rebuild = Rebuild::new(Arc::new(Coder::default()), None, AT, shape);
        let shard_len = shape.shard_len() as usize;
        for index in [5u8, 1, 2, 4] {
            assert!(rebuild.wants() > 0);
            let at = usize::from(index) * shard_len;
            assert!(rebuild.add(index, stripe[at..at + shard_len].to_vec()));
        }
        assert_eq!(rebuild.wants(), 0);
        assert!(rebuild.stripe().unwrap() == Some(stripe));
    }
}

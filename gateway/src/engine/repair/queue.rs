//! Blobs that need repair, the most urgent first.

use coffer_core::ids::BlobId;
use coffer_core::repair::Urgency;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A bounded queue that holds each blob once. A blob that is being mended does not wait again.
#[derive(Debug)]
pub(super) struct Queue {
    most: usize,
    in_hand: HashSet<BlobId>,
    order: BTreeSet<(Urgency, BlobId)>,
    urgency: HashMap<BlobId, Urgency>,
}

impl Queue {
    /// A queue of at most `most` blobs.
    pub(super) fn new(most: usize) -> Self {
        let (order, urgency, in_hand) = (BTreeSet::new(), HashMap::new(), HashSet::new());
        Self { most, in_hand, order, urgency }
    }

    /// Adds a blob, or makes it more urgent. When the queue is full, the least urgent one gives way.
    /// Returns whether nothing was left out.
    pub(super) fn push(&mut self, blob: BlobId, urgency: Urgency) -> bool {
        if self.in_hand.contains(&blob) {
            return true;
        }
        if let Some(known) = self.urgency.get(&blob).copied() {
            if known <= urgency {
                return true;
            }
            self.order.remove(&(known, blob));
        }
        self.urgency.insert(blob, urgency);
        self.order.insert((urgency, blob));
        if self.order.len() <= self.most {
            return true;
        }
        if let Some((_, least)) = self.order.pop_last() {
            self.urgency.remove(&least);
        }
        false
    }

    /// Takes the most urgent blob in hand, until [`Queue::done`].
    pub(super) fn pop(&mut self) -> Option<BlobId> {
        let (_, blob) = self.order.pop_first()?;
        self.urgency.remove(&blob);
        self.in_hand.insert(blob);
        Some(blob)
    }

    /// Lets a blob go that was taken.
    pub(super) fn done(&mut self, blob: BlobId) {
        self.in_hand.remove(&blob);
    }

    /// Whether it has room for a page more.
    pub(super) fn has_room(&self, page: usize) -> bool {
        self.order.len() + page <= self.most
    }

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.urgency.clear();
    }

    /// How many blobs wait, by urgency.
    pub(super) fn counts(&self) -> BTreeMap<Urgency, usize> {
        let mut counts = BTreeMap::new();
        self.order.iter().for_each(|(urgency, _)| *counts.entry(*urgency).or_insert(0) += 1);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(n: u8) -> BlobId {
        BlobId::from_bytes([n; 16])
    }

    #[test]
    fn the_most_urgent_comes_first_and_the_least_urgent_gives_way() {
        let missing = |spare| Urgency::Missing { spare };
        let mut queue = Queue::new(3);
        assert!(queue.push(blob(1), Urgency::Misplaced));
        assert!(queue.push(blob(2), missing(1)));
        assert!(queue.push(blob(3), missing(2)));
        assert!(queue.push(blob(3), missing(0)), "known, but more urgent now");
        assert!(queue.push(blob(3), Urgency::Misplaced), "it stays as urgent as it was");
        assert!(!queue.push(blob(4), missing(1)));
        assert_eq!(queue.counts(), BTreeMap::from([(missing(0), 1), (missing(1), 2)]));
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [3, 2, 4].map(|n| Some(blob(n))));
        assert!(queue.push(blob(3), missing(0)), "it is being mended");
        assert!(queue.pop().is_none() && queue.counts().is_empty());
        queue.done(blob(3));
        assert!(queue.push(blob(3), missing(0)) && queue.pop() == Some(blob(3)));
    }
}

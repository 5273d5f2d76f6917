//! How an object is cut into parts.

use super::MIB;
use crate::error::Error;
use std::ops::Range;

/// The most parts an upload may have.
pub const MAX_PARTS: u64 = 10_000;
/// The smallest size of every part but the last.
pub const MIN_PART_BYTES: u64 = 5 * MIB;
/// The largest part.
const MAX_PART_BYTES: u64 = 5 * 1024 * MIB;
/// The largest object that can be put together from parts.
pub const MAX_OBJECT_BYTES: u64 = MAX_PARTS * MAX_PART_BYTES;
/// Part sizes are multiples of this: the gateway seals chunks of 4 MiB, and a part that fills its
/// chunks leaves no short one behind.
const PART_STEP: u64 = 4 * MIB;

/// An object of known size, cut into parts of equal size (the last may be shorter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPlan {
    range: (u64, u64),
    part: u64,
}

impl PartPlan {
    /// Parts of about `wanted` bytes for an object of `size` bytes.
    ///
    /// # Errors
    /// If no object may be so large.
    pub fn new(size: u64, wanted: u64) -> Result<Self, Error> {
        if size > MAX_OBJECT_BYTES {
            return Err(Error::TooLarge { size, limit: MAX_OBJECT_BYTES });
        }
        let least = size.div_ceil(MAX_PARTS).max(wanted).max(MIN_PART_BYTES);
        let part = least.next_multiple_of(PART_STEP).min(MAX_PART_BYTES);
        Ok(Self { range: (0, size), part })
    }

    /// The same part size over a range of bytes, for reading.
    pub fn over(range: Range<u64>, wanted: u64) -> Self {
        let part = wanted.max(PART_STEP).next_multiple_of(PART_STEP);
        Self { range: (range.start, range.end.max(range.start)), part }
    }

    /// Size of every part but the last, in bytes.
    pub fn part_bytes(&self) -> u64 {
        self.part
    }

    /// The parts' places in the object, in order, without gaps.
    pub fn parts(&self) -> impl Iterator<Item = Range<u64>> + Send + use<> {
        let Self { range: (start, end), part } = *self;
        std::iter::successors(Some(start), move |at| at.checked_add(part))
            .take_while(move |at| *at < end)
            .map(move |at| at..end.min(at.saturating_add(part)))
    }
}

/// The size of part `index` (from 0) of a stream whose length is unknown: `wanted` at first,
/// doubled after each thousand parts, so that an endless stream still ends at the size limit of
/// objects and not at the limit of parts.
pub(super) fn stream_part_bytes(wanted: u64, index: u64) -> u64 {
    let doublings = u32::try_from(index / 1000).unwrap_or(u32::MAX).min(20);
    let base = wanted.max(MIN_PART_BYTES).next_multiple_of(PART_STEP);
    base.saturating_mul(1 << doublings).min(MAX_PART_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_usual_object_has_usual_parts() {
        let plan = PartPlan::new(20 * MIB + 1, 8 * MIB).unwrap();
        let parts: Vec<_> = plan.parts().collect();
        assert_eq!(
            parts,
            [0..8 * MIB, 8 * MIB..16 * MIB, 16 * MIB..20 * MIB + 1],
            "8 MiB each and a rest"
        );
        assert_eq!(PartPlan::new(0, 8 * MIB).unwrap().parts().count(), 0);
    }

    #[test]
    fn limits_hold_at_the_edges() {
        let largest = PartPlan::new(MAX_OBJECT_BYTES, 8 * MIB).unwrap();
        assert_eq!(largest.parts().count() as u64, MAX_PARTS);
        assert!(matches!(
            PartPlan::new(MAX_OBJECT_BYTES + 1, 8 * MIB),
            Err(Error::TooLarge { .. })
        ));
        assert_eq!(PartPlan::new(1, 1).unwrap().part_bytes(), 8 * MIB, "5 MiB, rounded up");
    }

    #[test]
    fn streams_can_grow_large_within_the_limit_of_parts() {
        let total: u64 = (0..MAX_PARTS).map(|index| stream_part_bytes(8 * MIB, index)).sum();
        assert!(total > 5 * 1024 * 1024 * MIB, "more than 5 TiB: {total}");
        assert_eq!(stream_part_bytes(8 * MIB, 999), 8 * MIB);
        assert_eq!(stream_part_bytes(8 * MIB, 1000), 16 * MIB);
        assert_eq!(stream_part_bytes(u64::MAX / 2, u64::MAX), MAX_PART_BYTES);
    }

    proptest! {
        #[test]
        fn parts_cover_the_object_exactly(size in 0..MAX_OBJECT_BYTES, wanted in 0..64 * MIB) {
            let plan = PartPlan::new(size, wanted).unwrap();
            let mut at = 0;
            let mut count = 0;
            for part in plan.parts() {
                prop_assert_eq!(part.start, at);
                prop_assert!(part.end > part.start);
                let length = part.end - part.start;
                prop_assert!(length == plan.part_bytes() || part.end == size);
                prop_assert!(length <= MAX_PART_BYTES);
                at = part.end;
                count += 1;
            }
            prop_assert_eq!(at, size);
            prop_assert!(count <= MAX_PARTS);
            prop_assert!(plan.part_bytes() >= MIN_PART_BYTES.max(wanted));
        }

        #[test]
        fn a_range_is_covered_exactly(start in 0..1_u64 << 40, length in 0..256 * MIB) {
            let plan = PartPlan::over(start..start + length, 8 * MIB);
            let total: u64 = plan.parts().map(|part| part.end - part.start).sum();
            prop_assert_eq!(total, length);
            prop_assert!(plan.parts().all(|part| part.start >= start));
        }
    }
}

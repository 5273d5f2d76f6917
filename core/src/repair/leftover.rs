//! What a repair has written and left behind when it was cut off.

use super::plan::Step;
use crate::manifest::{ChunkRef, Move};
use crate::shard::ShardKey;

/// The step that makes a shard dead which a repair has written ahead of the catalog
/// ([`super::Verdict::Ahead`]) and never committed: the shard that is needed is copied, on its own
/// node, to the next generation. Once there is none behind it, what was left is dead. Until then the name could still be committed, so it can't be
/// deleted. `None`: the name is dead already, or will be when the shard that is owed is written.
///
/// A repair that is only slow loses the race, or wins it; both are sound. So whoever takes this step
/// should have seen the shard in an earlier round too.
pub fn overtake(chunk: ChunkRef<'_>, left: ShardKey) -> Option<Step> {
    let now = chunk.key(left.index);
    let holder = chunk.node_of(left.index.into())?;
    let same = (now.blob, now.chunk) == (left.blob, left.chunk);
    if !same || left.generation <= now.generation {
        return None;
    }
    Some(Step::Copy(Move {
        chunk: now.chunk,
        index: now.index,
        from: Some(holder),
        generation: now.generation,
        to: holder,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::records::BlobOwner;
    use crate::erasure::Code;
    use crate::ids::{BlobId, BucketName, NodeId, ObjectKey, VersionId};
    use crate::layout::ChunkShape;
    use crate::manifest::{Checksums, Chunk, Content, Part};
    use crate::repair::{Verdict, judge};

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 16])
    }

    #[test]
    fn what_was_left_ahead_is_dead_once_it_is_overtaken() {
        let shape = ChunkShape::new(2000, Code::new(1, 2).unwrap()).unwrap();
        let placed = vec![Some(0), Some(1), None];
        let chunks = vec![Chunk { shape, placed, generations: vec![] }];
        let mut part = Part {
            blob: BlobId::from_bytes([1; 16]),
            wrapped_key: vec![],
            size: 2000,
            md5: [0; 16],
            checksums: Checksums::new(),
            content: Content::Sharded { nodes: vec![node(1), node(2)], chunks },
        };
        let owner = BlobOwner::Version {
            bucket: BucketName::new("bucket").unwrap(),
            key: ObjectKey::new("key").unwrap(),
            version: VersionId::from_bytes([2; 16]),
        };
        let chunk = part.chunk(0).unwrap();
        let left = ShardKey { generation: 1, ..chunk.key(0) };
        assert_eq!(judge(node(7), left, Some(&owner), Some(&part)), Verdict::Ahead);
        assert_eq!(overtake(chunk, chunk.key(0)), None, "it is needed");
        let owed = ShardKey { generation: 1, ..chunk.key(2) };
        assert_eq!(overtake(chunk, owed), None, "repair will write that shard anyway");
        let Some(Step::Copy(step)) = overtake(chunk, left) else { panic!("no step") };
        assert_eq!(
            part.relocate(&[step]).unwrap(),
            vec![(node(1), ShardKey { generation: 0, ..left })]
        );
        assert_eq!(judge(node(7), left, Some(&owner), Some(&part)), Verdict::Dead);
        assert_eq!(judge(node(1), left, Some(&owner), Some(&part)), Verdict::Needed);
    }
}

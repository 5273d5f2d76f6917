//! Whether a shard that is found on a node is needed there.

use crate::catalog::records::BlobOwner;
use crate::ids::NodeId;
use crate::manifest::Part;
use crate::shard::ShardKey;

/// What is to become of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The manifest says that it is here, under this name.
    Needed,
    /// It has been moved away, or rebuilt elsewhere: nobody can ever need it again.
    Dead,
    /// A repair has written it and was not, or not yet, committed.
    Ahead,
    /// Its blob is garbage: the garbage collection deletes it.
    Garbage,
    /// Its blob was condemned: nobody can claim it any more.
    Condemned,
    /// The catalog does not know its blob: a write in progress, or what one has left behind.
    Unclaimed,
    /// It is the catalog's own.
    Reserved,
}

/// Judges a shard that was listed by `node`, by what the catalog said *afterwards* about its blob:
/// `part` is that of a live blob.
pub fn judge(
    node: NodeId,
    key: ShardKey,
    owner: Option<&BlobOwner>,
    part: Option<&Part>,
) -> Verdict {
    if key.blob.is_reserved() {
        return Verdict::Reserved;
    }
    match owner {
        None => return Verdict::Unclaimed,
        Some(BlobOwner::Garbage(_)) => return Verdict::Garbage,
        Some(BlobOwner::Condemned { .. }) => return Verdict::Condemned,
        Some(BlobOwner::Version { .. } | BlobOwner::Part { .. }) => {}
    }
    let chunk = part.and_then(|p| p.chunk(key.chunk));
    // A live blob's manifest names all its shards; what it does not name, no write of ours made.
    let Some(chunk) = chunk.filter(|c| usize::from(key.index) < c.shards()) else {
        return Verdict::Ahead;
    };
    let current = chunk.key(key.index).generation;
    match (key.generation.cmp(&current), chunk.node_of(key.index.into())) {
        (std::cmp::Ordering::Less, _) => Verdict::Dead,
        (std::cmp::Ordering::Equal, Some(holder)) if holder == node => Verdict::Needed,
        (std::cmp::Ordering::Equal, Some(_)) => Verdict::Dead,
        // Still owed: a put that was given up may have arrived, and it may yet be asked for.
        (std::cmp::Ordering::Equal, None) => Verdict::Ahead,
        (std::cmp::Ordering::Greater, _) => Verdict::Ahead,
    }
}

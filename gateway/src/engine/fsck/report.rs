//! What a check tells, record by record.

use coffer_core::ids::{BlobId, NodeId};
use coffer_core::repair::{Risk, ShardState, Tally, Verdict};
use coffer_core::shard::ShardKey;
use serde::Serialize;
use std::collections::BTreeMap;

/// One line of a report. Blobs come in the order of their ids; the last record is
/// [`Record::Summary`], or says why there is none.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// How far it is.
    Progress(Progress),
    /// A node that can't be asked now. What it holds counts as unreachable.
    Node(Silent),
    /// A part of an object or of an upload that is not whole.
    Part(Box<Ailing>),
    /// A blob on nodes that nobody has claimed: a write that is under way, or what one has left.
    Orphan(Orphan),
    /// All has been compared.
    Summary(Box<Summary>),
    /// The check broke off.
    Failed {
        /// Why.
        why: String,
    },
}

/// How far a check is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Of all, from 0 to 1. An estimate: blobs are spread evenly over their ids.
    pub done: f64,
    /// Parts that were compared.
    pub parts: u64,
    /// Shards that nodes have listed.
    pub shards: u64,
}

/// A node that can't be asked.
#[derive(Debug, Clone, Serialize)]
pub struct Silent {
    /// Its id.
    pub id: String,
    /// Its name in the cluster map.
    pub name: String,
    /// Why.
    pub why: String,
}

/// A part that is not whole.
#[derive(Debug, Clone, Serialize)]
pub struct Ailing {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// The version of the object as S3 names it; absent for a part of an upload.
    pub version: Option<String>,
    /// The upload that it is a part of, and its number there.
    pub upload: Option<(String, u16)>,
    /// The name of its sealed data.
    pub blob: String,
    /// How its worst chunk is, and so the part.
    pub risk: Risk,
    /// The worst chunk's shards.
    pub worst: Tally,
    /// Its chunks.
    pub chunks: u64,
    /// Those that are not whole.
    pub ailing_chunks: u64,
    /// Shards that are not sound, at most [`MOST_SHARDS`] of them.
    pub shards: Vec<AilingShard>,
}

/// The most shards that one record lists.
pub const MOST_SHARDS: usize = 64;

/// A shard that is not sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AilingShard {
    /// The chunk's number.
    pub chunk: u32,
    /// The shard's number in the chunk.
    pub index: u8,
    /// The node that should have it, by its name; absent if it is owed.
    pub node: Option<String>,
    /// How it is.
    pub state: ShardState,
    /// The generation under which its node has the shard, in the place of the one that is wanted.
    pub other_generation: Option<u16>,
}

/// A blob on nodes that nobody has claimed.
#[derive(Debug, Clone, Serialize)]
pub struct Orphan {
    /// Its name.
    pub blob: String,
    /// Its shards on nodes.
    pub shards: u64,
}

/// Shards on nodes that no live blob needs, by what is to become of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Leftovers {
    /// Of deleted objects: garbage collection deletes them after its grace period.
    pub garbage: u64,
    /// Under names that were left when the shard moved: the sweep deletes them.
    pub dead: u64,
    /// Of blobs that were given up: the sweep deletes them.
    pub condemned: u64,
    /// Written by a repair that has not committed them, or not yet.
    pub ahead: u64,
    /// Of blobs that nobody has claimed, or not yet; each is an [`Orphan`] if it stays so.
    pub unclaimed: u64,
    /// The catalog's journal. Not left over, only not anybody's.
    pub reserved: u64,
}

impl Leftovers {
    pub(super) fn count(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Needed => return,
            Verdict::Garbage => &mut self.garbage,
            Verdict::Dead => &mut self.dead,
            Verdict::Condemned => &mut self.condemned,
            Verdict::Ahead => &mut self.ahead,
            Verdict::Unclaimed => &mut self.unclaimed,
            Verdict::Reserved => &mut self.reserved,
        } += 1;
    }
}

/// What a whole check has found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Parts of objects and uploads, by how they are.
    pub parts: BTreeMap<Risk, u64>,
    /// Shards that nodes have listed.
    pub shards: u64,
    /// Shards of live parts that are not sound, by how they are.
    pub ailing: BTreeMap<ShardState, u64>,
    /// Shards that no live part needs. None are looked for in a check of one bucket.
    pub leftovers: Option<Leftovers>,
    /// Orphaned blobs.
    pub orphans: u64,
    /// Orphaned blobs beyond the bound on what is remembered: they are counted, and not listed.
    pub orphans_not_listed: u64,
    /// Findings of scrubs that wait for repair, needed shards or not.
    pub findings: u64,
    /// Nodes that could not be asked.
    pub silent_nodes: u64,
    /// Shards that repair was told of.
    pub queued: u64,
    /// Shards that repair had no room for: it, or the sweep, finds them again.
    pub not_queued: u64,
}

/// A shard that is not sound, and where it should be.
pub(super) type Suspect = (NodeId, ShardKey);

/// How far a pass over all blobs is after this one, from 0 to 1.
pub(super) fn fraction(blob: Option<BlobId>) -> f64 {
    let first = |id: BlobId| u16::from_be_bytes([id.as_bytes()[0], id.as_bytes()[1]]);
    blob.map_or(1.0, |id| f64::from(first(id)) / f64::from(u16::MAX))
}

//! Comparing the catalog with what the storage nodes hold.

use super::call;
use crate::client::Client;
use crate::error::Error;
use crate::s3::Lines;
use http::Method;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What is to be checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsckOptions {
    /// Only the objects and uploads of this bucket.
    pub bucket: Option<String>,
    /// Whether repair is told of what is lost or damaged.
    pub repair: bool,
}

/// How a part of an object is. The worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// All its shards are sound.
    Whole,
    /// Some are not, and more may be lost.
    Degraded,
    /// It can be read, and one more loss would end that.
    AtRisk,
    /// It can't be read, unless nodes that can't be asked come back.
    Unavailable,
    /// Even all that may still be there is not enough.
    Lost,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Whole => "whole",
            Self::Degraded => "degraded",
            Self::AtRisk => "at risk",
            Self::Unavailable => "unavailable",
            Self::Lost => "lost",
        })
    }
}

/// One line of a check's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FsckRecord {
    /// How far it is.
    Progress(FsckProgress),
    /// A storage node that can't be asked now.
    Node(SilentNode),
    /// A part of an object or of an upload that is not whole.
    Part(AilingPart),
    /// A blob on nodes that nobody has claimed: a write under way, or what one has left.
    Orphan(Orphan),
    /// All was compared; nothing follows.
    Summary(FsckSummary),
    /// The check broke off; nothing follows.
    Failed {
        /// Why.
        why: String,
    },
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FsckProgress {
    /// Of all, from 0 to 1. An estimate.
    pub done: f64,
    /// Parts that were compared.
    pub parts: u64,
    /// Shards that nodes have listed.
    pub shards: u64,
}

/// A storage node that can't be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentNode {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// The shards of one chunk, counted by how they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardTally {
    /// How many it takes to read the chunk.
    pub needed: u64,
    /// How many there should be.
    pub shards: u64,
    /// As they should be.
    pub sound: u64,
    /// On nodes that can't be asked.
    pub unreachable: u64,
    /// Not written yet.
    pub owed: u64,
    /// Damaged on their nodes.
    pub damaged: u64,
    /// Lost by their nodes, or with them.
    pub missing: u64,
}

/// A part that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AilingPart {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// The version as S3 names it; `None` for a part of an upload.
    pub version: Option<String>,
    /// The upload that it is a part of, and its number there.
    pub upload: Option<(String, u16)>,
    /// The name of its sealed data.
    pub blob: String,
    /// How its worst chunk is.
    pub risk: Risk,
    /// The worst chunk's shards.
    pub worst: ShardTally,
    /// Its chunks.
    pub chunks: u64,
    /// Those that are not whole.
    pub ailing_chunks: u64,
    /// Some of the shards that are not sound.
    pub shards: Vec<AilingShard>,
}

/// A shard that is not sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AilingShard {
    /// The chunk's number.
    pub chunk: u32,
    /// The shard's number in the chunk.
    pub index: u8,
    /// The name of the node that should have it; `None` if it is owed.
    pub node: Option<String>,
    /// How it is: `unreachable`, `owed`, `damaged`, `missing`.
    pub state: String,
    /// The generation under which its node has it instead.
    pub other_generation: Option<u16>,
}

/// A blob on nodes that nobody has claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// Its name.
    pub blob: String,
    /// Its shards on nodes.
    pub shards: u64,
}

/// What a whole check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsckSummary {
    /// Parts of objects and uploads, by how they are.
    pub parts: BTreeMap<Risk, u64>,
    /// Shards that nodes have listed.
    pub shards: u64,
    /// Shards that are not sound, by how they are.
    pub ailing: BTreeMap<String, u64>,
    /// Shards on nodes that no live part needs, by what is to become of them: `garbage`, `dead`,
    /// `condemned`, `ahead`, `unclaimed`, `reserved` (the journal). `None` in a check of one bucket.
    pub leftovers: Option<BTreeMap<String, u64>>,
    /// Orphaned blobs.
    pub orphans: u64,
    /// Orphaned blobs that were too many to be listed.
    pub orphans_not_listed: u64,
    /// Findings of scrubs that wait for repair.
    pub findings: u64,
    /// Nodes that could not be asked.
    pub silent_nodes: u64,
    /// Shards that repair was told of.
    pub queued: u64,
    /// Shards that repair had no room for.
    pub not_queued: u64,
}

impl FsckSummary {
    /// How the worst part is.
    pub fn worst(&self) -> Risk {
        let found = self.parts.iter().filter(|(_, count)| **count > 0);
        found.map(|(risk, _)| *risk).max().unwrap_or(Risk::Whole)
    }
}

/// A check under way. It ends on the gateway, too, when this is dropped.
#[derive(Debug)]
pub struct Fsck {
    lines: Lines,
    has_ended: bool,
}

impl Fsck {
    /// The next record; `None` after a summary or a failure.
    ///
    /// # Errors
    /// When the answer breaks off or makes no sense.
    pub async fn next(&mut self) -> Result<Option<FsckRecord>, Error> {
        match self.lines.next().await? {
            Some(record) => {
                let last = matches!(record, FsckRecord::Summary(_) | FsckRecord::Failed { .. });
                self.has_ended |= last;
                Ok(Some(record))
            }
            None if self.has_ended => Ok(None),
            None => Err(self.lines.nonsense("it breaks off before the summary")),
        }
    }
}

impl Client {
    /// Has the gateway compare the catalog with what the storage nodes hold. Changes nothing but
    /// what `options` ask for.
    ///
    /// # Errors
    /// Of kind [`crate::ErrorKind::AccessDenied`], or as for any request.
    pub async fn fsck(&self, options: &FsckOptions) -> Result<Fsck, Error> {
        let mut request = call(Method::POST, "fsck");
        if let Some(bucket) = &options.bucket {
            request = request.query("bucket", bucket);
        }
        if options.repair {
            request = request.query("repair", "true");
        }
        Ok(Fsck { lines: request.open(self).await?, has_ended: false })
    }
}

//! One page of blobs, on all nodes.

use super::report::Suspect;
use super::{Fsck, Stop};
use crate::engine::compare::{self, Wanted};
use coffer_core::catalog::CatalogError;
use coffer_core::catalog::records::BlobOwner;
use coffer_core::ids::{BlobId, BucketName, NodeId};
use coffer_core::repair::{ShardState, Verdict};
use coffer_core::shard::{MAX_BATCH, ShardError, ShardInfo, ShardKey};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::HashMap;

/// Nodes that are asked side by side.
const NODES: usize = 8;
/// Shards in doubt that are looked at side by side.
const DOUBTS: usize = 16;
/// Shards that a node may list beyond those that are wanted before it takes another call.
const SLACK: usize = 256;

/// What a node's list shows of a page.
struct Seen {
    node: NodeId,
    shards: u64,
    /// Shards that are wanted and need a closer look, and whether all of the shard.
    doubts: Vec<(ShardKey, ShardInfo, bool)>,
    /// Shards that are wanted of a node which can't be asked.
    unreachable: Vec<ShardKey>,
    why: Option<ShardError>,
    /// Shards that are not wanted.
    others: Vec<(ShardKey, ShardInfo, Verdict)>,
}

/// What is wrong with shards that are wanted, and generations that their nodes have instead.
#[derive(Default)]
pub(super) struct Wrong {
    pub(super) states: HashMap<Suspect, ShardState>,
    pub(super) generations: HashMap<(NodeId, BlobId, u32, u8), u16>,
}

/// The greatest name that a shard of a blob can have.
fn end_of(blob: BlobId) -> ShardKey {
    ShardKey { blob, chunk: u32::MAX, index: u8::MAX, generation: u16::MAX }
}

fn bucket_of(owner: &BlobOwner) -> Option<&BucketName> {
    match owner {
        BlobOwner::Version { bucket, .. } | BlobOwner::Part { bucket, .. } => Some(bucket),
        BlobOwner::Garbage(_) | BlobOwner::Condemned { .. } => None,
    }
}

impl Fsck {
    /// Compares the page of blobs after this one. Returns where it ends.
    pub(super) async fn page(&mut self, after: Option<BlobId>) -> Result<Option<BlobId>, Stop> {
        let mut wanted = Wanted::after(&self.catalog, after).await?;
        if let Some(bucket) = &self.options.bucket {
            wanted.parts.retain(|(owner, _)| bucket_of(owner) == Some(bucket));
        }
        self.map = self.engine.nodes().map();
        let (from, until) = (after.map(end_of), wanted.last.map(end_of));
        let skip = self.options.bucket.is_some() && wanted.parts.is_empty();
        let nodes = if skip { Vec::new() } else { self.nodes() };
        let asked = nodes.into_iter().map(|node| self.look(node, &wanted, from, until));
        let seen: Vec<Seen> = stream::iter(asked).buffer_unordered(NODES).try_collect().await?;
        let wrong = self.weigh(seen).await?;
        self.judge(&wanted, &wrong).await?;
        self.progress.parts += wanted.parts.len() as u64;
        Ok(wanted.last)
    }

    /// What a node lists between two names, beside what is wanted of it.
    async fn look(
        &self,
        node: NodeId,
        wanted: &Wanted,
        mut after: Option<ShardKey>,
        until: Option<ShardKey>,
    ) -> Result<Seen, CatalogError> {
        let mut lacking: HashMap<ShardKey, ShardInfo> = wanted.of(node).collect();
        let (doubts, unreachable, others) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen = Seen { node, shards: 0, doubts, unreachable, why: None, others };
        if self.is_silent(node) {
            seen.unreachable = lacking.into_keys().collect();
            return Ok(seen);
        }
        let limit = (lacking.len() + SLACK).min(MAX_BATCH);
        let damaged = self.findings.get(&node);
        loop {
            let page = match self.engine.list(node, after, limit).await {
                Ok(page) => page,
                Err(error) => {
                    self.leave_alone(node);
                    seen.unreachable = lacking.into_keys().collect();
                    seen.why = Some(error);
                    return Ok(seen);
                }
            };
            let mut others = Vec::new();
            let is_full = page.len() == limit;
            after = page.last().map(|(key, _)| *key);
            for (key, info) in page.into_iter().take_while(|(k, _)| until.is_none_or(|u| *k <= u)) {
                seen.shards += 1;
                match lacking.remove(&key) {
                    Some(want) if want == info && damaged.is_none_or(|d| !d.contains(&key)) => {}
                    Some(want) => seen.doubts.push((key, want, true)),
                    None => others.push((key, info)),
                }
            }
            seen.others.extend(self.verdicts(node, others).await?);
            if !is_full || after.is_none_or(|after| until.is_some_and(|until| after >= until)) {
                break;
            }
        }
        seen.doubts.extend(lacking.into_iter().map(|(key, info)| (key, info, false)));
        Ok(seen)
    }

    /// What is to be thought of shards that are not wanted, by what is current after they were
    /// listed. Of a single bucket's check they are not looked at.
    async fn verdicts(
        &self,
        node: NodeId,
        listed: Vec<(ShardKey, ShardInfo)>,
    ) -> Result<Vec<(ShardKey, ShardInfo, Verdict)>, CatalogError> {
        if listed.is_empty() || self.options.bucket.is_some() {
            return Ok(Vec::new());
        }
        self.catalog.current().await?;
        let keys: Vec<ShardKey> = listed.iter().map(|(key, _)| *key).collect();
        let verdicts = compare::verdicts(&self.catalog, node, &keys).await?;
        let with_info = listed.into_iter().zip(verdicts);
        Ok(with_info.map(|((key, info), (_, verdict))| (key, info, verdict)).collect())
    }

    /// Takes a closer look at what is in doubt, and counts the rest.
    async fn weigh(&mut self, seen: Vec<Seen>) -> Result<Wrong, Stop> {
        let (mut wrong, mut doubts) = (Wrong::default(), Vec::new());
        for seen in seen {
            let node = seen.node;
            self.progress.shards += seen.shards;
            if let Some(why) = seen.why {
                self.tell_silent(node, why.to_string()).await?;
            }
            let unreachable = seen.unreachable.into_iter();
            wrong.states.extend(unreachable.map(|key| ((node, key), ShardState::Unreachable)));
            doubts.extend(seen.doubts.into_iter().map(|(key, info, all)| (node, key, info, all)));
            for (key, info, verdict) in seen.others {
                if let Some(leftovers) = &mut self.summary.leftovers {
                    leftovers.count(verdict);
                }
                match verdict {
                    Verdict::Unclaimed => self.note_orphan(node, key, info),
                    Verdict::Dead | Verdict::Ahead => {
                        let shard = (node, key.blob, key.chunk, key.index);
                        wrong.generations.insert(shard, key.generation);
                    }
                    _ => {}
                }
            }
        }
        let this = &*self;
        let looks = doubts.into_iter().map(|(node, key, info, all)| async move {
            let state = match this.is_silent(node) {
                true => ShardState::Unreachable,
                false => this.engine.examine(node, key, info, all).await,
            };
            if state == ShardState::Unreachable {
                this.leave_alone(node);
            }
            ((node, key), state)
        });
        let looked: Vec<_> = stream::iter(looks).buffer_unordered(DOUBTS).collect().await;
        wrong.states.extend(looked.into_iter().filter(|(_, state)| *state != ShardState::Sound));
        Ok(wrong)
    }
}

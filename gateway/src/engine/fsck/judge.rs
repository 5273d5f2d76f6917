//! What a page of blobs shows of the parts that they are.

use super::page::Wrong;
use super::report::{Ailing, AilingShard, MOST_SHARDS, Record, Suspect};
use super::{Fsck, Stop};
use crate::catalog::handle::Catalog;
use crate::engine::compare::Wanted;
use coffer_core::catalog::Scope;
use coffer_core::catalog::records::BlobOwner;
use coffer_core::ids::BlobId;
use coffer_core::manifest::{ChunkRef, Part};
use coffer_core::repair::{Risk, ShardState, Tally};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Fsck {
    /// Judges the parts of a page. Those with something wrong are looked up again: what was moved
    /// or deleted meanwhile is nobody's loss.
    pub(super) async fn judge(&mut self, wanted: &Wanted, wrong: &Wrong) -> Result<(), Stop> {
        let mut blobs: BTreeSet<BlobId> = wrong.states.keys().map(|(_, key)| key.blob).collect();
        for (_, part) in &wanted.parts {
            let on_gone =
                |chunk: ChunkRef<'_>| chunk.placed().any(|(node, _)| !self.map.is_member(node));
            if part.owes_shards() || part.chunks().any(on_gone) {
                blobs.insert(part.blob);
            }
        }
        let whole = wanted.parts.len().saturating_sub(blobs.len());
        *self.summary.parts.entry(Risk::Whole).or_default() += whole as u64;
        if blobs.is_empty() {
            return Ok(());
        }
        self.catalog.current().await?;
        // With an older map, nodes that were added since would pass for gone.
        if let Some(map) = self.catalog.read(Scope::Hidden, Catalog::cluster).await? {
            self.map = Arc::new(map);
        }
        let map = self.map.clone();
        let mut lost = Vec::new();
        for blob in blobs {
            let found = self.catalog.read(Scope::Hidden, |c| c.blob_part(blob)).await?;
            let Some((owner, part)) = found else { continue };
            let state = |chunk: ChunkRef<'_>, index: u8| match chunk.node_of(index.into()) {
                None => ShardState::Owed,
                Some(node) if !map.is_member(node) => ShardState::Missing,
                Some(node) => {
                    let state = wrong.states.get(&(node, chunk.key(index)));
                    state.copied().unwrap_or(ShardState::Sound)
                }
            };
            let ailing = self.ailing(&owner, &part, &state, wrong, &mut lost).await?;
            let risk = ailing.as_ref().map_or(Risk::Whole, |ailing| ailing.risk);
            *self.summary.parts.entry(risk).or_default() += 1;
            if let Some(ailing) = ailing {
                self.tell(Record::Part(Box::new(ailing))).await?;
            }
        }
        if self.options.repair && !lost.is_empty() {
            self.queue(lost).await?;
        }
        Ok(())
    }

    /// What is wrong with a part, if anything is. `lost` gets the shards that repair can write anew
    /// where they should be.
    async fn ailing(
        &mut self,
        owner: &BlobOwner,
        part: &Part,
        state: &impl Fn(ChunkRef<'_>, u8) -> ShardState,
        wrong: &Wrong,
        lost: &mut Vec<Suspect>,
    ) -> Result<Option<Ailing>, Stop> {
        let (mut worst, mut chunks, mut ailing_chunks) = (None, 0, 0);
        let mut shards = Vec::new();
        for chunk in part.chunks() {
            chunks += 1;
            let tally = Tally::of(chunk, |index| state(chunk, index));
            if tally.risk() == Risk::Whole {
                continue;
            }
            ailing_chunks += 1;
            if worst.is_none_or(|w: Tally| (w.risk(), tally.sound) < (tally.risk(), w.sound)) {
                worst = Some(tally);
            }
            for index in (0..=u8::MAX).take(chunk.shards()) {
                let (key, state) = (chunk.key(index), state(chunk, index));
                if state == ShardState::Sound {
                    continue;
                }
                *self.summary.ailing.entry(state).or_default() += 1;
                let node = chunk.node_of(index.into());
                if let (Some(node), ShardState::Missing | ShardState::Damaged) = (node, state) {
                    lost.push((node, key));
                }
                if shards.len() < MOST_SHARDS {
                    let instead =
                        node.and_then(|n| wrong.generations.get(&(n, key.blob, key.chunk, index)));
                    shards.push(AilingShard {
                        chunk: key.chunk,
                        index,
                        node: node.map(|node| self.map.name_of(node)),
                        state,
                        other_generation: instead.copied(),
                    });
                }
            }
        }
        let Some(worst) = worst else { return Ok(None) };
        let (bucket, key, version, upload) = match owner {
            BlobOwner::Version { bucket, key, version } => {
                let name = |c: &Catalog| c.name_of_version(bucket, key, *version);
                let name = self.catalog.read(Scope::Hidden, name).await?;
                // It may have been deleted this moment.
                let name = name.map_or_else(|| version.to_string(), |name| name.to_string());
                (bucket, key, Some(name), None)
            }
            BlobOwner::Part { bucket, key, upload, number } => {
                (bucket, key, None, Some((upload.to_string(), number.get())))
            }
            BlobOwner::Garbage(_) | BlobOwner::Condemned { .. } => return Ok(None),
        };
        Ok(Some(Ailing {
            bucket: bucket.as_str().to_owned(),
            key: key.as_str().to_owned(),
            version,
            upload,
            blob: part.blob.to_string(),
            risk: worst.risk(),
            worst,
            chunks,
            ailing_chunks,
            shards,
        }))
    }
}

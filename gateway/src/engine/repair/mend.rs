//! Mending one blob: read, rebuild, write, tell the catalog.

use super::rebuild::{Rebuild, is_authentic};
use super::{RepairError, Repairer};
use crate::engine::nodes::Kind;
use bytes::Bytes;
use coffer_core::catalog::records::BlobOwner;
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::manifest::{ChunkRef, Move, Part};
use coffer_core::random;
use coffer_core::repair::{Step, Verdict, judge, overtake};
use coffer_core::seal::PartSealer;
use coffer_core::shard::{BlockRange, ShardError, ShardKey, ShardStore};
use futures::future::join_all;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Moves that are told to the catalog at once.
const MOVES: usize = 64;

/// A shard that is to be written.
struct Target {
    node: NodeId,
    key: ShardKey,
    /// `None` if it is written under its name where it was.
    step: Option<Move>,
    payload: Bytes,
}

impl Repairer {
    /// Does what a blob needs, as far as it can be done now.
    pub(super) async fn mend(&self, blob: BlobId) -> Result<(), RepairError> {
        let found = self.catalog.read(Scope::Hidden, |c| c.blob_part(blob)).await?;
        let Some((owner, part)) = found else {
            self.marks.forget_blob(blob);
            self.leftovers.forget_blob(blob);
            return Ok(());
        };
        let work = self.work_on(&part);
        if work.is_empty() {
            return Ok(());
        }
        let sealer = self.sealer(&owner, &part).await?;
        let (mut moves, mut failure) = (Vec::new(), None);
        for (number, steps) in &work {
            let Some(chunk) = part.chunk(*number) else { continue };
            match self.mend_chunk(chunk, steps, sealer.as_ref()).await {
                Ok((done, failed)) => {
                    moves.extend(done);
                    failure = failure.or(failed);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
            if moves.len() >= MOVES {
                self.commit(blob, std::mem::take(&mut moves)).await?;
            }
        }
        if !moves.is_empty() {
            self.commit(blob, moves).await?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// The steps that a part needs, by chunk: the most urgent first, and last those by which what
    /// other repairs have left behind is overtaken.
    fn work_on(&self, part: &Part) -> Vec<(u32, Vec<Step>)> {
        let (scene, bad) = (self.scene(), self.marks.of(part.blob));
        let mut plans = scene.situation(&bad, |situation| situation.plan_part(part));
        if plans.is_empty() {
            self.marks.forget_blob(part.blob);
        }
        plans.sort_by_key(|plan| plan.urgency);
        let mut work: Vec<_> = plans.into_iter().map(|plan| (plan.chunk, plan.steps)).collect();
        // Each is tried once; if it is still there, the sweep meets it again.
        for (_, left) in self.leftovers.take(part.blob) {
            let Some(chunk) = part.chunk(left.chunk) else { continue };
            let Some(step) = overtake(chunk, left) else { continue };
            let holder = chunk.node_of(left.index.into());
            let takes = |node| scene.standings.get(&node).is_some_and(|s| s.takes_shards());
            if !holder.is_some_and(takes) {
                continue;
            }
            match work.iter_mut().find(|(number, _)| *number == left.chunk) {
                // Any step gives the shard its next name, but for one that writes it where it is.
                Some((_, steps)) if steps.iter().any(|s| s.index() == left.index) => {}
                Some((_, steps)) => steps.push(step),
                None => work.push((left.chunk, vec![step])),
            }
        }
        work
    }

    /// What opens the part's segments; `None` if only the client has the key.
    async fn sealer(
        &self,
        owner: &BlobOwner,
        part: &Part,
    ) -> Result<Option<Arc<PartSealer>>, RepairError> {
        let (BlobOwner::Version { bucket, .. } | BlobOwner::Part { bucket, .. }) = owner else {
            return Ok(None);
        };
        let record = self.catalog.read(Scope::Hidden, |c| c.bucket(bucket)).await?;
        let keys = self.master.open(bucket, &record)?;
        let names = self.config.named_keys.iter();
        let named = names.map(|name| keys.clone().also_under(Some(self.master.named(name))));
        let mut locks = std::iter::once(keys.clone()).chain(named);
        Ok(locks.find_map(|keys| self.engine.open_part(&keys, part).ok()).map(Arc::new))
    }

    /// Takes the steps of a chunk. Returns the moves that can be committed, and what went wrong
    /// with others.
    async fn mend_chunk(
        &self,
        chunk: ChunkRef<'_>,
        steps: &[Step],
        sealer: Option<&Arc<PartSealer>>,
    ) -> Result<(Vec<Move>, Option<RepairError>), RepairError> {
        let shape = chunk.chunk.shape;
        let shard_len = u64::from(shape.shard_len());
        let copies = steps.iter().filter(|s| matches!(s, Step::Copy(_))).count();
        let reads = copies + if copies < steps.len() { shape.code().k() } else { 0 };
        self.wait_for((reads + steps.len()) as u64 * shard_len).await;
        // The stripe, the shards that it comes from, and copies of them that are being opened.
        let _held = self.engine.budget.take(shape.stripe_len() * 3).await;

        let mut targets = Vec::new();
        let mut rebuilt = Vec::new();
        for step in steps {
            match step {
                Step::Copy(step) => match self.copy(chunk, *step, sealer).await {
                    Some(payload) => targets.extend(target(chunk, *step, payload)),
                    None => rebuilt.push((step.index, step.to, Some(*step))),
                },
                Step::Rebuild(step) => rebuilt.push((step.index, step.to, Some(*step))),
                Step::Rewrite { index, node } => rebuilt.push((*index, *node, None)),
            }
        }
        let moved = targets.iter().filter(|t| t.step.is_some_and(|s| s.from != Some(s.to)));
        self.counters.moved.fetch_add(moved.count() as u64, Ordering::Relaxed);
        if !rebuilt.is_empty() {
            let stripe = self.stripe(chunk, sealer).await?;
            self.counters.rebuilt.fetch_add(rebuilt.len() as u64, Ordering::Relaxed);
            for (index, node, step) in rebuilt {
                let at = usize::from(index) * shape.shard_len() as usize;
                let payload = stripe.slice(at..at + shape.shard_len() as usize);
                match step {
                    Some(step) => targets.extend(target(chunk, step, payload)),
                    None => {
                        targets.push(Target { node, key: chunk.key(index), step: None, payload });
                    }
                }
            }
        }
        Ok(self.write(chunk, targets).await)
    }

    /// Writes shards side by side.
    async fn write(
        &self,
        chunk: ChunkRef<'_>,
        targets: Vec<Target>,
    ) -> (Vec<Move>, Option<RepairError>) {
        let info = chunk.chunk.shape.shard_info();
        let within = self.engine.config.shard_timeout;
        let writes = targets.into_iter().map(|target| async move {
            let Target { node, key, step, payload } = target;
            let put =
                |store: Arc<dyn ShardStore>| async move { store.put(key, info, payload).await };
            let stored = self.engine.nodes.call(node, Kind::Write, within, put).await;
            (node, key, step, stored)
        });
        let (mut moves, mut failure) = (Vec::new(), None);
        for (node, key, step, stored) in join_all(writes).await {
            match stored {
                Ok(()) => {
                    let written = u64::from(info.len);
                    self.counters.bytes_written.fetch_add(written, Ordering::Relaxed);
                    if step.is_none() {
                        self.marks.forget(node, key);
                    }
                    moves.extend(step);
                }
                Err(error) => {
                    failure = Some(RepairError::Write { key, node, why: error.to_string() });
                }
            }
        }
        (moves, failure)
    }

    /// A shard as its node has it, to be copied. A data shard must be authentic; parity is believed,
    /// as it is where it was. `None`: it has to be rebuilt.
    async fn copy(
        &self,
        chunk: ChunkRef<'_>,
        step: Move,
        sealer: Option<&Arc<PartSealer>>,
    ) -> Option<Bytes> {
        let shape = chunk.chunk.shape;
        let bytes = self.fetch(chunk, step.index).await.ok()?;
        let is_data = usize::from(step.index) < shape.code().k();
        if let (true, Some(sealer)) = (is_data, sealer.cloned()) {
            let (position, shard) = (chunk.position, bytes.clone());
            let check = move || is_authentic(&sealer, position, shape, step.index, &shard);
            if !blocking(check).await.ok()? {
                self.accuse(chunk, step.index);
                return None;
            }
        }
        Some(bytes)
    }

    /// All shards of a chunk, rebuilt from the fewest that are sound.
    async fn stripe(
        &self,
        chunk: ChunkRef<'_>,
        sealer: Option<&Arc<PartSealer>>,
    ) -> Result<Bytes, RepairError> {
        let bad = self.marks.of(chunk.key(0).blob);
        let mut sources = self.scene().sources(&bad, chunk).into_iter();
        let mut rebuild = Rebuild::new(
            self.engine.coder.clone(),
            sealer.cloned(),
            chunk.position,
            chunk.chunk.shape,
        );
        let mut last = "no other node that has one answers".to_owned();
        loop {
            let lacking = rebuild.wants();
            let next: Vec<u8> = sources.by_ref().take(lacking).collect();
            if next.is_empty() && lacking > 0 {
                let blob = chunk.key(0).blob;
                let chunk = chunk.position.chunk;
                return Err(RepairError::TooFew { blob, chunk, lacking, last });
            }
            let fetched = join_all(
                next.iter().map(|index| async { (*index, self.fetch(chunk, *index).await) }),
            );
            let mut shards = BTreeMap::new();
            for (index, outcome) in fetched.await {
                match outcome {
                    Ok(bytes) => drop(shards.insert(index, bytes.to_vec())),
                    Err(error) => last = format!("shard {index}: {error}"),
                }
            }
            let (back, outcome) = blocking(move || {
                let forged: Vec<u8> = shards
                    .into_iter()
                    .filter_map(|(i, s)| (!rebuild.add(i, s)).then_some(i))
                    .collect();
                let stripe = if rebuild.wants() == 0 { rebuild.stripe() } else { Ok(None) };
                (rebuild, (forged, stripe))
            })
            .await?;
            rebuild = back;
            let (forged, stripe) = outcome;
            forged.iter().for_each(|index| self.accuse(chunk, *index));
            if let Some(stripe) = stripe? {
                rebuild.forged(&stripe).iter().for_each(|index| self.accuse(chunk, *index));
                return Ok(Bytes::from(stripe));
            }
        }
    }

    /// A whole shard, from its node.
    async fn fetch(&self, chunk: ChunkRef<'_>, index: u8) -> Result<Bytes, ShardError> {
        let node = chunk.node_of(index.into()).ok_or(ShardError::NotFound)?;
        let (key, info) = (chunk.key(index), chunk.chunk.shape.shard_info());
        let all = BlockRange { first: 0, count: info.blocks() };
        let within = self.engine.config.shard_timeout;
        let get = |store: Arc<dyn ShardStore>| async move { store.get(key, all).await };
        let outcome = self.engine.nodes.call(node, Kind::Read, within, get).await;
        match outcome {
            Ok(bytes) if bytes.len() == info.len as usize => {
                self.counters.bytes_read.fetch_add(u64::from(info.len), Ordering::Relaxed);
                Ok(bytes)
            }
            Ok(_) | Err(ShardError::NotFound | ShardError::Corrupt { .. }) => {
                self.accuse(chunk, index);
                outcome.and(Err(ShardError::NotFound))
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers that a shard is not what it should be, and sees to it that it is written anew.
    fn accuse(&self, chunk: ChunkRef<'_>, index: u8) {
        let (key, node) = (chunk.key(index), chunk.node_of(index.into()));
        if let Some(node) = node {
            tracing::warn!(shard = %key, %node, "shard is lost, damaged or forged");
            self.engine.suspects.note(node, key);
            self.marks.note(node, key);
        }
    }

    /// Tells the catalog where shards are now.
    async fn commit(&self, blob: BlobId, moves: Vec<Move>) -> Result<(), RepairError> {
        let garbage = random::array(self.engine.random())?;
        let at_ms = (self.now_ms)();
        let command = Command::Relocate { blob, moves: moves.clone(), garbage, at_ms };
        match self.catalog.submit(command).await {
            Ok(_) => Ok(()),
            Err(error @ CatalogError::Moved(_)) => {
                self.take_back(blob, &moves).await?;
                Err(error.into())
            }
            // Whether it was committed is not known: the sweep will tell.
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes shards that were written in vain, but for those that another repair may have written
    /// under the same name and may be about to commit.
    async fn take_back(&self, blob: BlobId, moves: &[Move]) -> Result<(), RepairError> {
        let query = |c: &crate::catalog::handle::Catalog| Ok((c.blob(blob)?, c.blob_part(blob)?));
        let (owner, found) = self.catalog.read(Scope::Hidden, query).await?;
        let part = found.as_ref().map(|(_, part)| part);
        let mut dead: BTreeMap<NodeId, Vec<ShardKey>> = BTreeMap::new();
        for step in moves {
            let Some(generation) = step.next() else { continue };
            let key = ShardKey { blob, chunk: step.chunk, index: step.index, generation };
            match judge(step.to, key, owner.as_ref(), part) {
                Verdict::Dead | Verdict::Garbage | Verdict::Condemned | Verdict::Unclaimed => {
                    dead.entry(step.to).or_default().push(key);
                }
                Verdict::Needed | Verdict::Ahead | Verdict::Reserved => {}
            }
        }
        let unreachable: HashSet<NodeId> = self.engine.delete_from_nodes(dead).await;
        if !unreachable.is_empty() {
            tracing::debug!(%blob, nodes = unreachable.len(), "the sweep will delete the rest");
        }
        Ok(())
    }
}

fn target(chunk: ChunkRef<'_>, step: Move, payload: Bytes) -> Option<Target> {
    let key = ShardKey { generation: step.next()?, ..chunk.key(step.index) };
    Some(Target { node: step.to, key, step: Some(step), payload })
}

/// Runs CPU-bound work on the blocking pool.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RepairError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| RepairError::Worker(e.to_string()))
}

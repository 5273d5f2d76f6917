//! A chunk's shards reach a quorum of nodes, or none of them is kept.

use super::Engine;
use super::convoy::SMALL;
use super::nodes::Kind;
use super::write::WriteError;
use bytes::Bytes;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::layout::ChunkShape;
use coffer_core::placement::quorum_met;
use coffer_core::seal::stream::ChunkPosition;
use coffer_core::shard::{MAX_BATCH, ShardError, ShardKey, ShardPut, ShardStore};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// For each shard the node that holds it; `None` where it is still owed.
pub(super) type Placed = Vec<Option<NodeId>>;

/// What a node said to the shard of this number.
type Answered = (usize, NodeId, Result<(), ShardError>);

/// What is to be stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkJob {
    pub(super) blob: BlobId,
    pub(super) position: ChunkPosition,
    pub(super) shape: ChunkShape,
    /// How many different nodes must be up.
    pub(super) min_nodes: usize,
}

impl ChunkJob {
    fn key(&self, index: usize) -> ShardKey {
        let index = u8::try_from(index).unwrap_or(u8::MAX);
        ShardKey { blob: self.blob, chunk: self.position.chunk, index, generation: 0 }
    }
}

impl Engine {
    /// Stores the shards of a chunk side by side. A node that fails is replaced by the next best.
    /// Returns when all shards are durable, or a quorum is and the rest takes too long or has
    /// nowhere to go.
    pub(super) async fn store_chunk(
        &self,
        job: ChunkJob,
        stripe: Bytes,
        log: &WriteLog,
    ) -> Result<Placed, WriteError> {
        let code = job.shape.code();
        let shard_len = job.shape.shard_len() as usize;
        let map = self.nodes.map();
        let homes = map.place(job.blob, job.position.chunk, code, job.min_nodes, |id| {
            self.nodes.is_writable(id)
        })?;
        let mut holders: Placed = homes.iter().copied().map(Some).collect();
        let shard = |index: usize, node: NodeId| {
            let payload = stripe.slice(index * shard_len..(index + 1) * shard_len);
            log.note(node, job.key(index));
            ShardPut { key: job.key(index), info: job.shape.shard_info(), payload }
        };
        let put = |index: usize, node: NodeId| -> BoxFuture<'_, Answered> {
            let ShardPut { key, info, payload } = shard(index, node);
            let within = self.config.shard_timeout;
            let stored = self.nodes.call(node, Kind::Write, within, move |store| async move {
                store.put(key, info, payload).await
            });
            Box::pin(async move { (index, node, stored.await) })
        };
        let mut puts: FuturesUnordered<BoxFuture<'_, Answered>> = FuturesUnordered::new();
        if job.shape.len() <= SMALL {
            let shards = homes.iter().enumerate().map(|(index, node)| (*node, shard(index, *node)));
            let receipts = self.convoy.send(shards, log.under_way());
            for ((index, node), receipt) in homes.into_iter().enumerate().zip(receipts) {
                let lost = |_| Err(ShardError::Unreachable("the gateway is stopping".into()));
                puts.push(Box::pin(
                    async move { (index, node, receipt.await.unwrap_or_else(lost)) },
                ));
            }
        } else {
            puts.extend(homes.into_iter().enumerate().map(|(index, node)| put(index, node)));
        }
        let mut stored = vec![false; code.n()];
        let mut failed = HashSet::new();
        let mut last = String::from("none");
        loop {
            let enough = quorum_met(code, &confirmed(&holders, &stored), job.min_nodes);
            let patience = tokio::time::sleep(self.config.straggler_grace);
            let (index, node, outcome) = tokio::select! {
                next = puts.next() => match next {
                    Some(next) => next,
                    None => break,
                },
                () = patience, if enough => break,
            };
            match outcome {
                Ok(()) => stored[index] = true,
                Err(error) => {
                    last = format!("node {node}: {error}");
                    failed.insert(node);
                    holders[index] = None;
                    let usable = |id| self.nodes.is_writable(id) && !failed.contains(&id);
                    let next = map.place_one(job.blob, job.position.chunk, code, &holders, usable);
                    if let Some(next) = next {
                        holders[index] = Some(next);
                        puts.push(put(index, next));
                    }
                }
            }
        }
        let placed = confirmed(&holders, &stored);
        let done = placed.iter().flatten().count();
        if quorum_met(code, &placed, job.min_nodes) {
            if done < code.n() {
                tracing::warn!(blob = %job.blob, chunk = job.position.chunk, stored = done, of = code.n(), "chunk stored with reduced redundancy");
            }
            Ok(placed)
        } else {
            Err(WriteError::NoQuorum { stored: done, quorum: code.write_quorum(), last })
        }
    }
}

/// Who has confirmed which shard.
fn confirmed(holders: &Placed, stored: &[bool]) -> Placed {
    holders.iter().zip(stored).map(|(holder, stored)| holder.filter(|_| *stored)).collect()
}

/// Where shards of an unfinished part may have gone.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteLog {
    shards: Arc<Mutex<ShardsByNode>>,
    tasks: TaskTracker,
}

impl WriteLog {
    fn note(&self, node: NodeId, key: ShardKey) {
        let mut log = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        log.entry(node).or_default().push(key);
    }

    /// To be held while shards may still be stored.
    fn under_way(&self) -> TaskTrackerToken {
        self.tasks.token()
    }
}

/// Deletes what an unfinished part has left on nodes, unless it is told to keep it. A gateway that
/// dies leaves the shards behind; they are invisible, and the orphan sweep's business.
pub(super) struct Written {
    engine: Arc<Engine>,
    log: WriteLog,
    keep: bool,
}

impl Written {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, log: WriteLog::default(), keep: false }
    }

    pub(super) fn log(&self) -> WriteLog {
        self.log.clone()
    }

    /// Runs a task that stores shards; whatever it leaves behind is known when it has ended.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.log.tasks.spawn(task))
    }

    pub(super) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let (false, Ok(runtime)) = (self.keep, tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (engine, WriteLog { shards, tasks }) = (self.engine.clone(), self.log.clone());
        runtime.spawn(async move {
            // An aborted task may still be storing: what it stores must not come after the delete.
            tasks.close();
            tasks.wait().await;
            let left = std::mem::take(&mut *shards.lock().unwrap_or_else(PoisonError::into_inner));
            // Best effort: a node that is down keeps its orphans until the sweep.
            engine.delete_from_nodes(left).await;
        });
    }
}

/// Shards by the nodes that hold them.
pub(super) type ShardsByNode = BTreeMap<NodeId, Vec<ShardKey>>;

impl Engine {
    /// Deletes shards from their nodes. Returns the nodes that have not confirmed.
    pub(super) async fn delete_from_nodes(&self, shards: ShardsByNode) -> HashSet<NodeId> {
        let mut unreachable = HashSet::new();
        for (node, keys) in shards {
            if let Err(error) = self.delete_shards(node, keys).await {
                tracing::debug!(%node, %error, "shards could not be deleted");
                unreachable.insert(node);
            }
        }
        unreachable
    }

    async fn delete_shards(&self, node: NodeId, keys: Vec<ShardKey>) -> Result<(), ShardError> {
        let within = self.config.shard_timeout;
        for batch in keys.chunks(MAX_BATCH) {
            let batch = batch.to_vec();
            let delete = |store: Arc<dyn ShardStore>| async move { store.delete(batch).await };
            self.nodes.call(node, Kind::Other, within, delete).await?;
        }
        Ok(())
    }
}

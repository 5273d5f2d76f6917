//! Records are stored on nodes, listed, read and deleted.

use super::JournalError;
use crate::engine::Engine;
use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::NodeId;
use coffer_core::journal::part::{is_last, shard_info};
use coffer_core::journal::{Joiner, Names, Record};
use coffer_core::placement::{ClusterMap, NodeState};
use coffer_core::seal::Envelope;
use coffer_core::shard::{BlockRange, MAX_BATCH, ShardError, ShardInfo, ShardKey, ShardStore};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a node may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(4);
/// When one more node is asked to store what others take long to store.
const HEDGE: Duration = Duration::from_millis(500);

/// A node, and whether it seems to be well.
#[derive(Debug, Clone)]
pub struct Door {
    /// What answers for it.
    pub store: Arc<dyn ShardStore>,
    /// Whether it has not failed just now.
    pub up: bool,
}

/// The nodes of the cluster.
#[derive(Debug, Clone)]
pub struct View {
    /// The cluster map.
    pub map: ClusterMap,
    /// The nodes that can be reached from here.
    pub doors: HashMap<NodeId, Door>,
}

/// Tells which nodes there are now.
pub type Nodes = Arc<dyn Fn() -> View + Send + Sync>;

impl View {
    /// Nodes that are all thought to be well.
    pub fn of(map: ClusterMap, stores: HashMap<NodeId, Arc<dyn ShardStore>>) -> Self {
        let door = |(id, store)| (id, Door { store, up: true });
        Self { map, doors: stores.into_iter().map(door).collect() }
    }

    /// The nodes of an engine.
    pub fn of_engine(engine: &Engine) -> Self {
        let nodes = engine.nodes();
        let map = ClusterMap::clone(&nodes.map());
        let door = |id: NodeId| {
            let store = nodes.store(id)?;
            Some((id, Door { store, up: nodes.is_writable(id) }))
        };
        let doors = map.nodes.iter().filter_map(|node| door(node.id)).collect();
        Self { map, doors }
    }

    /// The nodes that are to hold data.
    pub fn members(&self) -> BTreeSet<NodeId> {
        let active = self.map.nodes.iter().filter(|node| node.state == NodeState::Active);
        active.map(|node| node.id).collect()
    }

    /// Stores a part of a record on `copies` nodes, or on all if there are fewer. A node that fails
    /// is replaced by the next best; one that takes long gets company.
    ///
    /// # Errors
    /// [`JournalError::TooFewNodes`].
    pub async fn store(
        &self,
        record: Record,
        (part, sealed): (u32, Bytes),
        copies: usize,
    ) -> Result<(), JournalError> {
        let copies = copies.min(self.members().len()).max(1);
        let info = shard_info(sealed.len(), copies);
        let mut asked: Vec<Option<NodeId>> = Vec::new();
        let mut puts = FuturesUnordered::new();
        let (mut stored, mut last) = (0, String::from("none"));
        let mut wanted = copies;
        loop {
            while stored + puts.len() < wanted {
                let Some(node) = self.next_best(record.key(part, 0), info.code, &asked) else {
                    break;
                };
                let copy = u8::try_from(asked.len()).unwrap_or(u8::MAX);
                asked.push(Some(node));
                puts.push(self.put(node, record.key(part, copy), info, sealed.clone()));
            }
            tokio::select! {
                outcome = puts.next() => match outcome {
                    Some(Ok(())) => stored += 1,
                    Some(Err(error)) => last = error,
                    None => return Err(JournalError::TooFewNodes { stored, copies, last }),
                },
                () = sleep(HEDGE), if wanted <= asked.len() => wanted += 1,
            }
            if stored >= copies {
                return Ok(());
            }
        }
    }

    /// A node that has not been asked yet, far from those that have, rather one that is up.
    fn next_best(&self, key: ShardKey, code: Code, asked: &[Option<NodeId>]) -> Option<NodeId> {
        let free = |id: NodeId| self.doors.contains_key(&id) && !asked.contains(&Some(id));
        let up = |id: NodeId| free(id) && self.doors.get(&id).is_some_and(|door| door.up);
        let best = self.map.place_one(key.blob, key.chunk, code, asked, up);
        best.or_else(|| self.map.place_one(key.blob, key.chunk, code, asked, free))
    }

    async fn put(
        &self,
        node: NodeId,
        key: ShardKey,
        info: ShardInfo,
        sealed: Bytes,
    ) -> Result<(), String> {
        let Some(door) = self.doors.get(&node) else { return Err("no such node".into()) };
        let outcome = timeout(ANSWER, door.store.put(key, info, sealed)).await;
        outcome.unwrap_or(Err(ShardError::Timeout)).map_err(|error| {
            let name = self.map.get(node).map_or("?", |node| &node.name);
            format!("node {name} ({node}): {error}")
        })
    }

    /// Lists the journal on all nodes.
    pub async fn list(&self) -> Listing {
        let lists = self.map.members().map(|node| async move {
            let door = self.doors.get(&node.id);
            let listed = match door {
                Some(door) => list(&*door.store).await,
                None => Err(ShardError::Unreachable("there is no way to it".into())),
            };
            (node, door, listed)
        });
        let mut listing = Listing::default();
        for (node, door, listed) in join_all(lists).await {
            match (door, listed) {
                (Some(door), Ok(found)) => {
                    for (key, info) in &found {
                        listing.names.add(key, info);
                    }
                    listing.nodes.push(Listed { id: node.id, store: door.store.clone(), found });
                }
                (_, Err(error)) => listing.away.push((node.name.clone(), error.to_string())),
                (None, Ok(_)) => {}
            }
        }
        listing
    }
}

async fn list(store: &dyn ShardStore) -> Result<BTreeMap<ShardKey, ShardInfo>, ShardError> {
    let mut found = BTreeMap::new();
    let mut after = Record::before_all();
    let limit = u32::try_from(MAX_BATCH).unwrap_or(u32::MAX);
    loop {
        let page = timeout(ANSWER, store.list(Some(after), limit)).await;
        let page = page.unwrap_or(Err(ShardError::Timeout))?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = *last;
        found.extend(page);
    }
}

/// What a node holds of the journal.
#[derive(Debug)]
struct Listed {
    id: NodeId,
    store: Arc<dyn ShardStore>,
    found: BTreeMap<ShardKey, ShardInfo>,
}

/// What the nodes hold of the journal.
#[derive(Debug, Default)]
pub struct Listing {
    /// All names.
    pub names: Names,
    /// Nodes that do not answer, by their names, and why.
    pub away: Vec<(String, String)>,
    nodes: Vec<Listed>,
}

impl Listing {
    /// How many nodes have answered.
    pub fn answered(&self) -> usize {
        self.nodes.len()
    }

    /// Whether a record's end is there.
    ///
    /// # Errors
    /// What is wrong with the last copy that was tried.
    pub async fn has_end(&self, envelope: &Envelope, record: Record) -> Result<bool, String> {
        let Some(part) = self.names.parts(record).next_back() else { return Ok(false) };
        self.any_copy(record, part, |sealed| is_last(envelope, record, part, sealed)).await
    }

    /// The next piece of a record; `None` after the last.
    ///
    /// # Errors
    /// What is wrong with the last copy that was tried.
    pub async fn next(
        &self,
        record: Record,
        joiner: &mut Joiner<'_>,
    ) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, String> {
        let Some(part) = joiner.wants() else { return Ok(None) };
        self.any_copy(record, part, |sealed| joiner.take(sealed)).await.map(Some)
    }

    /// Tries the copies of a part until one is good.
    pub(super) async fn any_copy<T, E: std::fmt::Display>(
        &self,
        record: Record,
        part: u32,
        mut open: impl FnMut(&[u8]) -> Result<T, E>,
    ) -> Result<T, String> {
        let mut last = format!("{record}: no node has part {part}");
        for node in &self.nodes {
            let (first, last_copy) = (record.key(part, 0), record.key(part, u8::MAX));
            for (key, info) in node.found.range(first..=last_copy) {
                if Record::of(key) != Some((record, part)) {
                    continue;
                }
                let blocks = BlockRange { first: 0, count: info.blocks() };
                let sealed = timeout(ANSWER, node.store.get(*key, blocks)).await;
                let sealed = sealed.unwrap_or(Err(ShardError::Timeout)).map_err(|e| e.to_string());
                match sealed.and_then(|sealed| open(&sealed).map_err(|e| e.to_string())) {
                    Ok(opened) => return Ok(opened),
                    Err(error) => last = format!("{record}, part {part}: {error}"),
                }
            }
        }
        Err(last)
    }

    /// A copy that a node has listed: the node, and the form of the shard.
    pub(super) fn copy_on(
        &self,
        id: NodeId,
        key: &ShardKey,
    ) -> Option<(&dyn ShardStore, ShardInfo)> {
        let node = self.nodes.iter().find(|node| node.id == id)?;
        node.found.get(key).map(|info| (&*node.store, *info))
    }

    /// Deletes records from all nodes that were listed. What can't be deleted is harmless, and is
    /// deleted another time.
    pub async fn delete(&self, records: &HashSet<Record>) {
        let deletes = self.nodes.iter().map(|node| async {
            let gone = |key: &ShardKey| Record::of(key).is_some_and(|(r, _)| records.contains(&r));
            let keys: Vec<ShardKey> = node.found.keys().filter(|key| gone(key)).copied().collect();
            for batch in keys.chunks(MAX_BATCH) {
                let outcome = timeout(ANSWER, node.store.delete(batch.to_vec())).await;
                if let Err(error) = outcome.unwrap_or(Err(ShardError::Timeout)) {
                    tracing::debug!(%error, "old records of the journal are left for another time");
                    return;
                }
            }
        });
        join_all(deletes).await;
    }
}

//! Nodes in memory, an engine, a catalog, and objects that are checked.

use crate::support::Cluster;
use bytes::Bytes;
use coffer_core::bucket::Tags;
use coffer_core::catalog::records::{Encryption, Lock, ObjectRecord};
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::erasure::Code;
use coffer_core::ids::{BucketName, NodeId, ObjectKey, VersionId};
use coffer_core::manifest::{Checksums, ETag, Manifest, ObjectHeaders, Part};
use coffer_core::placement::ClusterMap;
use coffer_core::random::{self, OsRandom};
use coffer_core::repair::{Situation, Standing};
use coffer_core::seal::Key;
use coffer_core::shard::{ShardKey, ShardStore};
use coffer_gateway::catalog::CatalogHandle;
use coffer_gateway::catalog::raft::options::Options;
use coffer_gateway::catalog::store::{MemoryTrees, Work};
use coffer_gateway::engine::keys::{BucketKeys, MasterKey, SecondLock};
use coffer_gateway::engine::nodes::{NodeSet, follow};
use coffer_gateway::engine::repair::{RepairConfig, RepairStatus, Repairer};
use coffer_gateway::engine::{Engine, EngineConfig, gc};
use futures::{TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn quick() -> RepairConfig {
    RepairConfig {
        bytes_per_second: 0,
        interval: Duration::from_millis(20),
        ..RepairConfig::default()
    }
}

/// A repairer that runs until it is dropped.
pub(crate) struct Running(Arc<Repairer>, JoinHandle<()>);

impl Running {
    pub(crate) fn start(repairer: Arc<Repairer>) -> Self {
        let task = repairer.spawn();
        Self(repairer, task)
    }

    pub(crate) fn repairer(&self) -> Arc<Repairer> {
        self.0.clone()
    }

    pub(crate) fn status(&self) -> RepairStatus {
        self.0.status()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.1.abort();
    }
}

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) engine: Arc<Engine>,
    pub(crate) catalog: CatalogHandle,
    master: MasterKey,
    keys: BucketKeys,
    objects: Mutex<BTreeMap<String, (Part, Vec<u8>)>>,
    /// The objects whose data keys have a second lock.
    locked: Mutex<BTreeMap<String, SecondLock>>,
}

/// An engine over nodes, which waits for none of them for long.
pub(crate) fn engine(map: ClusterMap, stores: HashMap<NodeId, Arc<dyn ShardStore>>) -> Arc<Engine> {
    let config = EngineConfig {
        shard_timeout: Duration::from_secs(2),
        hedge_cap: Duration::from_millis(50),
        straggler_grace: Duration::from_millis(50),
        ..EngineConfig::default()
    };
    Engine::new(config, NodeSet::new(map, stores).unwrap())
}

pub(crate) fn master() -> Key {
    Key::from_bytes([1; 32])
}

fn bucket() -> BucketName {
    BucketName::new("bucket").unwrap()
}

impl World {
    /// `nodes` nodes, of which the first `mapped` are in the cluster map.
    pub(crate) async fn new(nodes: u8, mapped: usize) -> Self {
        let cluster = Cluster::new(nodes);
        let stores = cluster.stores();
        Self::over(cluster, mapped, stores).await
    }

    /// The same, over other stores than the cluster's own.
    pub(crate) async fn over(
        cluster: Cluster,
        mapped: usize,
        stores: HashMap<NodeId, Arc<dyn ShardStore>>,
    ) -> Self {
        let mut map = cluster.map();
        map.nodes.truncate(mapped);
        let engine = engine(map, stores);
        let options = Options { work: Work::Inline, ..Options::alone() };
        let trees = Arc::new(MemoryTrees::default());
        let catalog = CatalogHandle::start(trees, &master(), options).await.unwrap();
        Self::through(cluster, engine, catalog).await
    }

    /// Over nodes, through a gateway's engine and catalog.
    pub(crate) async fn through(
        cluster: Cluster,
        engine: Arc<Engine>,
        catalog: CatalogHandle,
    ) -> Self {
        follow::follow(engine.nodes(), &catalog).await.unwrap();
        let master = MasterKey::new(&master());
        let record =
            master.new_bucket(&bucket(), Code::DEFAULT, "root".into(), 0, &OsRandom).unwrap();
        let keys = master.open(&bucket(), &record).unwrap();
        catalog.submit(Command::CreateBucket { bucket: bucket(), record }).await.unwrap();
        let (objects, locked) = (Mutex::default(), Mutex::default());
        Self { cluster, engine, catalog, master, keys, objects, locked }
    }

    pub(crate) fn repair(&self, config: RepairConfig) -> Running {
        let (engine, catalog) = (self.engine.clone(), self.catalog.clone());
        let master = self.master.clone();
        Running::start(Repairer::new(engine, catalog, master, config, || true, || 1))
    }

    /// The master key of the bucket's key.
    pub(crate) fn master(&self) -> &MasterKey {
        &self.master
    }

    /// The content of an object.
    pub(crate) fn content(name: &str, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut data);
        data
    }

    async fn write(&self, data: &[u8], keys: &BucketKeys) -> Part {
        let body = stream::iter([Ok(Bytes::copy_from_slice(data))]);
        let length = Some(data.len() as u64);
        self.engine.write_part(keys, body, length, ()).await.unwrap().0
    }

    /// Writes shards that are not committed, the content of object "b".
    pub(crate) async fn write_only(&self, len: usize) -> Part {
        self.write(&Self::content("b", len), &self.keys).await
    }

    /// Stores an object of `len` bytes.
    pub(crate) async fn put(&self, name: &str, len: usize) -> Part {
        let data = Self::content(name, len);
        let part = self.write(&data, &self.keys).await;
        self.commit(name, part.clone(), data).await.unwrap();
        part
    }

    /// Stores an object whose data key has a second lock.
    pub(crate) async fn put_locked(&self, name: &str, len: usize, lock: &SecondLock) -> Part {
        let data = Self::content(name, len);
        let keys = self.keys.clone().also_under(Some(lock.clone()));
        let part = self.write(&data, &keys).await;
        self.commit(name, part.clone(), data).await.unwrap();
        self.locked.lock().unwrap().insert(name.to_owned(), lock.clone());
        part
    }

    pub(crate) async fn commit(
        &self,
        name: &str,
        part: Part,
        data: Vec<u8>,
    ) -> Result<(), CatalogError> {
        let record = ObjectRecord {
            version: VersionId::from_bytes(random::array(&OsRandom).unwrap()),
            size: part.size,
            etag: ETag::Whole(part.md5),
            modified_ms: 1,
            headers: ObjectHeaders::default(),
            checksums: Checksums::new(),
            tags: Tags::default(),
            lock: Lock::default(),
            encryption: Encryption::Managed,
            upload: None,
        };
        let command = Command::PutObject {
            bucket: bucket(),
            key: ObjectKey::new(name).unwrap(),
            record: Box::new(record),
            manifest: Manifest { parts: vec![part.clone()] },
            preconditions: vec![],
        };
        self.catalog.submit(command).await?;
        self.objects.lock().unwrap().insert(name.to_owned(), (part, data));
        Ok(())
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.objects.lock().unwrap().remove(name);
        let command = Command::DeleteObject {
            bucket: bucket(),
            key: ObjectKey::new(name).unwrap(),
            preconditions: vec![],
            marker: VersionId::from_bytes([0; 16]),
            at_ms: 1,
        };
        self.catalog.submit(command).await.unwrap();
    }

    /// Changes the cluster map.
    pub(crate) async fn change(&self, change: impl Fn(&mut ClusterMap)) {
        let read = self.catalog.read(Scope::Cluster, coffer_core::catalog::Machine::cluster);
        let mut map = read.await.unwrap().unwrap();
        let expected = map.version;
        change(&mut map);
        map.version += 1;
        self.catalog.submit(Command::ChangeCluster { expected, map }).await.unwrap();
        follow::follow(self.engine.nodes(), &self.catalog).await.unwrap();
    }

    pub(crate) async fn collect_garbage(&self) {
        gc::collect(&self.engine, &self.catalog, u64::MAX).await.unwrap();
    }

    /// The parts of all objects, as the catalog has them now.
    async fn parts(&self) -> Vec<Part> {
        let parts: Vec<Part> =
            self.objects.lock().unwrap().values().map(|(part, _)| part.clone()).collect();
        let read = |c: &coffer_gateway::catalog::handle::Catalog| {
            let now = parts.iter().map(|p| Ok(c.blob_part(p.blob)?.unwrap().1));
            now.collect::<Result<Vec<Part>, CatalogError>>()
        };
        self.catalog.read(Scope::Hidden, read).await.unwrap()
    }

    /// Which node each shard is on, in a fixed order.
    pub(crate) async fn places(&self) -> Vec<((ShardKey, u8), Option<NodeId>)> {
        let parts = self.parts().await;
        let chunks = parts.iter().flat_map(Part::chunks);
        let shards = chunks.flat_map(|c| {
            let place = move |i: u8| {
                let key = ShardKey { generation: 0, ..c.key(i) };
                ((key, i), c.node_of(i.into()))
            };
            (0..c.shards() as u8).map(place)
        });
        shards.collect()
    }

    pub(crate) async fn holders(&self) -> BTreeSet<NodeId> {
        self.places().await.into_iter().filter_map(|(_, node)| node).collect()
    }

    pub(crate) async fn catalog_owed(&self) -> usize {
        self.catalog.read(Scope::Hidden, |c| c.owed(None, 1000)).await.unwrap().len()
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.cluster.nodes.iter().map(|n| n.bytes_read.load(Ordering::Relaxed)).sum()
    }

    /// All shards on all nodes.
    pub(crate) fn payloads(&self) -> Vec<(ShardKey, Bytes)> {
        let shards = self.cluster.nodes.iter().flat_map(|n| n.shards());
        shards.map(|(key, (_, payload))| (key, payload)).collect()
    }

    /// Whether all objects are what was stored.
    pub(crate) async fn reads_back(&self) -> bool {
        self.reads_back_by(&self.engine).await
    }

    /// As [`World::reads_back`], through another gateway's engine.
    pub(crate) async fn reads_back_by(&self, engine: &Arc<Engine>) -> bool {
        let names: Vec<String> = self.objects.lock().unwrap().keys().cloned().collect();
        for (part, name) in self.parts().await.into_iter().zip(names) {
            let data = self.objects.lock().unwrap()[&name].1.clone();
            let manifest = Manifest { parts: vec![part] };
            let range = 0..data.len() as u64;
            let lock = self.locked.lock().unwrap().get(&name).cloned();
            let keys = self.keys.clone().also_under(lock);
            let Ok(stream) = engine.read(&keys, manifest, range).await else {
                return false;
            };
            let Ok(got) = stream.try_collect::<Vec<Bytes>>().await else { return false };
            assert!(got.concat() == data, "{name}");
        }
        true
    }

    /// Whether every shard is where it belongs, and where the catalog says, byte for byte.
    async fn is_whole(&self) -> bool {
        let map = self.engine.nodes().map();
        let standing = |id| self.engine.nodes().standing(id, Duration::ZERO);
        let up = |id| match standing(id) {
            Standing::Lost => Standing::Lost,
            _ => Standing::Up,
        };
        let situation = Situation { map: &map, standing: &up, is_bad: &|_, _| false };
        let is_there = |(node, key): (NodeId, ShardKey)| {
            let node = self.cluster.nodes.iter().find(|n| n.id == node).unwrap();
            node.shards().contains_key(&key) && !node.is_damaged(key)
        };
        self.parts().await.iter().all(|part| {
            situation.plan_part(part).is_empty() && part.chunks().all(|c| c.placed().all(is_there))
        })
    }

    pub(crate) async fn until_whole(&self) {
        self.until("redundancy is whole", async || self.is_whole().await).await;
        assert!(self.reads_back().await);
    }

    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }
}

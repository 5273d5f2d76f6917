//! Small checkpoints, and looking at what is stored of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coffer_client::Timestamp;
use coffer_client::checkpoint::{
    CheckpointId, Checkpoints, Cut, Lineage, Metrics, Position, Program, RunId, Snapshot,
};
use coffer_client::place::Place;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// A checkpoint after `step` steps with these parts; an epoch has ten steps.
pub(crate) fn snapshot(step: u64, parts: &[(&str, Bytes)]) -> Snapshot {
    let named = |(name, content): &(&str, Bytes)| ((*name).to_owned(), content.clone());
    Snapshot {
        id: CheckpointId(step),
        created: Timestamp::now(),
        position: Position { epoch: step / 10, sample: step % 10 },
        best: false,
        parts: parts.iter().map(named).collect(),
        lineage: Lineage {
            run: RunId(7),
            parent: None,
            init_from: None,
            dataset: None,
            config: serde_json::json!({"seed": 1}),
            revision: None,
            program: Program { name: "test".into(), version: "0".into() },
        },
        metrics: Metrics::from_iter([("loss", 1.0 / step as f64)]),
        energy: None,
    }
}

/// A small checkpoint, of which one part is the same for all steps.
pub(crate) fn small(step: u64) -> Cut {
    let weights = Bytes::from(format!("weights after {step} steps"));
    Cut::of(snapshot(step, &[("frozen", Bytes::from_static(b"frozen")), ("weights", weights)]))
}

pub(crate) fn memory() -> (Arc<InMemory>, Place) {
    let inner = Arc::new(InMemory::new());
    let place = Place::new(Arc::clone(&inner) as Arc<dyn ObjectStore>, "memory://run");
    (inner, place)
}

/// Saves small checkpoints after these steps.
pub(crate) async fn save(checkpoints: &Checkpoints, steps: impl IntoIterator<Item = u64>) {
    let (mut saver, _) = checkpoints.resume().await.unwrap();
    for step in steps {
        saver.save(&small(step), &|_| ()).await.unwrap();
    }
}

/// Names and sizes of everything that is stored.
pub(crate) async fn stored(store: &dyn ObjectStore) -> BTreeMap<String, u64> {
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    objects.into_iter().map(|object| (object.location.to_string(), object.size)).collect()
}

pub(crate) async fn read(store: &dyn ObjectStore, name: &str) -> Vec<u8> {
    store.get(&Path::from(name)).await.unwrap().bytes().await.unwrap().to_vec()
}

pub(crate) async fn write(store: &dyn ObjectStore, name: &str, content: Vec<u8>) {
    store.put(&Path::from(name), content.into()).await.unwrap();
}

/// Flips one bit in the middle of an object.
pub(crate) async fn damage(store: &dyn ObjectStore, name: &str) {
    let mut content = read(store, name).await;
    let middle = content.len() / 2;
    content[middle] ^= 1;
    write(store, name, content).await;
}

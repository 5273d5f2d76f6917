//! A small dataset and a small run on it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use coffer_client::checkpoint::Loaded;
use coffer_client::dataset::pack::Existing;
use coffer_client::place::Place;
use coffer_train::checkpoint::{Checkpoints, Selector};
use coffer_train::dataset::pack::pack;
use coffer_train::dataset::source::Source;
use coffer_train::model::vae::VaeConfig;
use coffer_train::model::{Devices, DevicesChoice};
use coffer_train::stream::{Dataset, OnCorrupt, ReadOptions, Workers};
use coffer_train::train::{
    Event, ModelConfig, Outcome, Resume, Run, RunError, Saving, TrainConfig,
};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub(crate) const TRAIN: usize = 200;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

pub(crate) fn memory() -> Place {
    Place::new(Arc::new(InMemory::new()), "memory://test")
}

/// A CPU that holds `replicas`.
pub(crate) fn cpu(replicas: usize) -> Devices {
    format!("cpu:{replicas}").parse::<DevicesChoice>().unwrap().open().unwrap()
}

/// Packs 200 + 40 drawn samples, 30 to a shard, into `place`.
pub(crate) fn dataset(runtime: &Runtime, place: &Place) -> Dataset {
    let source = Source::Synthetic { train: 200, test: 40 };
    runtime.block_on(pack(&source, place, count(30), Existing::Refuse, |_, _| ())).unwrap();
    runtime.block_on(Dataset::open(place, ReadOptions::default())).unwrap()
}

/// Carries out a small run at `place` up to `epochs`. Returns the warnings, too.
pub(crate) fn train(
    runtime: &Runtime,
    dataset: &Dataset,
    place: &Place,
    epochs: u64,
    change: impl FnOnce(&mut Run<'_>),
) -> Result<(Outcome, Vec<String>), RunError> {
    watched(runtime, dataset, place, epochs, change, |_, _| ())
}

/// As [`train`]; `watch` is told everything that is reported, and may stop the run.
pub(crate) fn watched(
    runtime: &Runtime,
    dataset: &Dataset,
    place: &Place,
    epochs: u64,
    change: impl FnOnce(&mut Run<'_>),
    mut watch: impl FnMut(&Event<'_>, &CancellationToken),
) -> Result<(Outcome, Vec<String>), RunError> {
    let config = TrainConfig {
        model: ModelConfig::Vae(VaeConfig { hidden: 16, latent: 3 }),
        seed: 5,
        batch: count(16),
        learning_rate: 1e-3,
        decay: 1.0,
        window: count(70),
        workers: Workers::ALONE,
        validation: 0.0,
        dataset: dataset.index().version,
        replicas: count(1),
        init_from: None,
    };
    let mut run = Run {
        runtime,
        dataset: dataset.clone(),
        place: place.clone(),
        config,
        epochs,
        patience: None,
        prefetch: count(2),
        on_corrupt: OnCorrupt::Refuse,
        devices: cpu(1),
        resume: Resume::Auto,
        init: None,
        saving: Saving::default(),
        stop: CancellationToken::new(),
        out: None,
        energy: None,
    };
    change(&mut run);
    let mut warnings = Vec::new();
    let outcome = run.carry_out(&mut |event| {
        watch(&event, &run.stop);
        if let Event::Resumed { passed_over, .. } = event {
            warnings.extend_from_slice(passed_over);
        }
    })?;
    Ok((outcome, warnings))
}

/// A checkpoint of the run at `place`.
pub(crate) fn load(runtime: &Runtime, place: &Place, which: Selector) -> Loaded {
    runtime.block_on(Checkpoints::open(place).choose(which)).unwrap().loaded
}

/// The names of a run's checkpoints, as steps.
pub(crate) fn steps(runtime: &Runtime, place: &Place) -> Vec<u64> {
    let root = runtime.block_on(Checkpoints::open(place).root()).unwrap();
    root.iter().flat_map(|root| root.checkpoints()).map(|entry| entry.id.0).collect()
}

pub(crate) fn read(runtime: &Runtime, place: &Place, name: &str) -> Vec<u8> {
    runtime.block_on(place.read(name, u64::MAX)).unwrap().to_vec()
}

pub(crate) fn delete(runtime: &Runtime, place: &Place, name: &str) {
    runtime.block_on(place.store().delete(&Path::from(name))).unwrap();
}

/// Flips one bit in the middle of an object.
pub(crate) fn damage(runtime: &Runtime, place: &Place, name: &str) {
    let mut content = read(runtime, place, name);
    let middle = content.len() / 2;
    content[middle] ^= 1;
    runtime.block_on(place.store().put(&Path::from(name), PutPayload::from(content))).unwrap();
}

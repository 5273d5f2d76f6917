//! A training run whose checkpoints have known tensors, in a bucket of an embedded cluster.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use coffer_client::checkpoint::{
    CheckpointId, Checkpoints, Cut, Lineage, Metrics, Position, Program, RunId, Saved, Saver,
    Snapshot,
};
use coffer_client::place::{Address, Opener, Place};
use coffer_client::{ProfileOptions, Timestamp};
use coffer_gateway::run::Embedded;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::BTreeMap;

/// Where the run is.
pub(crate) const RUN: &str = "s3://training/runs/known";

/// The run's place, in a bucket that is made if it isn't there.
pub(crate) async fn place(cluster: &Embedded) -> Place {
    let config = Some(cluster.client_profile());
    let opener = Opener::new(ProfileOptions { config, ..ProfileOptions::default() });
    opener.create(&RUN.parse::<Address>().unwrap()).await.unwrap()
}

pub(crate) async fn saver(place: &Place) -> Saver {
    Checkpoints::open(place).resume().await.unwrap().0
}

/// Saves the checkpoint after `step` steps; ten are an epoch. `progress` hears of each chunk.
pub(crate) async fn save(
    saver: &mut Saver,
    step: u64,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Saved {
    let snapshot = Snapshot {
        id: CheckpointId(step),
        created: Timestamp::now(),
        position: Position { epoch: step / 10, sample: step % 10 },
        best: false,
        parts: parts(step),
        lineage: Lineage {
            run: RunId(1),
            parent: None,
            init_from: None,
            dataset: None,
            config: serde_json::json!({"seed": 1}),
            revision: None,
            program: Program { name: "test".into(), version: "0".into() },
        },
        metrics: Metrics::from_iter([("test", 0.5)]),
        energy: None,
    };
    saver.save(&Cut::of(snapshot), progress).await.unwrap()
}

/// The files after `step` steps. `gateway/tests/clients/safetensors_checkpoint.py` knows them, too.
pub(crate) fn parts(step: u64) -> BTreeMap<String, Bytes> {
    let floats = |of: &mut dyn Iterator<Item = f32>| of.flat_map(f32::to_le_bytes).collect();
    let number = f32::from(u16::try_from(step).unwrap());
    let halves = [0x3c00_u16, 0xc000, 0x7bff, 0x0001, 0x3555, 0x8000];
    let known: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = vec![
        // Three chunks.
        (
            "decoder.large",
            Dtype::F32,
            vec![2500, 1000],
            floats(&mut (0..2_500_000_u32).map(|at| f32::from((at % 1000) as u16) * 0.5 + number)),
        ),
        (
            "encoder.weight",
            Dtype::F32,
            vec![64, 3, 5],
            floats(&mut (0..960_u16).map(|at| f32::from(at) / 7.0)),
        ),
        ("half", Dtype::F16, vec![2, 3], halves.iter().flat_map(|h| h.to_le_bytes()).collect()),
        ("double", Dtype::F64, vec![], (1.0_f64 / 3.0).to_le_bytes().to_vec()),
        ("steps", Dtype::I64, vec![1], step.to_le_bytes().to_vec()),
        ("mask", Dtype::BOOL, vec![4], vec![1, 0, 0, 1]),
        ("empty", Dtype::F32, vec![0, 7], Vec::new()),
    ];
    let views = known.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let model = safetensors::serialize(views, None).unwrap();
    let state = serde_json::json!({"step": step}).to_string();
    [("model.safetensors".to_owned(), model.into()), ("state.json".to_owned(), state.into())].into()
}

//! A batch that is shared out to replicas teaches the same as one that isn't.

use std::num::NonZeroUsize;

use crate::support::{count, cpu, dataset, load, memory, runtime, train};
use coffer_client::place::Place;
use coffer_train::checkpoint::{Selector, State};
use coffer_train::model::classifier::ClassifierConfig;
use coffer_train::model::gan::GanConfig;
use coffer_train::model::vae::VaeConfig;
use coffer_train::stream::Dataset;
use coffer_train::train::{Event, Losses, ModelConfig, Resume, Run};
use tokio::runtime::Runtime;

const MODELS: [ModelConfig; 4] = [
    ModelConfig::Vae(VaeConfig { hidden: 16, latent: 3 }),
    ModelConfig::Classifier(ClassifierConfig { channels: 3, hidden: 8 }),
    ModelConfig::Gan(GanConfig { channels: 2, latent: 3 }),
    ModelConfig::Linear,
];

/// The losses of two epochs, in training and on the test set. A single term of a loss may be a small
/// difference of large numbers, which rounding shows in; the loss isn't.
fn losses(
    runtime: &Runtime,
    dataset: &Dataset,
    model: ModelConfig,
    batch: usize,
    replicas: usize,
) -> Vec<f64> {
    let (outcome, _) = train(runtime, dataset, &memory(), 2, |run| {
        run.config.model = model;
        run.config.batch = count(batch);
        run.devices = cpu(replicas);
    })
    .unwrap();
    let losses = outcome.history.iter().flat_map(|record| [&record.train, &record.test]);
    losses.map(Losses::total).collect()
}

fn assert_close(one: &[f64], other: &[f64], what: &str) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() <= 1e-4 * one.abs(), "{what}: {one}, {other}");
    }
}

#[test]
fn any_number_of_replicas_learns_the_same() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    for model in MODELS {
        // 12 batches of 16, which three replicas can't share evenly, and one of 8.
        let alone = losses(&runtime, &dataset, model, 16, 1);
        for replicas in [2, 3] {
            let shared = losses(&runtime, &dataset, model, 16, replicas);
            assert_close(&alone, &shared, &format!("{replicas} replicas of {}", model.name()));
        }
    }
}

#[test]
fn replicas_without_a_sample_do_no_harm() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    for model in MODELS {
        // 66 batches of 3 samples and one of 2, for 5 replicas.
        let alone = losses(&runtime, &dataset, model, 3, 1);
        let shared = losses(&runtime, &dataset, model, 3, 5);
        assert_close(&alone, &shared, model.name());
    }
}

#[test]
fn a_run_may_go_on_with_another_number_of_replicas_and_says_so() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let replicas = |place: &Place| -> NonZeroUsize {
        State::of(&load(&runtime, place, Selector::Latest)).unwrap().config.replicas
    };
    train(&runtime, &dataset, &place, 1, |run| run.devices = cpu(2)).unwrap();
    assert_eq!(replicas(&place), count(2));

    let mut said = Vec::new();
    let mut on = |run: &mut Run<'_>| {
        run.devices = cpu(3);
        run.resume = Resume::Require;
        run.carry_out(&mut |event| {
            if let Event::Replicas { before, now } = event {
                said.push((before.get(), now.get()));
            }
        })
        .unwrap();
    };
    train(&runtime, &dataset, &place, 2, &mut on).unwrap();
    train(&runtime, &dataset, &place, 2, &mut on).unwrap();
    assert_eq!(said, [(2, 3)], "once, where it changes");
    assert_eq!(replicas(&place), count(3));
}

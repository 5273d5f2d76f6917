//! A run that was cut off ends with the same numbers as one that wasn't.

use crate::support::{cpu, dataset, memory, read, runtime, train};
use coffer_client::place::Place;
use coffer_train::checkpoint::{CheckpointId, Checkpoints};
use coffer_train::metrics::Confusion;
use coffer_train::model::classifier::ClassifierConfig;
use coffer_train::model::gan::GanConfig;
use coffer_train::model::vae::VaeConfig;
use coffer_train::train::{EpochRecord, Losses, ModelConfig, Outcome, Resume, RunError};

type Scored = (Losses, Losses, Option<Confusion>);

fn curve(outcome: &Outcome) -> Vec<Scored> {
    let of = |record: &EpochRecord| (record.train.clone(), record.test.clone(), record.confusion);
    outcome.history.iter().map(of).collect()
}

/// Trains `model` for four epochs, and again with a break after two; compares everything. By one
/// replica, and by three, whose shares of a batch aren't equal.
fn resumed_equals_uninterrupted(model: ModelConfig) {
    for replicas in [1, 3] {
        compare(model, replicas);
    }
}

fn compare(model: ModelConfig, replicas: usize) {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let (whole, cut) = (memory(), memory());
    let train = |place: &Place, epochs, resume| {
        train(&runtime, &dataset, place, epochs, |run| {
            run.config.model = model;
            run.config.decay = 0.9;
            run.devices = cpu(replicas);
            run.resume = resume;
        })
        .unwrap()
    };
    let (uninterrupted, _) = train(&whole, 4, Resume::Refuse);
    let (before, _) = train(&cut, 2, Resume::Auto);
    // A new learner, whose parameters have other ids and other weights than the first's.
    let (resumed, warnings) = train(&cut, 4, Resume::Require);

    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(curve(&before), curve(&uninterrupted)[..2]);
    assert_eq!(curve(&resumed), curve(&uninterrupted));
    let parts = |place: &Place| {
        let found = runtime.block_on(Checkpoints::new(place).load(CheckpointId(4))).unwrap();
        found.parts
    };
    let (one, other) = (parts(&whole), parts(&cut));
    assert!(one.keys().eq(other.keys()));
    for (name, content) in &one {
        assert!(other[name] == content, "{name} differs");
    }
    for picture in &uninterrupted.pictures {
        let name = picture.strip_prefix("memory://test/").unwrap();
        assert!(read(&runtime, &whole, name) == read(&runtime, &cut, name), "{name} differs");
    }
    let losses: Vec<f64> = uninterrupted.history.iter().map(|r| r.test.total()).collect();
    // What two adversaries lose says nothing about whether they learn.
    let learns = losses[3] < losses[0] || matches!(model, ModelConfig::Gan(_));
    assert!(learns, "{losses:?}");
}

#[test]
fn an_autoencoder_resumes_bit_for_bit() {
    resumed_equals_uninterrupted(ModelConfig::Vae(VaeConfig { hidden: 16, latent: 3 }));
}

#[test]
fn a_classifier_resumes_bit_for_bit() {
    let model = ClassifierConfig { channels: 3, hidden: 8 };
    resumed_equals_uninterrupted(ModelConfig::Classifier(model));
}

#[test]
fn adversarial_networks_resume_bit_for_bit() {
    resumed_equals_uninterrupted(ModelConfig::Gan(GanConfig { channels: 2, latent: 3 }));
}

#[test]
fn a_regression_resumes_bit_for_bit() {
    resumed_equals_uninterrupted(ModelConfig::Linear);
}

#[test]
fn the_order_and_noise_depend_on_the_seed_but_not_on_prefetch() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let run = |seed, prefetch| {
        let (outcome, _) = train(&runtime, &dataset, &memory(), 1, |run| {
            run.config.seed = seed;
            run.prefetch = crate::support::count(prefetch);
        })
        .unwrap();
        curve(&outcome)
    };
    assert_eq!(run(1, 1), run(1, 7));
    assert_ne!(run(1, 1), run(2, 1));
}

#[test]
fn a_finished_run_is_left_as_it_is() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let (first, _) = train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    let manifest = read(&runtime, &place, "checkpoints/epoch-0001/manifest.json");
    let (again, _) = train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    assert_eq!(again.history, first.history);
    assert_eq!(manifest, read(&runtime, &place, "checkpoints/epoch-0001/manifest.json"));
}

#[test]
fn runs_are_never_mixed() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let missing = train(&runtime, &dataset, &place, 1, |run| run.resume = Resume::Require);
    assert!(matches!(missing, Err(RunError::NothingToResume(_))));
    train(&runtime, &dataset, &place, 1, |_| ()).unwrap();

    let other = train(&runtime, &dataset, &place, 2, |run| run.config.seed = 6).unwrap_err();
    assert!(other.to_string().contains("seed: 5, not 6"), "{other}");
    let exists = train(&runtime, &dataset, &place, 2, |run| run.resume = Resume::Refuse);
    assert!(matches!(exists, Err(RunError::Exists { .. })));
}

#[test]
fn a_diverging_run_stops_and_keeps_its_checkpoints() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let error =
        train(&runtime, &dataset, &place, 3, |run| run.config.learning_rate = 1e20).unwrap_err();
    assert!(error.to_string().contains("lower the learning rate"), "{error}");
}

//! A run that was cut off ends with the same numbers as one that wasn't.

use crate::support::{cpu, dataset, load, memory, read, runtime, steps, train, watched};
use std::num::NonZeroU64;

use coffer_client::place::Place;
use coffer_train::checkpoint::{CheckpointId, STATE, Selector, State};
use coffer_train::metrics::Confusion;
use coffer_train::model::classifier::ClassifierConfig;
use coffer_train::model::gan::GanConfig;
use coffer_train::model::vae::VaeConfig;
use coffer_train::train::{
    Ending, EpochRecord, Event, Losses, ModelConfig, Outcome, Resume, Run, RunError,
};
use tokio::runtime::Runtime;

type Scored = (Losses, Losses, Option<Confusion>);

fn curve(outcome: &Outcome) -> Vec<Scored> {
    let of = |record: &EpochRecord| (record.train.clone(), record.test.clone(), record.confusion);
    outcome.history.iter().map(of).collect()
}

/// The latest checkpoints of two runs hold the same, but for how long things took.
fn same_weights(runtime: &Runtime, one: &Place, other: &Place) {
    let [one, other] = [one, other].map(|place| load(runtime, place, Selector::Latest));
    assert!(one.parts.keys().eq(other.parts.keys()));
    for (name, content) in one.parts.iter().filter(|(name, _)| *name != STATE) {
        assert!(other.parts[name] == content, "{name} differs");
    }
    let [one, other] = [one, other].map(|loaded| State::of(&loaded).unwrap());
    assert_eq!((one.step, one.cursor, one.partial), (other.step, other.cursor, other.partial));
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
    same_weights(&runtime, &whole, &cut);
    for picture in &uninterrupted.pictures {
        let name = picture.strip_prefix("memory://test/").unwrap();
        // What it took is the only thing that may differ.
        if name == "plots/cost.png" {
            continue;
        }
        assert!(read(&runtime, &whole, name) == read(&runtime, &cut, name), "{name} differs");
    }
    let losses: Vec<f64> = uninterrupted.history.iter().map(|r| r.test.total()).collect();
    // What two adversaries lose says nothing about whether they learn.
    let learns = losses[3] < losses[0] || matches!(model, ModelConfig::Gan(_));
    assert!(learns, "{losses:?}");
}

/// Breaks a run off again and again, in the middle of its epochs, and compares everything.
fn resumed_mid_epoch_equals_uninterrupted(model: ModelConfig) {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let (whole, cut) = (memory(), memory());
    let change = |run: &mut Run<'_>| {
        run.config.model = model;
        run.config.decay = 0.9;
        run.config.validation = 0.1;
    };
    let (uninterrupted, _) = train(&runtime, &dataset, &whole, 3, change).unwrap();
    let mut stops = Vec::new();
    let resumed = loop {
        let every = |run: &mut Run<'_>| {
            change(run);
            run.saving.every = NonZeroU64::new(5);
        };
        let (outcome, warnings) = watched(&runtime, &dataset, &cut, 3, every, |event, stop| {
            if let Event::Saving { .. } = event {
                stop.cancel();
            }
        })
        .unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        if outcome.ending == Ending::Finished {
            break outcome;
        }
        stops.push(outcome.checkpoint.unwrap().0);
    };
    // 12 steps an epoch. Stopped one step after each checkpoint that it took by itself, and where an
    // epoch had ended.
    assert_eq!(stops, [6, 11, 12, 16, 21, 24, 26, 31]);
    assert_eq!(
        steps(&runtime, &cut),
        [5, 6, 10, 11, 12, 15, 16, 20, 21, 24, 25, 26, 30, 31, 35, 36]
    );
    assert_eq!(curve(&resumed), curve(&uninterrupted));
    same_weights(&runtime, &whole, &cut);
    assert_eq!(resumed.best, uninterrupted.best);
    let [one, other] = [&whole, &cut].map(|place| {
        let loaded = load(&runtime, place, Selector::Epoch(2));
        assert_eq!(loaded.entry.id, CheckpointId(24));
        loaded.entry.metrics
    });
    assert_eq!(one, other);
}

#[test]
fn an_autoencoder_resumes_in_the_middle_of_an_epoch() {
    resumed_mid_epoch_equals_uninterrupted(ModelConfig::Vae(VaeConfig { hidden: 16, latent: 3 }));
}

#[test]
fn adversarial_networks_resume_in_the_middle_of_an_epoch() {
    resumed_mid_epoch_equals_uninterrupted(ModelConfig::Gan(GanConfig { channels: 2, latent: 3 }));
}

#[test]
fn a_classifier_resumes_in_the_middle_of_an_epoch() {
    let model = ClassifierConfig { channels: 3, hidden: 8 };
    resumed_mid_epoch_equals_uninterrupted(ModelConfig::Classifier(model));
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
    let root = read(&runtime, &place, "checkpoints/index.json");
    let (again, _) = train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    assert_eq!(again.history, first.history);
    assert_eq!(root, read(&runtime, &place, "checkpoints/index.json"));
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

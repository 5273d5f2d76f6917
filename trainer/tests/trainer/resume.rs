//! A run that was cut off ends with the same numbers as one that wasn't.

use crate::support::{dataset, memory, read, runtime, train};
use coffer_train::train::{Losses, Outcome, Resume, RunError};

const PARTS: [&str; 2] = ["model.safetensors", "optimizer.safetensors"];

fn curve(outcome: &Outcome) -> Vec<(Losses, Losses)> {
    outcome.history.iter().map(|record| (record.train.clone(), record.test.clone())).collect()
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one_bit_for_bit() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let (whole, cut) = (memory(), memory());
    let (uninterrupted, _) = train(&runtime, &dataset, &whole, 4, |_| ()).unwrap();
    let (before, _) = train(&runtime, &dataset, &cut, 2, |_| ()).unwrap();
    // A new learner, whose parameters have other ids and other weights than the first's.
    let (resumed, warnings) =
        train(&runtime, &dataset, &cut, 4, |run| run.resume = Resume::Require).unwrap();

    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(curve(&before), curve(&uninterrupted)[..2]);
    assert_eq!(curve(&resumed), curve(&uninterrupted));
    for part in PARTS {
        let name = format!("checkpoints/epoch-0004/{part}");
        let (one, other) = (read(&runtime, &whole, &name), read(&runtime, &cut, &name));
        assert!(one == other, "{part} differs");
    }
    let grid = "plots/grid.png";
    assert!(read(&runtime, &whole, grid) == read(&runtime, &cut, grid));
    let losses: Vec<f64> = uninterrupted.history.iter().map(|r| r.test.total()).collect();
    assert!(losses.windows(2).all(|pair| pair[1] < pair[0]), "it learns: {losses:?}");
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

//! Damaged and torn checkpoints are named and passed over; racing trainers notice each other.

use crate::support::{damage, dataset, delete, memory, read, runtime, train, write};
use coffer_client::place::Place;
use coffer_train::checkpoint::{CheckpointError, CheckpointId, Checkpoints};
use coffer_train::train::RunError;

#[test]
fn a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    for part in ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"] {
        let place = memory();
        let (whole, _) = train(&runtime, &dataset, &place, 3, |_| ()).unwrap();
        let name = format!("checkpoints/epoch-0003/{part}");
        let sound = read(&runtime, &place, &name);
        damage(&runtime, &place, &name);

        let (again, warnings) = train(&runtime, &dataset, &place, 3, |_| ()).unwrap();
        assert_eq!(warnings.len(), 1);
        let expected = format!("corrupt checkpoint: memory://test/{name}: ");
        assert!(warnings[0].starts_with(&expected), "{}", warnings[0]);
        assert_eq!(again.history[2].test, whole.history[2].test, "the epoch is learned again");
        if part == "model.safetensors" {
            assert!(read(&runtime, &place, &name) == sound, "and written again");
        }
    }
}

#[test]
fn a_checkpoint_without_manifest_is_not_there() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    train(&runtime, &dataset, &place, 2, |_| ()).unwrap();
    delete(&runtime, &place, "checkpoints/epoch-0002/manifest.json");
    delete(&runtime, &place, "checkpoints/latest");
    let mut checkpoints = Checkpoints::new(&place);
    let found = runtime.block_on(checkpoints.newest()).unwrap().unwrap();
    assert_eq!((found.id, found.passed_over), (CheckpointId(1), vec![]));
    assert_eq!(runtime.block_on(checkpoints.list()).unwrap(), [CheckpointId(1)]);
    let torn = runtime.block_on(checkpoints.load(CheckpointId(2)));
    assert!(matches!(torn, Err(CheckpointError::Missing(_))));
}

/// A kill between the manifest and `latest`, or a pointer that is damaged.
#[test]
fn latest_may_lag_behind_or_be_damaged() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    let lagging = read(&runtime, &place, "checkpoints/latest");
    let (whole, _) = train(&runtime, &dataset, &place, 3, |_| ()).unwrap();

    write(&runtime, &place, "checkpoints/latest", lagging);
    let (again, warnings) = train(&runtime, &dataset, &place, 3, |_| ()).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(again.history[2].test, whole.history[2].test);

    write(&runtime, &place, "checkpoints/latest", b"{".to_vec());
    let (_, warnings) = train(&runtime, &dataset, &place, 3, |_| ()).unwrap();
    assert!(warnings[0].contains("checkpoints/latest"), "{warnings:?}");
}

#[test]
fn with_every_checkpoint_damaged_nothing_is_overwritten() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    train(&runtime, &dataset, &place, 2, |_| ()).unwrap();
    for epoch in 1..=2 {
        damage(&runtime, &place, &format!("checkpoints/epoch-000{epoch}/model.safetensors"));
    }
    let error = train(&runtime, &dataset, &place, 2, |_| ()).unwrap_err();
    assert!(error.is_corruption());
    assert!(error.to_string().contains("epoch-0002/model.safetensors"), "{error}");
}

#[test]
fn two_trainers_on_one_run_notice_each_other() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    let (mut one, mut two) = (Checkpoints::new(&place), Checkpoints::new(&place));
    let found = runtime.block_on(one.newest()).unwrap().unwrap();
    runtime.block_on(two.newest()).unwrap();
    let mut next = found.checkpoint;
    next.state.history.push(next.state.history[0].clone());
    runtime.block_on(one.save(&next)).unwrap();
    next.state.history.push(next.state.history[0].clone());
    let error = runtime.block_on(two.save(&next)).unwrap_err();
    assert!(matches!(error, CheckpointError::Raced(_)), "{error}");
    // The first may go on.
    runtime.block_on(one.save(&next)).unwrap();
}

/// Local directories know no conditional writes; runs work there all the same.
#[test]
fn checkpoints_work_in_a_directory() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let dir = tempfile::tempdir().unwrap();
    let place = Place::directory(dir.path()).unwrap();
    train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    let (outcome, _) = train(&runtime, &dataset, &place, 2, |_| ()).unwrap();
    assert_eq!(outcome.checkpoint, CheckpointId(2));
    for file in ["checkpoints/latest", "plots/loss.png", "plots/grid-epoch-0001.png"] {
        assert!(dir.path().join(file).is_file(), "{file}");
    }
}

/// Weights of another model don't slip in.
#[test]
fn weights_that_do_not_fit_are_refused() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    let mut checkpoints = Checkpoints::new(&place);
    let found = runtime.block_on(checkpoints.newest()).unwrap().unwrap();
    let mut forged = found.checkpoint;
    let weights = forged.parts["optimizer.safetensors"].clone();
    forged.parts.insert("model.safetensors".into(), weights);
    runtime.block_on(checkpoints.save(&forged)).unwrap();
    let error = train(&runtime, &dataset, &place, 2, |_| ()).unwrap_err();
    assert!(matches!(error, RunError::Learner(_)), "{error}");
}

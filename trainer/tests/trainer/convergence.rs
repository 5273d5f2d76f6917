//! Runs that hold samples out end when they have converged, and know which epoch was the best.

use crate::support::{count, dataset, load, memory, runtime, train};
use coffer_train::checkpoint::{CheckpointId, Selector};
use coffer_train::train::{Patience, Resume, Run, RunError};

/// The checkpoint at the end of an epoch of ten steps.
fn end_of(epoch: u64) -> Option<CheckpointId> {
    Some(CheckpointId(10 * epoch))
}

/// No epoch improves the loss by so much: the run ends after the first and two more.
fn impatient(run: &mut Run<'_>) {
    run.config.validation = 0.2;
    run.patience = Some(Patience { epochs: count(2), improvement: 1e9 });
}

#[test]
fn a_run_ends_when_validation_no_longer_improves_also_after_a_break() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let (whole, cut) = (memory(), memory());
    let (uninterrupted, _) = train(&runtime, &dataset, &whole, 9, impatient).unwrap();
    assert_eq!(uninterrupted.checkpoint, end_of(3));
    train(&runtime, &dataset, &cut, 2, impatient).unwrap();
    let (resumed, _) = train(&runtime, &dataset, &cut, 9, impatient).unwrap();
    assert_eq!(resumed.checkpoint, end_of(3));
    let (again, _) = train(&runtime, &dataset, &cut, 9, impatient).unwrap();
    assert_eq!(again.checkpoint, end_of(3), "what has converged is left alone");
    let losses = |outcome: &coffer_train::train::Outcome| -> Vec<_> {
        outcome.history.iter().map(|record| record.validation.clone()).collect()
    };
    assert_eq!(losses(&resumed), losses(&uninterrupted));
    assert!(losses(&resumed).iter().all(Option::is_some));

    // With more patience, it goes on.
    let more = |run: &mut Run<'_>| {
        impatient(run);
        run.patience = None;
        run.resume = Resume::Require;
    };
    let (longer, _) = train(&runtime, &dataset, &cut, 4, more).unwrap();
    assert_eq!(longer.checkpoint, end_of(4));
}

#[test]
fn the_best_checkpoint_is_remembered() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let (outcome, _) = train(&runtime, &dataset, &place, 3, |run| {
        run.config.validation = 0.2;
    })
    .unwrap();
    let loss = |at: usize| outcome.history[at].validation.as_ref().unwrap().total();
    let least = (0..3).min_by(|one, other| loss(*one).total_cmp(&loss(*other))).unwrap();
    let best = end_of(least as u64 + 1);
    assert_eq!(outcome.best, best);
    assert_eq!(Some(load(&runtime, &place, Selector::Best).entry.id), best);
}

#[test]
fn a_share_that_holds_out_nothing_is_refused() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let error = train(&runtime, &dataset, &memory(), 1, |run| run.config.validation = 0.001);
    assert!(matches!(error, Err(RunError::NothingHeldOut { .. })));
}

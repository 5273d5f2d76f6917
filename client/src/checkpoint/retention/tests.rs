use super::*;
use proptest::prelude::*;

fn last(count: usize) -> Retention {
    Retention { last: NonZeroUsize::new(count), every: None }
}

fn every(text: &str) -> Retention {
    Retention { last: None, every: Some(text.parse().unwrap()) }
}

/// The steps of those that stay.
fn kept(retention: &Retention, candidates: &[Candidate]) -> Vec<u64> {
    let plan = retention.plan(candidates);
    let stays = candidates.iter().zip(plan).filter(|(_, reasons)| !reasons.is_empty());
    stays.map(|(candidate, _)| candidate.step).collect()
}

fn at(step: u64) -> Candidate {
    Candidate { step, end_of_epoch: None, pinned: false, best: false, latest: false }
}

#[test]
fn rules_by_example() {
    let all = [100, 250, 300, 990, 1010, 1999, 2000, 2001].map(at);
    assert_eq!(kept(&last(2), &all), [2000, 2001]);
    assert_eq!(kept(&last(100), &all).len(), 8);
    // None was saved at 1000; and the beginning is no multiple.
    assert_eq!(kept(&every("1000steps"), &all), [1010, 2000]);
    assert!(kept(&every("1000epochs"), &all).is_empty());
    let epochs: Vec<_> = (1..=7)
        .flat_map(|epoch| {
            let end = Candidate { end_of_epoch: Some(epoch), ..at(epoch * 10) };
            [at(epoch * 10 - 5), end]
        })
        .collect();
    assert_eq!(kept(&every("3epochs"), &epochs), [30, 60]);
    let both = Retention { last: NonZeroUsize::new(3), ..every("3epochs") };
    assert_eq!(kept(&both, &epochs), [30, 60, 65, 70]);
    assert_eq!(both.plan(&epochs)[13], [Reason::Last(NonZeroUsize::new(3).unwrap())]);
}

#[test]
fn distances() {
    for (text, shown) in [("5epochs", "5 epochs"), ("1epoch", "1 epochs"), ("9steps", "9 steps")] {
        assert_eq!(text.parse::<Every>().unwrap().to_string(), shown);
    }
    for text in
        ["", "5", "epochs", "0epochs", "-1steps", "5 epochs", "5é", "99999999999999999999steps"]
    {
        assert!(text.parse::<Every>().is_err(), "{text}");
    }
}

prop_compose! {
    fn candidate()(
        step in 0..200_u64,
        ends in any::<bool>(),
        pinned in prop::bool::weighted(0.1),
    ) -> Candidate {
        // An epoch has ten steps.
        let end_of_epoch = (ends && step % 10 == 0).then_some(step / 10);
        Candidate { step, end_of_epoch, pinned, best: false, latest: false }
    }
}

/// A run's checkpoints, each at another step, in any order; one is the latest, one the best.
fn run() -> impl Strategy<Value = Vec<Candidate>> {
    let some = prop::collection::vec(candidate(), 1..40);
    (some, any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        |(mut run, latest, best)| {
            let mut steps = BTreeSet::new();
            run.retain(|one| steps.insert(one.step));
            let count = run.len();
            run[latest.index(count)].latest = true;
            run[best.index(count)].best = true;
            run
        },
    )
}

fn rules() -> impl Strategy<Value = Retention> {
    let distance = || (1..60_u64).prop_map(|n| NonZeroU64::new(n).unwrap());
    let every = prop_oneof![distance().prop_map(Every::Epochs), distance().prop_map(Every::Steps)];
    (prop::option::of(1..10_usize), prop::option::of(every))
        .prop_map(|(last, every)| Retention { last: last.and_then(NonZeroUsize::new), every })
}

proptest! {
    #[test]
    fn what_must_stay_stays(run in run(), rules in rules()) {
        let plan = rules.plan(&run);
        prop_assert_eq!(plan.len(), run.len());
        let stays = |wanted: &dyn Fn(&Candidate) -> bool| {
            run.iter().zip(&plan).all(|(one, reasons)| !wanted(one) || !reasons.is_empty())
        };
        prop_assert!(stays(&|one| one.latest || one.best || one.pinned));
        if let Some(count) = rules.last {
            let newer = |than: u64| run.iter().filter(|other| other.step > than).count();
            prop_assert!(stays(&|one| newer(one.step) < count.get()));
        }
    }

    #[test]
    fn without_rules_nothing_goes(run in run()) {
        prop_assert_eq!(kept(&Retention::default(), &run).len(), run.len());
    }

    #[test]
    fn what_goes_has_no_claim(run in run(), rules in rules()) {
        prop_assume!(rules != Retention::default());
        for (one, reasons) in run.iter().zip(rules.plan(&run)) {
            if !reasons.is_empty() {
                continue;
            }
            prop_assert!(!(one.latest || one.best || one.pinned));
            let newer = run.iter().filter(|other| other.step > one.step).count();
            prop_assert!(rules.last.is_none_or(|count| newer >= count.get()));
            // Its span, if it has one, is stood for by an older one that stays.
            if let Some(every) = rules.every
                && let Some(span) = every.span(one).filter(|span| *span > 0)
            {
                let stands = |other: &Candidate| every.span(other) == Some(span) && other.step < one.step;
                let first = run.iter().filter(|other| stands(other)).map(|other| other.step).min();
                prop_assert!(first.is_some_and(|step| kept(&rules, &run).contains(&step)));
            }
        }
    }

    #[test]
    fn the_order_they_come_in_is_of_no_matter(run in run(), rules in rules()) {
        let mut sorted = run.clone();
        sorted.sort_by_key(|one| one.step);
        let mut kept_here = kept(&rules, &run);
        kept_here.sort_unstable();
        prop_assert_eq!(kept_here, kept(&rules, &sorted));
    }

    #[test]
    fn pruning_twice_or_after_each_save_is_as_pruning_once(run in run(), rules in rules()) {
        let mut run = run;
        run.sort_by_key(|one| one.step);
        // As it is while a run goes on: the newest is the latest, and what is best or pinned
        // was so from the beginning.
        run.iter_mut().for_each(|one| one.latest = false);
        let mut there: Vec<Candidate> = Vec::new();
        for one in &run {
            there.iter_mut().for_each(|other| other.latest = false);
            there.push(Candidate { latest: true, ..*one });
            let stays = kept(&rules, &there);
            there.retain(|one| stays.contains(&one.step));
            prop_assert_eq!(&kept(&rules, &there), &stays);
        }
        run.last_mut().unwrap().latest = true;
        let left: Vec<u64> = there.iter().map(|one| one.step).collect();
        prop_assert_eq!(left, kept(&rules, &run));
    }

    #[test]
    fn more_is_kept_with_a_greater_number(run in run(), rules in rules(), more in 0..10_usize) {
        if let Some(count) = rules.last {
            let wider = Retention { last: count.checked_add(more), ..rules };
            let (some, others) = (kept(&rules, &run), kept(&wider, &run));
            prop_assert!(some.iter().all(|step| others.contains(step)));
        }
    }

    #[test]
    fn arbitrary_distances_never_panic(text: String) {
        let _ = text.parse::<Every>();
    }
}

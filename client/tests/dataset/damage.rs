//! Stores that fail, hang and send something else; shards that are damaged or gone.

use crate::store::{Fault, Store};
use crate::support::{all, config, damage, dataset, delete, keys, options, read, runtime, write};
use coffer_client::dataset::pack::{Existing, PackError, Packing};
use coffer_client::dataset::shard::ShardWriter;
use coffer_client::dataset::{
    Cursor, Damage, Dataset, DatasetError, Decode, Delivery, Loader, LoaderConfig, OnCorrupt,
    Sample, SplitName, verify,
};
use futures::TryStreamExt;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

const SECOND: &str = "train-000001.tar";

fn skipping() -> LoaderConfig {
    LoaderConfig { on_corrupt: OnCorrupt::Skip, ..config(1, 20) }
}

#[test]
fn what_passes_is_read_again_and_changes_nothing() {
    use Fault::{Break, Fail, Flip, Hang, Stall};
    let (runtime, store) = (runtime(), Store::default());
    let dataset = runtime.block_on(dataset(&store, &[10; 4], options()));
    let run = || runtime.block_on(all(&dataset, config(1, 20), Cursor::default(), 1));
    let whole = run().unwrap();
    for faults in [
        &[Fail][..],
        &[Break],
        &[Hang],
        &[Stall],
        &[Flip],
        &[Fail, Break, Stall],
        &[Fail, Flip, Break, Hang],
    ] {
        store.faults(SECOND, faults);
        let before = (dataset.stats().retries, store.reads(SECOND));
        assert!(run().unwrap() == whole, "{faults:?}");
        assert_eq!(dataset.stats().retries - before.0, faults.len() as u64, "{faults:?}");
        assert_eq!(store.reads(SECOND) - before.1, faults.len() + 1, "{faults:?}");
    }
    assert_eq!(dataset.stats().skipped_samples, 0);
}

#[test]
fn patience_ends_and_what_will_not_pass_is_not_tried_again() {
    use Fault::{Deny, Fail, Flip, Hang};
    let (runtime, store) = (runtime(), Store::default());
    let dataset = runtime.block_on(dataset(&store, &[10; 4], options()));
    for (faults, reads) in [(&[Fail; 9][..], 4), (&[Hang; 9], 4), (&[Deny; 9], 1), (&[Flip; 9], 2)]
    {
        let before = store.reads(SECOND);
        store.faults(SECOND, faults);
        // Skipping is for damage, not for a store that is out of reach.
        let config = if faults[0] == Flip { config(1, 20) } else { skipping() };
        let error = runtime.block_on(all(&dataset, config, Cursor::default(), 1)).unwrap_err();
        assert_eq!(error.is_corruption(), faults[0] == Flip, "{error}");
        assert!(error.to_string().contains("memory://test/train-000001.tar"), "{error}");
        assert_eq!(store.reads(SECOND) - before, reads, "{faults:?}");
        store.forget_faults();
    }
}

#[test]
fn damaged_and_missing_shards_are_named_or_skipped_in_order() {
    let (runtime, store) = (runtime(), Store::default());
    let dataset = runtime.block_on(dataset(&store, &[10; 5], options()));
    let run = |config, from| runtime.block_on(all(&dataset, config, from, 3));
    let whole = run(config(1, 20), Cursor::default()).unwrap();
    let place = store.place();
    runtime.block_on(damage(&place, SECOND));
    let error = run(config(1, 20), Cursor::default()).unwrap_err().to_string();
    assert!(error.starts_with("corrupt shard memory://test/train-000001.tar: "), "{error}");
    runtime.block_on(delete(&place, "train-000003.tar"));
    let skipped = run(skipping(), Cursor::default()).unwrap();
    // The others are where they were, by place and order.
    let lost = |key: &str| ["s001", "s003"].iter().any(|start| key.starts_with(start));
    let rest: Vec<_> = whole
        .iter()
        .filter(|delivery| delivery.as_ref().is_none_or(|(_, sample)| !lost(&sample.key)))
        .cloned()
        .collect();
    assert_eq!(keys(&rest).len(), 90);
    assert!(skipped == rest);
    let stats = dataset.stats();
    assert_eq!((stats.skipped_shards, stats.skipped_samples), (6, 60));
    for at in [0, 17, 40] {
        let (from, _) = rest[at].clone().unwrap();
        assert!(run(skipping(), from).unwrap() == rest[at..], "from {at}");
    }
}

#[test]
fn an_epoch_of_which_nothing_is_left_is_an_error() {
    let (runtime, store) = (runtime(), Store::default());
    let dataset = runtime.block_on(dataset(&store, &[3; 2], options()));
    for name in ["train-000000.tar", SECOND] {
        runtime.block_on(damage(&store.place(), name));
    }
    let error = runtime.block_on(all(&dataset, skipping(), Cursor::default(), 2)).unwrap_err();
    assert!(matches!(error, DatasetError::NothingLeft { epoch: 1, .. }), "{error}");
}

/// Takes even classes only.
struct Even;

impl Decode for Even {
    type Item = String;

    fn decode(&self, sample: Sample) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let class: u8 = std::str::from_utf8(&sample.fields["cls"])?.parse()?;
        if class.is_multiple_of(2) { Ok(sample.key) } else { Err("an odd class".into()) }
    }
}

#[test]
fn samples_that_cannot_be_decoded_are_named_or_skipped_one_by_one() {
    let (runtime, store) = (runtime(), Store::default());
    let dataset = runtime.block_on(dataset(&store, &[10; 2], options()));
    let run = |config| {
        runtime.block_on(async {
            let (handle, from) = (tokio::runtime::Handle::current(), Cursor::default());
            let mut loader = Loader::start(&handle, &dataset, Even, config, from, 1)?;
            let mut keys = Vec::new();
            while let Some(delivery) = loader.next().await? {
                if let Delivery::Sample { item, .. } = delivery {
                    keys.push(item);
                }
            }
            keys.sort();
            Ok::<_, DatasetError>(keys)
        })
    };
    let error = run(config(1, 20)).unwrap_err();
    assert!(error.is_corruption());
    assert!(
        error.to_string().contains("s0001: an odd class") || error.to_string().contains("s0011")
    );
    let keys = run(skipping()).unwrap();
    let wanted: Vec<String> = (0..20).step_by(2).map(|at| format!("s{at:04}")).collect();
    assert_eq!(keys, wanted);
    assert_eq!(dataset.stats().skipped_samples, 10);
}

#[test]
fn verify_names_each_shard_that_is_not_as_the_index_says() {
    let (runtime, store) = (runtime(), Store::default());
    let place = store.place();
    let dataset = runtime.block_on(dataset(&store, &[4; 6], options()));
    let problems = || {
        let checked = verify(&dataset, vec![SplitName::train()], crate::support::count(3));
        let checked: Vec<_> = runtime.block_on(checked.try_collect()).unwrap();
        assert_eq!(checked.len(), 6);
        let named =
            checked.into_iter().filter_map(|shard| Some((shard.entry.name, shard.problem?)));
        named.map(|(name, problem)| (name.to_string(), problem)).collect::<BTreeMap<_, _>>()
    };
    assert!(problems().is_empty());
    runtime.block_on(async {
        damage(&place, "train-000000.tar").await;
        delete(&place, "train-000002.tar").await;
        let mut longer = read(&place, "train-000003.tar").await;
        longer.push(0);
        write(&place, "train-000003.tar", longer).await;
        write(&place, "train-000005.tar", Vec::new()).await;
    });
    let found = problems();
    let of = |number: usize| match &found[&format!("train-00000{number}.tar")] {
        DatasetError::Corrupt { damage: Damage::Hash { .. }, .. } => "hash",
        DatasetError::Corrupt { damage: Damage::Size { .. }, .. } => "size",
        DatasetError::Missing { .. } => "missing",
        other => panic!("{other}"),
    };
    assert_eq!(found.len(), 4);
    assert_eq!([of(0), of(2), of(3), of(5)], ["hash", "missing", "size", "size"]);
}

/// What was packed wrongly has the right hash.
#[test]
fn a_shard_that_holds_less_than_its_index_says_is_damaged() {
    let (runtime, store) = (runtime(), Store::default());
    let place = store.place();
    runtime.block_on(async {
        let packing =
            Packing::begin(&place, Existing::Refuse, CancellationToken::new()).await.unwrap();
        let fill = |shard: &mut ShardWriter<_>| {
            shard.push(&crate::support::sample(1)).unwrap();
            Ok::<(), PackError>(())
        };
        let split = SplitName::train();
        let mut shard = packing.shard(&split, 0, fill).await.unwrap();
        shard.entry.samples = 2;
        let splits = BTreeMap::from([(split.clone(), vec![shard])]);
        packing.publish("test", BTreeMap::new(), splits).await.unwrap();
        let dataset = Dataset::open(&place, options()).await.unwrap();
        let checked: Vec<_> =
            verify(&dataset, vec![split], crate::support::count(1)).try_collect().await.unwrap();
        let problem = checked[0].problem.as_ref().unwrap().to_string();
        assert!(problem.contains("holds 1 samples where the index says 2"), "{problem}");
    });
}

//! Packing: the same data gives the same dataset, and a dataset is never half replaced.

use crate::store::Store;
use crate::support::{all, config, count, options, pack, read, runtime, sample};
use coffer_client::dataset::pack::files::Plan;
use coffer_client::dataset::pack::{Existing, PackError, Packing, ShardLimit};
use coffer_client::dataset::shard::{ShardError, ShardWriter};
use coffer_client::dataset::{Cursor, Dataset, DatasetError, Index, Sample, SplitName};
use coffer_client::place::Place;
use coffer_client::transfer::LocalFile;
use futures::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::Path;
use tokio_util::sync::CancellationToken;

async fn names(place: &Place) -> BTreeSet<String> {
    let found: Vec<_> = place.store().list(None).try_collect().await.unwrap();
    found.into_iter().map(|object| object.location.to_string()).collect()
}

#[test]
fn a_dataset_is_replaced_whole_or_not_at_all() {
    let (runtime, store) = (runtime(), Store::default());
    let place = store.place();
    runtime.block_on(async {
        let first = pack(&place, &[5, 5], Existing::Refuse).await.unwrap();
        let reader = Dataset::open(&place, options()).await.unwrap();
        let refused = pack(&place, &[7], Existing::Refuse).await.unwrap_err();
        assert!(matches!(refused, PackError::Exists(_)), "{refused}");

        // One that breaks off leaves the old dataset as it was, also for those that read it.
        let packing =
            Packing::begin(&place, Existing::Replace, CancellationToken::new()).await.unwrap();
        let fill = |shard: &mut ShardWriter<_>| {
            shard.push(&sample(1)).unwrap();
            Ok::<(), PackError>(())
        };
        packing.shard(&SplitName::train(), 0, fill).await.unwrap();
        drop(packing);
        let found = all(&reader, config(1, 9), Cursor::default(), 1).await.unwrap();
        assert_eq!(found.iter().flatten().count(), 10);
        assert_eq!(Dataset::open(&place, options()).await.unwrap().index(), &first);

        // The same data again is the same version, whatever the shards are called.
        let same = pack(&place, &[5, 5], Existing::Replace).await.unwrap();
        assert_eq!(same.version, first.version);
        let other = pack(&place, &[7], Existing::Replace).await.unwrap();
        assert_ne!(other.version, first.version);
        let now = Dataset::open(&place, options()).await.unwrap();
        let found = all(&now, config(1, 9), Cursor::default(), 1).await.unwrap();
        assert_eq!(found.iter().flatten().count(), 7);
        // Index, its shard, and the one of the packing that broke off.
        let left = names(&place).await;
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(!left.contains("train-000000.tar"));
    });
}

#[test]
fn of_two_that_pack_at_once_one_is_told() {
    let (runtime, store) = (runtime(), Store::default());
    let place = store.place();
    runtime.block_on(async {
        let begin = || Packing::begin(&place, Existing::Refuse, CancellationToken::new());
        let (one, two) = (begin().await.unwrap(), begin().await.unwrap());
        let publish = async |packing: Packing, samples: usize| {
            let fill = move |shard: &mut ShardWriter<_>| {
                (0..samples).for_each(|at| shard.push(&sample(at)).unwrap());
                Ok::<(), PackError>(())
            };
            let split = SplitName::train();
            let shard = packing.shard(&split, 0, fill).await?;
            packing.publish("x", BTreeMap::new(), BTreeMap::from([(split, vec![shard])])).await
        };
        publish(one, 1).await.unwrap();
        let raced = publish(two, 2).await.unwrap_err();
        assert!(matches!(raced, PackError::Raced(_)), "{raced}");
    });
}

#[test]
fn a_damaged_index_can_be_replaced_only_on_purpose() {
    let (runtime, store) = (runtime(), Store::default());
    let place = store.place();
    runtime.block_on(async {
        pack(&place, &[2], Existing::Refuse).await.unwrap();
        crate::support::write(&place, "index.json", b"{".to_vec()).await;
        assert!(pack(&place, &[2], Existing::Refuse).await.is_err());
        pack(&place, &[2], Existing::Replace).await.unwrap();
        Dataset::open(&place, options()).await.unwrap();
    });
}

/// Larger than one part of an upload, and than all that are under way.
#[test]
fn large_shards_are_uploaded_in_parts() {
    let (runtime, store) = (runtime(), Store::default());
    let place = store.place();
    let content = |at: u8| -> Vec<u8> { (0..7_000_000u32).map(|i| at ^ (i % 251) as u8).collect() };
    runtime.block_on(async {
        let packing =
            Packing::begin(&place, Existing::Refuse, CancellationToken::new()).await.unwrap();
        let fill = move |shard: &mut ShardWriter<_>| {
            for at in 0..6u8 {
                let fields = BTreeMap::from([("bin".to_owned(), content(at).into())]);
                shard.push(&Sample { key: at.to_string(), fields }).unwrap();
            }
            Ok::<(), PackError>(())
        };
        let split = SplitName::train();
        let shard = packing.shard(&split, 0, fill).await.unwrap();
        assert!(shard.entry.bytes > 42_000_000);
        let splits = BTreeMap::from([(split, vec![shard])]);
        packing.publish("test", BTreeMap::new(), splits).await.unwrap();
        let dataset = Dataset::open(&place, options()).await.unwrap();
        let found = all(&dataset, config(1, 9), Cursor::default(), 1).await.unwrap();
        for (_, sample) in found.iter().flatten() {
            assert!(sample.fields["bin"] == content(sample.key.parse().unwrap()));
        }
    });
}

#[test]
fn what_fails_or_is_cancelled_leaves_no_shard() {
    let (runtime, store) = (runtime(), Store::default());
    let place = store.place();
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        let packing = Packing::begin(&place, Existing::Refuse, cancel.clone()).await.unwrap();
        let large = |at: usize| Sample {
            key: at.to_string(),
            fields: BTreeMap::from([("bin".to_owned(), vec![7; 20 << 20].into())]),
        };
        let failing = move |shard: &mut ShardWriter<_>| {
            shard.push(&large(0)).unwrap();
            let source = ShardError::NoFields("x".to_owned());
            Err::<(), _>(PackError::Shard { what: "x".to_owned(), source })
        };
        let failed = packing.shard(&SplitName::train(), 0, failing).await.unwrap_err();
        assert!(matches!(failed, PackError::Shard { .. }), "{failed}");
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiting = move |shard: &mut ShardWriter<_>| {
            shard.push(&large(0)).unwrap();
            sender.send(()).unwrap();
            // Ends when the upload does.
            let ended = (1..).find(|at| shard.push(&large(*at)).is_err());
            assert!(ended.is_some());
            Ok::<(), PackError>(())
        };
        let waiter = tokio::task::spawn_blocking(move || {
            receiver.recv().unwrap();
            cancel.cancel();
        });
        let cancelled = packing.shard(&SplitName::train(), 1, waiting).await.unwrap_err();
        assert!(matches!(cancelled, PackError::Cancelled), "{cancelled}");
        waiter.await.unwrap();
        assert_eq!(names(&place).await, BTreeSet::new());
        let none = Dataset::open(&place, options()).await.unwrap_err();
        assert!(matches!(none, DatasetError::NoDataset(_)));
    });
}

fn files(root: &Path, names: &[&str]) -> Vec<LocalFile> {
    let make = |name: &&str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("content of {name}")).unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        LocalFile { path, relative: (*name).to_owned(), size }
    };
    names.iter().map(make).collect()
}

async fn pack_files(
    files: Vec<LocalFile>,
    place: &Place,
    parallel: usize,
) -> Result<Index, PackError> {
    let mut plan = Plan::new(BTreeMap::from([(SplitName::train(), files)])).unwrap();
    plan.shuffle(3);
    let packing = Packing::begin(place, Existing::Refuse, CancellationToken::new()).await?;
    let limit = ShardLimit::Bytes(NonZeroU64::new(6000).unwrap());
    plan.pack(packing, "files", limit, count(parallel), |_, _| Ok(())).await
}

#[test]
fn files_are_packed_alike_wherever_they_are_and_however_many_at_a_time() {
    let runtime = runtime();
    let names: Vec<String> = (0..9)
        .flat_map(|at| ["txt", "JPG"].map(|field| format!("f{}/{at}.{field}", at % 3)))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let [one, two] = [1, 4].map(|parallel| {
        let (dir, store) = (tempfile::tempdir().unwrap(), Store::default());
        let mut files = files(dir.path(), &names);
        if parallel == 4 {
            files.reverse();
        }
        runtime.block_on(pack_files(files, &store.place(), parallel)).unwrap();
        store
    });
    runtime.block_on(async {
        let found = self::names(&one.place()).await;
        assert!(found.len() > 3, "{found:?}");
        assert_eq!(found, self::names(&two.place()).await);
        for name in &found {
            assert!(read(&one.place(), name).await == read(&two.place(), name).await, "{name}");
        }
        let dataset = Dataset::open(&one.place(), options()).await.unwrap();
        assert!(dataset.index().splits.values().flatten().all(|shard| shard.bytes <= 6000));
        let found = all(&dataset, config(1, 9), Cursor::default(), 1).await.unwrap();
        let mut seen: Vec<String> = Vec::new();
        for (_, Sample { key, fields }) in found.iter().flatten() {
            for (field, content) in fields {
                let name = format!("{key}.{}", if field == "jpg" { "JPG" } else { field });
                assert_eq!(content, &format!("content of {name}"));
                seen.push(name);
            }
        }
        seen.sort();
        let mut wanted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        wanted.sort();
        assert_eq!(seen, wanted);
    });
}

#[test]
fn files_that_change_meanwhile_are_named() {
    let (runtime, store) = (runtime(), Store::default());
    let dir = tempfile::tempdir().unwrap();
    let mut files = files(dir.path(), &["a.txt", "b.txt"]);
    files[1].size += 1;
    let error = runtime.block_on(pack_files(files, &store.place(), 1)).unwrap_err().to_string();
    assert!(error.contains("b.txt changed"), "{error}");
}

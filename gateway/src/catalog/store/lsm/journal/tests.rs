//! Crashes and damage, made in copies of what fjall has written.

use super::super::{LsmTrees, Trees};
use super::*;
use coffer_core::catalog::{Batch, Kv, KvError, Table};
use proptest::prelude::*;
use std::sync::Arc;

const SYNCED: u8 = 40;
const ALL: u8 = 80;

fn value(n: u8) -> Vec<u8> {
    // Some span pages, so that a hole can be within one.
    vec![n | 0x80; if n.is_multiple_of(4) { 9000 } else { 300 }]
}

/// Two rows of each commit, in different tables, so that a torn one would show.
fn deed(n: u8) -> Batch {
    let mut batch = Batch::default();
    batch.put(Table::Objects, vec![n], value(n));
    batch.put(Table::Applied, b"last".to_vec(), vec![n]);
    batch
}

/// What a crash would leave in `to` of the directory `from`.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Bytes of a journal up to its last that is not zero.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// A store of which some was synced, and more was written.
struct Written {
    dir: tempfile::TempDir,
    journal: Vec<u8>,
    /// Bytes of the journal that were synced, and that hold batches.
    synced: usize,
    written: usize,
    _open: Arc<dyn Kv>,
}

impl Written {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kv = LsmTrees::open(dir.path()).unwrap().open("a").unwrap();
        (0..SYNCED).for_each(|n| kv.commit(deed(n)).unwrap());
        kv.sync().unwrap();
        let path = newest(dir.path()).unwrap();
        let synced = used(&fs::read(&path).unwrap());
        (SYNCED..ALL).for_each(|n| kv.commit(deed(n)).unwrap());
        let mut journal = fs::read(&path).unwrap();
        let written = used(&journal);
        // Not all the zeros behind it: there are 64 MiB of them.
        journal.truncate(written + 10_000);
        assert!(written > synced, "some of what was not synced has reached the file");
        Self { dir, journal, synced, written, _open: kv }
    }

    /// Opens a copy with this journal.
    fn open(&self, journal: &[u8]) -> Result<Arc<dyn Kv>, String> {
        let image = tempfile::tempdir().unwrap();
        copy(self.dir.path(), image.path());
        fs::write(newest(image.path()).unwrap(), journal).unwrap();
        let trees = LsmTrees::open(image.path()).map_err(|e| e.to_string())?;
        let kv = trees.open("a").unwrap();
        let last = kv.get(Table::Applied, b"last").unwrap().unwrap()[0];
        assert!(last + 1 >= SYNCED, "{last}");
        let rows = kv.scan(Table::Objects, &[], &[0xFF], usize::MAX).unwrap();
        let expected: Vec<_> = (0..=last).map(|n| (vec![n], value(n))).collect();
        assert!(rows == expected, "whole commits, in order, to {last}");
        // And it goes on from there.
        kv.commit(deed(last + 1)).unwrap();
        kv.sync().unwrap();
        drop((kv, trees));
        let kv = LsmTrees::open(image.path()).unwrap().open("a").unwrap();
        assert_eq!(kv.get(Table::Applied, b"last").unwrap().unwrap(), [last + 1]);
        Ok(kv)
    }
}

#[test]
fn all_that_fjall_writes_is_understood() {
    let store = Written::new();
    let kv = store.open(&store.journal[..store.written]).unwrap();
    drop(kv);
    let found = survey(&store.journal[..store.synced]);
    let mark = found.last.unwrap();
    assert_eq!((found.whole, found.torn), (store.synced, None));
    assert_eq!(mark, Mark { number: SYNCED.into(), synced: 0 });
    // The first batch after the sync says so.
    let next = batch(&store.journal[store.synced..]).unwrap().mark.unwrap();
    assert_eq!(next, Mark { number: u64::from(SYNCED) + 1, synced: SYNCED.into() });
}

#[test]
fn a_crash_leaves_what_was_synced_and_whole_commits_in_order() {
    let store = Written::new();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(48));
    let pages = store.written.div_ceil(4096);
    let lost = prop::collection::vec(store.synced / 4096..pages, 0..6);
    let crash = (lost, store.synced..=store.written, any::<bool>());
    let outcome = runner.run(&crash, |(lost, end, cut_off)| {
        let mut journal = store.journal.clone();
        for page in lost {
            let hole = (page * 4096).max(store.synced)..((page + 1) * 4096).min(journal.len());
            journal[hole].fill(0);
        }
        if cut_off {
            journal.truncate(end);
        }
        store.open(&journal).map(|_| ()).map_err(TestCaseError::fail)
    });
    outcome.unwrap();
}

#[test]
fn damage_to_what_was_synced_is_refused() {
    let store = Written::new();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(48));
    let mut sequences = Vec::new();
    let mut begin = 0;
    while let Some(batch) = batch(&store.journal[begin..]) {
        sequences.push(begin + 5..begin + START_LEN);
        begin += batch.len;
    }
    // The last batch that was synced is followed by one that says so.
    let damage = (0..store.synced, any::<prop::sample::Index>(), any::<bool>());
    let outcome = runner.run(&damage, |(at, bit, hole)| {
        let mut journal = store.journal.clone();
        if hole {
            journal[at / 4096 * 4096..(at / 4096 * 4096 + 4096).min(store.synced)].fill(0);
        } else {
            journal[at] ^= 1 << bit.index(8);
        }
        match store.open(&journal) {
            Err(error) => prop_assert!(error.contains("rebuild-catalog"), "{}", error),
            // A sequence number that still grows from batch to batch: nothing comes of it.
            Ok(_) => {
                prop_assert!(!hole && sequences.iter().any(|s| s.contains(&at)), "it was opened")
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn sequence_numbers_that_do_not_grow_are_damage() {
    let store = Written::new();
    let second = batch(&store.journal).unwrap().len;
    for byte in [second + 5, second + START_LEN - 1] {
        let mut journal = store.journal.clone();
        // Far more than those that follow, or than any.
        journal[byte + usize::from(byte == second + 5)] |= 0x40;
        assert!(store.open(&journal).is_err_and(|error| error.contains("rebuild-catalog")));
        // And as old as the first one.
        journal.copy_within(5..START_LEN, second + 5);
        assert!(store.open(&journal).is_err_and(|error| error.contains("rebuild-catalog")));
    }
}

#[test]
fn a_journal_that_has_a_successor_was_synced() {
    let store = Written::new();
    let image = tempfile::tempdir().unwrap();
    let dir = image.path();
    fs::write(dir.join("version"), "made").unwrap();
    let torn = &store.journal[..store.written - 1];
    fs::write(dir.join("9.jnl"), torn).unwrap();
    assert_eq!(check(dir).unwrap().number, survey(torn).last.unwrap().number);
    fs::write(dir.join("9.jnl"), torn).unwrap();
    fs::write(dir.join("10.jnl"), [0; 100]).unwrap();
    assert!(matches!(check(dir), Err(JournalError::Damaged { .. })));
    assert_eq!(fs::read(dir.join("9.jnl")).unwrap(), torn, "nothing is cut off then");
}

#[test]
fn a_store_whose_making_was_cut_short_is_made() {
    let whole = tempfile::tempdir().unwrap();
    drop(LsmTrees::open(whole.path()).unwrap());
    for (gone, version) in [(&["version"][..], None), (&["keyspaces"], Some("")), (&[], Some(""))] {
        let half = tempfile::tempdir().unwrap();
        copy(whole.path(), half.path());
        for name in gone {
            let path = half.path().join(name);
            fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).unwrap();
        }
        if let Some(version) = version {
            fs::write(half.path().join("version"), version).unwrap();
        }
        let kv = LsmTrees::open(half.path()).unwrap().open("a").unwrap();
        kv.commit(deed(1)).unwrap();
        kv.sync().unwrap();
    }
}

#[test]
fn a_journal_that_is_written_to_is_left_alone() {
    let store = Written::new();
    let path = newest(store.dir.path()).unwrap();
    let before = fs::metadata(&path).unwrap().len();
    assert!(matches!(LsmTrees::open(store.dir.path()).err(), Some(KvError::Locked(_))));
    assert_eq!(fs::metadata(&path).unwrap().len(), before);
}

//! Whatever a crash takes back, each command is applied once.

use super::{create, name};
use crate::catalog::handle::envelope;
use crate::catalog::raft::types::{Encoded, Entry, Group};
use crate::catalog::store::machine::apply;
use crate::catalog::store::state::Applied;
use crate::catalog::store::{LogStore, MemoryTrees, Trees, Work};
use coffer_core::bucket::{Setting, Tags, Versioning};
use coffer_core::catalog::records::{Encryption, Lock, ObjectRecord};
use coffer_core::catalog::{Command, Kv, Machine, MemoryKv, SealedKv, Table};
use coffer_core::ids::{ObjectKey, VersionId};
use coffer_core::manifest::{Checksums, ETag, Manifest, ObjectHeaders};
use coffer_core::random::SeededRandom;
use coffer_core::seal::Key;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{CommittedLeaderId, EntryPayload, LogId, RaftLogReader};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Deed {
    Create(u8),
    Drop(u8),
    Versions(u8),
    Put(u8, u8, u64),
    Delete(u8, u8, u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let (bucket, key) = (0..2u8, 0..3u8);
    prop_oneof![
        2 => bucket.clone().prop_map(Deed::Create),
        1 => bucket.clone().prop_map(Deed::Drop),
        2 => bucket.clone().prop_map(Deed::Versions),
        6 => (bucket.clone(), key.clone(), any::<u64>()).prop_map(|(b, k, id)| Deed::Put(b, k, id)),
        3 => (bucket, key, any::<u64>()).prop_map(|(b, k, id)| Deed::Delete(b, k, id)),
    ]
}

fn command(deed: Deed) -> Command {
    let bucket = |n: u8| name(&format!("bucket-{n}"));
    let key = |n: u8| ObjectKey::new(format!("key-{n}")).unwrap();
    let version = |id: u64| VersionId::from_bytes(u128::from(id).to_be_bytes());
    match deed {
        Deed::Create(n) => create(bucket(n).as_str()),
        Deed::Drop(n) => Command::DeleteBucket { bucket: bucket(n), at_ms: 5 },
        Deed::Versions(n) => Command::SetBucket {
            bucket: bucket(n),
            setting: Box::new(Setting::Versioning(Versioning::Enabled)),
        },
        Deed::Put(b, k, id) => Command::PutObject {
            bucket: bucket(b),
            key: key(k),
            record: Box::new(ObjectRecord {
                version: version(id),
                size: 0,
                etag: ETag::Whole([0; 16]),
                modified_ms: 5,
                headers: ObjectHeaders::default(),
                checksums: Checksums::default(),
                tags: Tags::default(),
                lock: Lock::default(),
                encryption: Encryption::default(),
                upload: None,
            }),
            manifest: Manifest { parts: vec![] },
            preconditions: vec![],
        },
        Deed::Delete(b, k, id) => Command::DeleteObject {
            bucket: bucket(b),
            key: key(k),
            preconditions: vec![],
            marker: version(id),
            at_ms: 5,
        },
    }
}

fn log_id(index: u64) -> LogId<crate::catalog::raft::types::GatewayId> {
    LogId::new(CommittedLeaderId::new(1, 1.into()), index)
}

fn entry(index: u64, commands: &[Command]) -> Entry {
    let group = commands.iter().map(|c| Encoded::new(c).unwrap()).collect();
    Entry { log_id: log_id(index), payload: EntryPayload::Normal(Group(group)) }
}

fn sealed(tree: Arc<dyn Kv>) -> Arc<dyn Kv> {
    let envelope = envelope(&Key::from_bytes([7; 32]));
    Arc::new(SealedKv::new(tree, envelope, Arc::new(SeededRandom::new(1))))
}

/// All rows but those that say how far the log has come.
fn rows(kv: &dyn Kv) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let tables = Table::ALL.into_iter().filter(|t| *t != Table::Applied);
    let all = |table| kv.scan(table, &[], &[0xFF; 64], usize::MAX).unwrap();
    tables.flat_map(|t| all(t).into_iter().map(move |(k, v)| (t, k, v))).collect()
}

proptest! {
    #[test]
    fn a_crash_at_any_commit_applies_nothing_twice(
        groups in prop::collection::vec(prop::collection::vec(deed(), 1..6), 1..12),
        crashes in prop::collection::vec((1..4usize, any::<prop::sample::Index>()), 0..12),
    ) {
        let groups: Vec<Vec<Command>> =
            groups.into_iter().map(|g| g.into_iter().map(command).collect()).collect();
        let log: Vec<Entry> = (0..).zip(&groups).map(|(i, g)| entry(i, g)).collect();
        let kv = Arc::new(MemoryKv::default());
        let model = Machine::new(kv.clone());
        for command in groups.iter().flatten() {
            let _ = model.apply(command.clone());
        }

        let mut trees = MemoryTrees::default();
        let crashes = crashes.into_iter().map(|(some, kept)| (some, Some(kept)));
        for (some, crash) in crashes.chain([(usize::MAX, None)]) {
            let state = sealed(trees.open("state").unwrap());
            let applied = Applied::read(&*state).unwrap();
            let from = applied.position.last.map_or(0, |id| id.index + 1) as usize;
            let next: Vec<Entry> = log[from..].iter().take(some).cloned().collect();
            let last = next.last().map(|e| e.log_id).or(applied.position.last);
            let count = next.len();
            let (answers, applied) = apply(state.clone(), applied, next).unwrap();
            prop_assert_eq!(answers.len(), count);
            prop_assert_eq!(applied.position.last, last);
            prop_assert_eq!(&Applied::read(&*state).unwrap(), &applied);
            if let Some(kept) = crash {
                trees = trees.crashed(kept.index(trees.unsynced() + 1));
            }
        }
        prop_assert_eq!(rows(&*sealed(trees.open("state").unwrap())), rows(&*kv));
    }
}

/// The indexes that a log holds.
async fn indexes(log: &mut LogStore) -> Vec<u64> {
    log.try_get_log_entries(..).await.unwrap().iter().map(|e| e.log_id.index).collect()
}

#[tokio::test]
async fn a_log_finds_its_ends_again() {
    let trees = MemoryTrees::default();
    let open = |trees: &MemoryTrees| {
        LogStore::open(sealed(trees.open("log").unwrap()), || Ok(()), Work::Inline).unwrap()
    };
    let mut log = open(&trees);
    log.blocking_append((0..100).map(|i| entry(i, &[]))).await.unwrap();
    log.truncate(log_id(90)).await.unwrap();
    log.purge(log_id(9)).await.unwrap();
    assert_eq!(indexes(&mut open(&trees)).await, (10..90).collect::<Vec<_>>());
    assert_eq!(open(&trees).last(), Some(log_id(89)));

    // While it is held, entries stay; a reader who comes later finds them.
    log.hold(Some(30));
    log.purge(log_id(79)).await.unwrap();
    assert_eq!((log.first(), log.groups(0, 1000).await), (30, Ok(None)));
    assert_eq!(log.groups(30, 1000).await.unwrap().unwrap().groups[0].0, log_id(30));
    let mut again = open(&trees);
    let state = again.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(79)), Some(log_id(89))));
    log.hold(None);
    log.purge(log_id(80)).await.unwrap();
    assert_eq!(indexes(&mut log).await, (81..90).collect::<Vec<_>>());

    // A snapshot takes the place of all of it.
    log.purge(log_id(5000)).await.unwrap();
    assert_eq!((log.first(), open(&trees).first()), (5001, 5001));
    log.blocking_append([entry(5001, &[])]).await.unwrap();
    assert_eq!(indexes(&mut open(&trees)).await, [5001]);
    assert_eq!(open(&trees).last(), Some(log_id(5001)));
}

#[tokio::test]
async fn appended_entries_survive_a_crash() {
    let trees = MemoryTrees::default();
    let open = |trees: &MemoryTrees| {
        LogStore::open(sealed(trees.open("log").unwrap()), || Ok(()), Work::Inline).unwrap()
    };
    let mut log = open(&trees);
    log.blocking_append((0..7).map(|i| entry(i, &[create("abc")]))).await.unwrap();
    log.purge(log_id(2)).await.unwrap();
    // The removal was not synced: all of it may be lost, or a part.
    for kept in 0..=trees.unsynced() {
        let mut log = open(&trees.crashed(kept));
        assert_eq!(log.last(), Some(log_id(6)));
        assert_eq!(log.try_get_log_entries(3..7).await.unwrap().len(), 4);
    }
}

//! A catalog in memory with one bucket that has rules.

use coffer_core::bucket::lifecycle::{Clock, Expiration, Filter, NoncurrentExpiration, Rule};
use coffer_core::bucket::{BucketSettings, Lifecycle, ObjectLock, TagLimit, Tags, Versioning};
use coffer_core::catalog::kv::Rows;
use coffer_core::catalog::records::{BucketRecord, Encryption, Lock, ObjectRecord, VersionState};
use coffer_core::catalog::{
    Batch, Command, Kv, KvError, Machine, Outcome, SealedKv, Table, VersionEntry, VersionQuery,
};
use coffer_core::erasure::Code;
use coffer_core::ids::{BucketName, ObjectKey, VersionId};
use coffer_core::manifest::{ETag, Manifest, ObjectHeaders};
use coffer_core::random::SeededRandom;
use coffer_core::seal::Key;
use coffer_gateway::catalog::CatalogHandle;
use coffer_gateway::catalog::handle::envelope;
use coffer_gateway::catalog::raft::options::Options;
use coffer_gateway::catalog::store::{self, MemoryTrees, Trees as _, Work};
use coffer_gateway::lifecycle::{Done, Pace, run_once};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// A day in these tests, in ms.
pub(crate) const DAY: u64 = 1000;

pub(crate) fn bucket() -> BucketName {
    BucketName::new("data").unwrap()
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

pub(crate) fn tags(query: &str) -> Tags {
    Tags::from_query(TagLimit::Object, query).unwrap()
}

pub(crate) fn rule(id: &str) -> Rule {
    Rule {
        id: id.into(),
        enabled: true,
        filter: Filter::default(),
        expiration: None,
        noncurrent: None,
        abort_uploads_after_days: None,
    }
}

pub(crate) fn days(prefix: &str, days: u32) -> Rule {
    let filter = Filter { prefix: Some(prefix.into()), ..Filter::default() };
    Rule { filter, expiration: Some(Expiration::Days(days)), ..rule(prefix) }
}

pub(crate) fn noncurrent(days: u32, keep_newest: Option<u32>) -> Rule {
    Rule { noncurrent: Some(NoncurrentExpiration { days, keep_newest }), ..rule("noncurrent") }
}

/// A store in which something happens after the worker has read its page: at its second look at the
/// bucket's record, by which it makes sure that the rules are still in force.
#[derive(Default)]
pub(crate) struct Interrupted {
    trees: MemoryTrees,
    state: OnceLock<Arc<dyn Kv>>,
    looks: AtomicUsize,
    pub(crate) then: Mutex<Vec<Command>>,
}

impl Interrupted {
    fn inner(&self) -> &Arc<dyn Kv> {
        self.state.get_or_init(|| self.trees.open("state").unwrap())
    }

    /// The state machine, past the log.
    fn machine(&self) -> Machine<SealedKv<Arc<dyn Kv>>> {
        let random = Arc::new(SeededRandom::new(7));
        Machine::new(SealedKv::new(self.inner().clone(), envelope(&master()), random))
    }
}

/// The trees of a catalog whose state is interrupted.
struct Trees(Arc<Interrupted>);

impl store::Trees for Trees {
    fn open(&self, name: &str) -> Result<Arc<dyn Kv>, KvError> {
        match name {
            "log" => self.0.trees.open(name),
            _ => Ok(self.0.clone()),
        }
    }
    fn names(&self) -> Result<Vec<String>, KvError> {
        Ok(vec![])
    }
    fn remove(&self, name: &str) -> Result<(), KvError> {
        self.0.trees.remove(name)
    }
}

fn master() -> Key {
    Key::from_bytes([7; 32])
}

impl Kv for Interrupted {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let value = self.inner().get(table, key);
        let between = table == Table::Buckets && self.looks.fetch_add(1, Ordering::SeqCst) == 1;
        if between {
            let machine = self.machine();
            for command in self.then.lock().unwrap().drain(..) {
                machine.apply(command).unwrap();
            }
        }
        value
    }
    fn scan(&self, table: Table, from: &[u8], until: &[u8], n: usize) -> Result<Rows, KvError> {
        self.inner().scan(table, from, until, n)
    }
    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        self.inner().commit(batch)
    }
    fn sync(&self) -> Result<(), KvError> {
        self.inner().sync()
    }
}

/// A catalog with one bucket.
pub(crate) struct Store {
    pub(crate) kv: Arc<Interrupted>,
    pub(crate) catalog: CatalogHandle,
    ids: AtomicU64,
}

impl Store {
    pub(crate) async fn new(versioning: Versioning, rules: Vec<Rule>) -> Self {
        let kv = Arc::new(Interrupted::default());
        let options = Options { work: Work::Inline, ..Options::alone() };
        let trees = Arc::new(Trees(kv.clone()));
        let catalog = CatalogHandle::start(trees, &master(), options).await.unwrap();
        let settings = BucketSettings {
            versioning,
            object_lock: Some(ObjectLock::default()),
            lifecycle: Some(Lifecycle::new(rules).unwrap()),
            ..BucketSettings::default()
        };
        let record = BucketRecord {
            created_ms: 0,
            wrapped_key: vec![],
            code: Code::DEFAULT,
            owner: "root".into(),
            settings,
        };
        let store = Self { kv, catalog, ids: AtomicU64::new(1) };
        store.done(Command::CreateBucket { bucket: bucket(), record }).await;
        store
    }

    pub(crate) async fn done(&self, command: Command) -> Outcome {
        self.catalog.submit(command).await.unwrap()
    }

    pub(crate) fn object(&self, name: &str, at_ms: u64) -> ObjectRecord {
        let id = self.ids.fetch_add(1, Ordering::SeqCst);
        ObjectRecord {
            version: VersionId::from_bytes(u128::from(id).to_be_bytes()),
            size: 10,
            etag: ETag::Whole([0; 16]),
            modified_ms: at_ms,
            headers: ObjectHeaders { content_type: Some(name.into()), ..ObjectHeaders::default() },
            checksums: BTreeMap::new(),
            tags: Tags::default(),
            lock: Lock::default(),
            encryption: Encryption::Managed,
            upload: None,
        }
    }

    pub(crate) fn put_command(&self, name: &str, record: ObjectRecord) -> Command {
        Command::PutObject {
            bucket: bucket(),
            key: key(name),
            record: Box::new(record),
            manifest: Manifest { parts: vec![] },
            preconditions: vec![],
        }
    }

    pub(crate) async fn put(&self, name: &str, at_ms: u64) {
        let object = self.object(name, at_ms);
        self.done(self.put_command(name, object)).await;
    }

    pub(crate) async fn put_with(&self, name: &str, change: impl FnOnce(&mut ObjectRecord)) {
        let mut object = self.object(name, 0);
        change(&mut object);
        self.done(self.put_command(name, object)).await;
    }

    pub(crate) async fn delete(&self, name: &str, at_ms: u64) {
        let marker = self.object(name, 0).version;
        let preconditions = vec![];
        let (bucket, key) = (bucket(), key(name));
        self.done(Command::DeleteObject { bucket, key, preconditions, marker, at_ms }).await;
    }

    pub(crate) async fn round(&self, now_ms: u64) -> Done {
        self.round_by(3, now_ms).await
    }

    /// A round by pages of a given size.
    pub(crate) async fn round_by(&self, page: usize, now_ms: u64) -> Done {
        self.kv.looks.store(0, Ordering::SeqCst);
        let pace = Pace { page, pause: Duration::ZERO };
        let done = run_once(&self.catalog, Clock { now_ms, day_ms: DAY }, pace).await.unwrap();
        assert!(self.kv.then.lock().unwrap().is_empty(), "nothing came between");
        done
    }

    /// As [`Store::round`], while someone else's commands come between look and deed.
    pub(crate) async fn round_with(&self, now_ms: u64, between: Vec<Command>) -> Done {
        *self.kv.then.lock().unwrap() = between;
        self.round_by(100, now_ms).await
    }

    /// All versions as key, time, and an asterisk for the newest or a dagger for a delete marker.
    pub(crate) fn versions(&self) -> Vec<String> {
        let machine = self.kv.machine();
        let query = VersionQuery { limit: 1000, ..VersionQuery::default() };
        let page = machine.list_versions(&bucket(), &query).unwrap();
        let line = |entry| {
            let VersionEntry::Version { key, version, is_latest } = entry else { panic!() };
            let latest = if is_latest { "*" } else { "" };
            match version.state {
                VersionState::Object(o) => format!("{} {}{latest}", key.as_str(), o.modified_ms),
                VersionState::Marker(m) => format!("{} {}+{latest}", key.as_str(), m.modified_ms),
            }
        };
        page.entries.into_iter().map(line).collect()
    }
}

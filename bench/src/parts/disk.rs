//! What waits for a disk: a node's volumes and its index, the catalog's log.

use super::report::{Clock, Line, Unit};
use super::turns::{Effort, Turns};
use anyhow::{Context, ensure};
use bytes::Bytes;
use coffer_core::bucket::{BucketSettings, Tags};
use coffer_core::catalog::records::{BucketRecord, Encryption, Lock, ObjectRecord};
use coffer_core::catalog::{Command, Outcome, Scope};
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName, NodeId, ObjectKey, VersionId};
use coffer_core::manifest::{Checksums, Content, ETag, Manifest, ObjectHeaders, Part};
use coffer_core::seal::{Envelope, Key};
use coffer_core::shard::{BlockRange, ShardInfo, ShardKey, ShardStore};
use coffer_gateway::catalog::CatalogHandle;
use coffer_node::index::{
    Change, Copies, Index, Location, MemoryIndex, SledIndex, Usage, Watermark,
};
use coffer_node::{NodeEngine, NodeOptions};
use futures::future::{join_all, try_join_all};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;

const NODE: NodeId = NodeId::from_bytes([9; 16]);

/// A file that is written at its end, with one fdatasync for each write.
struct Appended {
    file: File,
    end: u64,
}

impl Appended {
    fn new(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path);
        let file = file.with_context(|| format!("can't make {}", path.display()))?;
        Ok(Self { file, end: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

/// The name of the `n`-th shard.
fn key(n: u64) -> ShardKey {
    let mut blob = [0; 16];
    // Names are random; in which order they come decides what an index does.
    blob.copy_from_slice(&blake3::hash(&n.to_le_bytes()).as_bytes()[..16]);
    ShardKey { blob: BlobId::from_bytes(blob), chunk: 0, index: 0, generation: 0 }
}

/// Shards that come together, stored by a node's writer.
pub(super) fn volume(effort: Effort, dir: &Path) -> anyhow::Result<Vec<Line>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut lines = Vec::new();
    for (together, kib) in [(1u32, 4u32), (64, 4), (16, 256)] {
        let len = kib * 1024;
        let info = ShardInfo { code: Code::DEFAULT, block_size: len.min(65_536), len };
        let payload = Bytes::from(vec![7; len as usize]);
        let home = dir.join(format!("{together}-{kib}"));
        let node = NodeEngine::open(&home, NODE, NodeOptions::default())?;
        let mut bare = Appended::new(&dir.join(format!("bare-{together}-{kib}")))?;
        let group = vec![7; (together * len) as usize];
        let mut next = 0u64;
        let mut turns = Turns::new(effort);
        let put = turns.add(group.len(), || {
            let shards = (0..together).map(|_| {
                next += 1;
                node.put(key(next), info, payload.clone())
            });
            runtime.block_on(try_join_all(shards.collect::<Vec<_>>()))?;
            Ok(())
        });
        let append = turns.add(group.len(), || bare.append(&group));
        let taken = turns.take()?;
        let blocks = BlockRange { first: 0, count: info.blocks() };
        let back = runtime.block_on(node.get(key(next), blocks))?;
        let stat = runtime.block_on(node.stat())?;
        ensure!(back == payload && stat.shards == next, "a node lost some of {next} shards");
        let part = format!("append of {together} x {kib} KiB to a volume");
        let unit = (Unit::Bytes, Clock::Wall);
        lines.push(taken.line(part, unit, put, ("one write and fdatasync", append)));
    }
    Ok(lines)
}

/// As large as the index of a node that has been in use for a while, as far as that takes no minutes.
const ENTRIES: u64 = 16_384;
const GROUP: u64 = 64;

fn change(n: u64) -> Change {
    let info = ShardInfo { code: Code::DEFAULT, block_size: 65_552, len: 65_552 };
    let location = Location { volume: 1, offset: n * 65_700, info, copies: Copies::Sole };
    (key(n), Some(location))
}

/// Enters the next group of shards.
fn enter(index: &dyn Index, next: &mut u64) -> anyhow::Result<()> {
    let changes: Vec<Change> = (*next..*next + GROUP).map(change).collect();
    *next += GROUP;
    let watermark =
        Watermark { volume: 1, offset: *next, next_seq: *next, shards: *next, live_bytes: *next };
    let usage = Usage { records: *next, bytes: *next, tombstones: 0 };
    Ok(index.apply(&changes, watermark, &[(1, usage)])?)
}

fn look_up(index: &dyn Index, n: &mut u64) -> anyhow::Result<()> {
    // An odd step goes through all of them.
    *n = (*n + 5_701) % ENTRIES;
    ensure!(black_box(index.get(key(*n))?).is_some(), "an index has lost a shard");
    Ok(())
}

pub(super) fn index(effort: Effort, dir: &Path) -> anyhow::Result<Vec<Line>> {
    let (stored, memory) = (SledIndex::open(&dir.join("index"), NODE)?, MemoryIndex::default());
    let (mut in_stored, mut in_memory) = (0, 0);
    while in_stored < ENTRIES {
        enter(&stored, &mut in_stored)?;
        enter(&memory, &mut in_memory)?;
    }
    let (mut a, mut b) = (0, 0);
    let mut turns = Turns::new(effort);
    let get = turns.add(1, || look_up(&stored, &mut a));
    let get_memory = turns.add(1, || look_up(&memory, &mut b));
    let group = usize::try_from(GROUP)?;
    let apply = turns.add(group, || enter(&stored, &mut in_stored));
    let apply_memory = turns.add(group, || enter(&memory, &mut in_memory));
    let taken = turns.take()?;
    let unit = (Unit::Operations, Clock::Own);
    let limit = "a BTreeMap in memory";
    Ok(vec![
        taken.line("shard looked up in the index", unit, get, (limit, get_memory)),
        taken.line("shards entered, 64 at a time", unit, apply, (limit, apply_memory)),
    ])
}

/// A small object, kept in its manifest.
fn object(bucket: &BucketName, n: u64) -> anyhow::Result<Command> {
    let version = VersionId::from_bytes(u128::from(n).to_be_bytes());
    let record = ObjectRecord {
        version,
        size: 512,
        etag: ETag::Whole([1; 16]),
        modified_ms: 1,
        headers: ObjectHeaders::default(),
        checksums: Checksums::new(),
        tags: Tags::default(),
        lock: Lock::default(),
        encryption: Encryption::default(),
        upload: None,
    };
    let part = Part {
        blob: key(n).blob,
        wrapped_key: vec![2; Key::LEN + Envelope::OVERHEAD],
        size: 512,
        md5: [1; 16],
        checksums: Checksums::new(),
        content: Content::Inline(vec![3; 512 + Envelope::OVERHEAD]),
    };
    Ok(Command::PutObject {
        bucket: bucket.clone(),
        key: ObjectKey::new(format!("{n:012}"))?,
        record: Box::new(record),
        manifest: Manifest { parts: vec![part] },
        preconditions: Vec::new(),
    })
}

/// Objects that come together, committed by a lone gateway's catalog.
pub(super) fn catalog(effort: Effort, dir: &Path) -> anyhow::Result<Vec<Line>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (home, master) = (dir.join("catalog"), Key::from_bytes([8; 32]));
    let catalog = runtime.block_on(CatalogHandle::open(&home, &master))?;
    let bucket = BucketName::new("bucket")?;
    let record = BucketRecord {
        created_ms: 1,
        wrapped_key: Vec::new(),
        code: Code::DEFAULT,
        owner: "bench".into(),
        settings: BucketSettings::default(),
    };
    let create = Command::CreateBucket { bucket: bucket.clone(), record };
    runtime.block_on(catalog.submit(create))?;
    let mut lines = Vec::new();
    let mut next = 0u64;
    for together in [1u64, 64] {
        let mut bare = Appended::new(&dir.join(format!("bare-{together}")))?;
        let commands = (0..together).map(|n| object(&bucket, n)).collect::<Result<Vec<_>, _>>()?;
        let bytes: Vec<u8> =
            commands.iter().map(postcard::to_stdvec).collect::<Result<Vec<_>, _>>()?.concat();
        let count = usize::try_from(together)?;
        let mut turns = Turns::new(effort);
        let commit = turns.add(count, || {
            let commands = (next..next + together).map(|n| object(&bucket, n));
            next += together;
            let commands = commands.collect::<Result<Vec<_>, _>>()?;
            let submitted = commands.into_iter().map(|command| catalog.submit(command));
            let outcomes = runtime.block_on(join_all(submitted));
            outcomes.into_iter().collect::<Result<Vec<Outcome>, _>>()?;
            Ok(())
        });
        let append = turns.add(count, || bare.append(&bytes));
        let taken = turns.take()?;
        let part = format!("catalog: {together} PUTs committed together");
        let unit = (Unit::Operations, Clock::Wall);
        lines.push(taken.line(part, unit, commit, ("one write and fdatasync", append)));
    }
    let usage = catalog.read(Scope::Bucket(&bucket), |catalog| catalog.usage(&bucket));
    let usage = runtime.block_on(usage)?;
    ensure!(usage.versions == next, "{} of {next} objects were committed", usage.versions);
    runtime.block_on(catalog.stop());
    Ok(lines)
}

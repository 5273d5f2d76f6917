//! Clients: they write, read, delete and upload, and know whether the answers are right.

use super::Submitted;
use super::get::{Unread, read_part};
use super::put::{discard, write_part};
use crate::executor::Ctx;
use crate::mutation::Mutation;
use crate::oracle::Name;
use crate::trace::Invariant;
use crate::world::{MS, SECOND};
use coffer_core::bucket::{BucketSettings, Setting, Tags, Versioning};
use coffer_core::catalog::records::{
    BucketRecord, Encryption, Lock, ObjectRecord, PartRecord, UploadRecord,
};
use coffer_core::catalog::{CatalogError, Command, Precondition};
use coffer_core::erasure::Code;
use coffer_core::ids::{BucketName, ObjectKey, PartNumber, UploadId, VersionId, VersionName};
use coffer_core::manifest::{Checksums, ETag, Manifest, ObjectHeaders, Part};
use std::rc::Rc;

/// Keys in each bucket.
const KEYS: u64 = 3;
/// The buckets: one keeps versions, the others do not, and the last one comes and goes.
pub const BUCKETS: [&str; 3] = ["versioned", "plain", "passing"];

/// A name by its numbers. `None` never happens: the names are legal.
pub fn name(bucket: usize, key: u64) -> Option<Name> {
    let bucket = BucketName::new(*BUCKETS.get(bucket)?).ok()?;
    Some((bucket, ObjectKey::new(format!("k{key}")).ok()?))
}

fn make_bucket(bucket: BucketName, code: Code) -> Command {
    let record = BucketRecord {
        created_ms: 0,
        wrapped_key: Vec::new(),
        code,
        owner: "root".into(),
        settings: BucketSettings::default(),
    };
    Command::CreateBucket { bucket, record }
}

async fn make_or_remove_bucket(ctx: &Ctx) {
    let Some(bucket) = BUCKETS.last().and_then(|b| BucketName::new(*b).ok()) else { return };
    let command = match ctx.catalog().bucket(&bucket) {
        Ok(_) => Command::DeleteBucket { bucket, at_ms: ctx.clock() },
        Err(_) => make_bucket(bucket, ctx.with(|w| w.code)),
    };
    ctx.submit(command).await;
}

/// The commands that make the buckets.
pub fn make_buckets(code: Code) -> Vec<Command> {
    let mut commands = Vec::new();
    for bucket in BUCKETS.iter().filter_map(|b| BucketName::new(*b).ok()) {
        let setting = Box::new(Setting::Versioning(Versioning::Enabled));
        commands.push(make_bucket(bucket.clone(), code));
        if bucket.as_str() == "versioned" {
            commands.push(Command::SetBucket { bucket, setting });
        }
    }
    commands
}

/// A client of a gateway, until it is told to stop.
pub async fn run(ctx: Ctx) {
    loop {
        let pause = ctx.with(|w| w.rng.range(20 * MS, 800 * MS));
        ctx.sleep(pause).await;
        if !ctx.with(|w| w.faults) {
            return;
        }
        let (bucket, key) = ctx.with(|w| (w.rng.index(BUCKETS.len()), w.rng.range(0, KEYS)));
        let Some(name) = name(bucket, key) else { return };
        match ctx.with(|w| w.rng.range(0, 100)) {
            0..40 => put(&ctx, name).await,
            40..75 => get(&ctx, &name).await,
            75..85 => delete(&ctx, name).await,
            85..88 => delete_version(&ctx, name).await,
            88..91 => make_or_remove_bucket(&ctx).await,
            _ => upload(&ctx, name).await,
        }
    }
}

fn body(ctx: &Ctx) -> Vec<u8> {
    ctx.with(|w| {
        let len = w.rng.range(1_100, 9_000);
        let seed = w.rng.draw().to_le_bytes();
        (0..len).zip(seed.iter().cycle()).map(|(i, s)| s.wrapping_add((i % 251) as u8)).collect()
    })
}

fn new_version(ctx: &Ctx, body: Vec<u8>) -> VersionId {
    ctx.with(|w| {
        let version = VersionId::from_bytes(w.id());
        w.oracle.contents.insert(version, Rc::new(body));
        version
    })
}

/// After a commit that failed: the shards go, unless it may yet come about.
async fn after_commit(ctx: &Ctx, part: &Part, submitted: &Submitted) {
    let gone = match submitted {
        Submitted::Applied(_, outcome) => outcome.is_err(),
        Submitted::Unavailable => true,
        Submitted::Unknown => ctx.with(|w| w.has(Mutation::DiscardUnknown)),
    };
    if gone {
        discard(ctx, part).await;
        ctx.with(|w| w.oracle.pending.remove(&part.blob));
    }
}

async fn put(ctx: &Ctx, (bucket, key): Name) {
    let body = body(ctx);
    let Some(part) = write_part(ctx, &body).await else { return };
    let slow = ctx.with(|w| w.rng.chance(60).then(|| w.rng.range(0, 4 * SECOND)));
    ctx.sleep(slow.unwrap_or(0)).await;
    let version = new_version(ctx, body);
    let preconditions =
        ctx.with(|w| if w.rng.chance(150) { vec![Precondition::Absent] } else { Vec::new() });
    let record = ObjectRecord {
        version,
        size: part.size,
        etag: ETag::Whole(part.md5),
        modified_ms: ctx.clock(),
        headers: ObjectHeaders::default(),
        checksums: Checksums::new(),
        tags: Tags::default(),
        lock: Lock::default(),
        encryption: Encryption::Managed,
        upload: None,
    };
    let manifest = Manifest { parts: vec![part.clone()] };
    let record = Box::new(record);
    let command = Command::PutObject { bucket, key, record, manifest, preconditions };
    let submitted = ctx.submit(command).await;
    after_commit(ctx, &part, &submitted).await;
}

async fn delete(ctx: &Ctx, (bucket, key): Name) {
    let marker = VersionId::from_bytes(ctx.with(|w| w.id()));
    let at_ms = ctx.clock();
    let preconditions = Vec::new();
    ctx.submit(Command::DeleteObject { bucket, key, preconditions, marker, at_ms }).await;
}

async fn delete_version(ctx: &Ctx, (bucket, key): Name) {
    if !ctx.read_index().await {
        return;
    }
    let Ok(current) = ctx.catalog().version(&bucket, &key, None) else { return };
    let (version, at_ms) = (current.name(), ctx.clock());
    if version == VersionName::Null {
        return;
    }
    let preconditions = Vec::new();
    let command =
        Command::DeleteVersion { bucket, key, version, preconditions, bypass: false, at_ms };
    ctx.submit(command).await;
}

async fn upload(ctx: &Ctx, (bucket, key): Name) {
    let upload = UploadId::from_bytes(ctx.with(|w| w.id()));
    let record = UploadRecord {
        initiated_ms: ctx.clock(),
        headers: ObjectHeaders::default(),
        tags: Tags::default(),
        lock: Lock::default(),
        encryption: Encryption::Managed,
        checksum: None,
    };
    let command =
        Command::CreateUpload { bucket: bucket.clone(), key: key.clone(), upload, record };
    ctx.submit(command).await;
    let mut last = None;
    for n in [1, 2, 1] {
        let Ok(number) = PartNumber::new(n) else { return };
        let body = body(ctx);
        let Some(part) = write_part(ctx, &body).await else { continue };
        let record = Box::new(PartRecord { modified_ms: ctx.clock(), part: part.clone() });
        let (bucket, key) = (bucket.clone(), key.clone());
        let command = Command::PutPart { bucket, key, upload, number, record };
        let submitted = ctx.submit(command).await;
        after_commit(ctx, &part, &submitted).await;
        if let Submitted::Applied(_, Ok(_)) = submitted {
            last = Some((number, ETag::Whole(part.md5).to_string(), body));
        }
    }
    let (give_up, at_ms) = (ctx.with(|w| w.rng.chance(200)), ctx.clock());
    let command = match last {
        // Only the last part of an object may be small, and parts here are.
        Some((number, etag, body)) if !give_up => Command::CompleteUpload {
            bucket,
            key,
            upload,
            parts: vec![(number, etag)],
            version: new_version(ctx, body),
            checksums: Checksums::new(),
            preconditions: Vec::new(),
            at_ms,
        },
        _ => Command::AbortUpload { bucket, key, upload, at_ms },
    };
    ctx.submit(command).await;
}

async fn get(ctx: &Ctx, name: &Name) {
    let before = ctx.with(|w| w.log.len());
    let stale = ctx.with(|w| w.has(Mutation::StaleReads));
    if !stale && !ctx.read_index().await {
        return;
    }
    let found = ctx.catalog().version_with_manifest(&name.0, &name.1, None);
    let (version, manifest) = match found {
        Ok((version, manifest)) => (Some(version.record.version), Some(manifest)),
        Err(CatalogError::NoSuchKey | CatalogError::Deleted(_) | CatalogError::NoSuchBucket) => {
            (None, None)
        }
        Err(error) => {
            let what = format!("{}/{}: {error}", name.0, name.1.as_str());
            return ctx.with(|w| w.violate(Invariant::Catalog, None, what));
        }
    };
    ctx.with(|w| {
        if !w.oracle.was_current(name, before, w.log.len(), version) {
            let (key, now) = (name.1.as_str(), w.log.len());
            let what = format!(
                "{}/{key}: {version:?} was not current between entries {before} and {now}",
                name.0
            );
            w.violate(Invariant::Linearizable, None, what);
        }
    });
    if let (Some(version), Some(manifest)) = (version, manifest) {
        check_bytes(ctx, version, &manifest).await;
    }
}

/// Reads a version, or a range of it, and compares. `false`: too few shards could be had.
pub async fn check_bytes(ctx: &Ctx, version: VersionId, manifest: &Manifest) -> bool {
    let Some(wanted) = ctx.with(|w| w.oracle.contents.get(&version).cloned()) else { return true };
    let [part] = &manifest.parts[..] else { return true };
    let len = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
    let range = ctx.with(|w| {
        let start = w.rng.range(0, u64::from(len));
        let end = w.rng.range(start + 1, u64::from(len) + 1);
        let of = |n: u64| u32::try_from(n).unwrap_or(len);
        if w.faults && w.rng.chance(500) { of(start)..of(end) } else { 0..len }
    });
    let read = read_part(ctx, part, range.clone()).await;
    let what = if read.is_ok() { "reads compared" } else { "reads that had to give up" };
    ctx.with(|w| w.trace.count(what, 1));
    match read {
        Ok(bytes) if bytes == wanted[range.start as usize..range.end as usize] => true,
        Ok(_) | Err(Unread::Wrong) => {
            let what = format!("version {version}: bytes {range:?} are not what was written");
            ctx.with(|w| w.violate(Invariant::RightBytes, Some(part.blob), what));
            false
        }
        Err(Unread::TooFew) => false,
    }
}

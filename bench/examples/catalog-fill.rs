//! Fills the catalog of a stopped gateway with made-up objects, to see what growth costs.
//!
//! What the catalog then holds is what as many PUTs of 4 KiB would have left in it: each object is a
//! real `PutObject` that the catalog's own state machine decides on, with a manifest as a sharded
//! object has. Two things are left out. The nodes hold none of the data: such objects can be listed
//! and looked up, but not read, and a gateway on this catalog must not sweep or repair
//! (`bench/scale` sees to that). And the commands don't pass through the replicated log, one by one; a
//! thousand become one batch of rows, and the log goes on behind them.
//!
//! The bucket's usage, written with each batch, tells how far an earlier fill has come: this goes on
//! from there.

use anyhow::{Context, bail};
use clap::Parser;
use coffer_core::catalog::records::{Encryption, Lock, ObjectRecord};
use coffer_core::catalog::{Command, Machine};
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName, ObjectKey, VersionId};
use coffer_core::layout::ChunkShape;
use coffer_core::manifest::{Checksums, Chunk, Content, ETag, Manifest, ObjectHeaders, Part};
use coffer_core::placement::ClusterMap;
use coffer_core::random::OsRandom;
use coffer_core::seal::{Envelope, Key};
use coffer_gateway::catalog::handle::envelope;
use coffer_gateway::catalog::store::overlay::Overlay;
use coffer_gateway::catalog::store::seed::log_id;
use coffer_gateway::catalog::store::state::Applied;
use coffer_gateway::catalog::store::{LogStore, LsmTrees, Seed, States, Work};
use coffer_gateway::setup::config::{self, GatewayConfig};
use coffer_gateway::setup::init::GatewayDir;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of each object.
const SIZE: u32 = 4096;
/// Keys are spread over so many prefixes.
const PREFIXES: u64 = 500;
/// Commands whose rows are written together. The store may hold on to each page that such a batch
/// changes, as it was, until the batch is done.
const GROUP: u64 = 1000;

/// Fill the catalog of a stopped gateway with made-up objects.
#[derive(Debug, Parser)]
#[command(name = "catalog-fill")]
struct Cli {
    /// The gateway's directory. It must have run once, and have been stopped, not killed
    #[arg(long, value_name = "DIR")]
    gateway: PathBuf,
    /// The bucket, which is there and has no other objects
    #[arg(long)]
    bucket: String,
    /// How many objects it is to have in the end
    #[arg(long)]
    objects: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let paths = GatewayDir::new(&cli.gateway);
    let settings = GatewayConfig::load(&paths.file("gateway.toml"))?;
    let master = paths.master_key()?;
    let trees = Arc::new(LsmTrees::open(&paths.catalog())?);
    let states = States::open(trees.clone(), envelope(&master), Arc::new(OsRandom), Work::Inline)?;
    let rows = states.current().kv();
    let log = LogStore::open(states.log(), || Ok(()), Work::Inline)?;
    let before = Applied::read(&*rows)?.position.last;
    let Some(before) = before.filter(|before| Some(*before) == log.last()) else {
        bail!(
            "the catalog's log has not been applied to its end: start and stop the gateway first"
        );
    };
    drop((states, log));

    let cluster = config::load_cluster(&paths.file("cluster.json"))?;
    // Commits are seen at once, and go down many at a time.
    let gathered = Arc::new(Overlay::new(rows));
    let catalog = Machine::new(gathered.clone());
    let bucket = BucketName::new(&cli.bucket)?;
    let code = catalog.bucket(&bucket).context("make the bucket first")?.code;
    let made_up = MadeUp { bucket, code, cluster };
    let from = catalog.usage(&made_up.bucket)?.versions;
    let bar = ProgressBar::new(cli.objects).with_style(ProgressStyle::with_template(
        "{bar:30} {human_pos}/{human_len} objects, {per_sec}, {eta} left",
    )?);
    bar.reset_eta();
    bar.set_position(from);
    for number in from..cli.objects {
        catalog.apply(made_up.put(number)?).with_context(|| format!("object {number}"))?;
        if (number + 1).is_multiple_of(GROUP) {
            gathered.settle(|_| Ok(()))?;
            bar.set_position(number + 1);
        }
    }
    gathered.settle(|_| Ok(()))?;
    catalog.sync()?;
    drop((catalog, gathered));
    // What was done passed the log by: it goes on behind, in a term of its own.
    let last = log_id(before.leader_id.term.saturating_add(1), settings.id, before.index + 1);
    Seed::open(trees, &master, Work::Inline)?.found(settings.id, settings.own(), last).await?;
    bar.finish();
    println!("{}", serde_json::json!({"bucket": cli.bucket, "objects": cli.objects.max(from)}));
    Ok(())
}

/// Objects that differ as real ones do, each following from its number.
struct MadeUp {
    bucket: BucketName,
    code: Code,
    cluster: ClusterMap,
}

impl MadeUp {
    fn put(&self, number: u64) -> anyhow::Result<Command> {
        let mut drawn = blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof();
        let mut draw = || {
            let mut bytes = [0; 16];
            drawn.fill(&mut bytes);
            bytes
        };
        let (version, blob, md5) = (draw(), draw(), draw());
        let mut wrapped_key = vec![0; Envelope::OVERHEAD + Key::LEN];
        drawn.fill(&mut wrapped_key);

        let shape = ChunkShape::new(SIZE, self.code)?;
        let blob = BlobId::from_bytes(blob);
        // Where a PUT would have put them, so that repair finds nothing to move.
        let nodes = self.cluster.place(blob, 0, shape.code(), shape.code().n(), |_| true)?;
        let placed = (0..u16::try_from(nodes.len())?).map(Some).collect();
        let part = Part {
            blob,
            wrapped_key,
            size: SIZE.into(),
            md5,
            checksums: Checksums::new(),
            content: Content::Sharded {
                nodes,
                chunks: vec![Chunk { shape, placed, generations: Vec::new() }],
            },
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let headers = ObjectHeaders {
            content_type: Some("binary/octet-stream".into()),
            ..ObjectHeaders::default()
        };
        let record = ObjectRecord {
            version: VersionId::from_bytes(version),
            size: SIZE.into(),
            etag: ETag::Whole(md5),
            modified_ms: u64::try_from(now.as_millis())?,
            headers,
            checksums: Checksums::new(),
            tags: coffer_core::bucket::Tags::default(),
            lock: Lock::default(),
            encryption: Encryption::Managed,
            upload: None,
        };
        Ok(Command::PutObject {
            bucket: self.bucket.clone(),
            key: ObjectKey::new(format!("{:03}/{number:09}.bin", number % PREFIXES))?,
            record: Box::new(record),
            manifest: Manifest { parts: vec![part] },
            preconditions: Vec::new(),
        })
    }
}

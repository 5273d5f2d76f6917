//! `kill -9` of the real program, again and again, while shards are written to it and deleted, and
//! volumes are compacted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod common;

use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::BlobId;
use coffer_core::shard::{BlockRange, ShardError, ShardInfo, ShardKey, ShardStore};
use coffer_node::service::{NodeClient, RemoteNode};
use common::{NODE, Pki};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Writers at a time.
const WRITERS: u32 = 8;

fn node_dir(pki: &Pki) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["ca.pem", "node.pem", "node.key"] {
        std::fs::copy(pki.path().join(file), dir.path().join(file)).unwrap();
    }
    let config = format!(
        "node_id = \"{NODE}\"\nlisten = \"127.0.0.1:0\"\nvolume_size = 1000000\nreserve_bytes = 0\n\
         compact_live_percent = 80\ncompact_mib_per_second = 100\n"
    );
    std::fs::write(dir.path().join("node.toml"), config).unwrap();
    dir
}

/// The program, killed with the value that stands for it.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts the program; returns it with its address, once it serves.
fn start(dir: &Path) -> (Node, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_coffer-node"))
        .args(["--data".as_ref(), dir.as_os_str()])
        .env("COFFER_LOG", "info")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let child = Node(child);
    let mut seen = Vec::new();
    let address = loop {
        let Some(Ok(line)) = log.next() else { panic!("the node did not start: {seen:?}") };
        if let Some(rest) = line.split("listen=").nth(1) {
            break rest.split_whitespace().next().unwrap().to_owned();
        }
        seen.push(line);
    };
    // Whoever does not read the log would block the node when the pipe is full.
    std::thread::spawn(move || log.for_each(drop));
    (child, address)
}

fn key(n: u32) -> ShardKey {
    ShardKey { blob: BlobId::from_bytes([5; 16]), chunk: n, index: 0, generation: 0 }
}

fn shard(n: u32) -> (ShardInfo, Bytes) {
    let len = 1 + n * 7919 % 150_000;
    let mut bytes = vec![0; len as usize];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    (ShardInfo { code: Code::DEFAULT, block_size: 65_552, len }, bytes.into())
}

/// What was acknowledged. A shard whose deletion was not is in neither set.
#[derive(Debug, Clone, Default)]
struct Acknowledged {
    stored: BTreeSet<u32>,
    deleted: BTreeSet<u32>,
}

async fn verify(node: &RemoteNode, acknowledged: &Acknowledged) {
    // Connecting may take longer than the client waits, where the machine is busy.
    let up = async {
        while node.stat().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), up).await.expect("the node does not answer");
    for n in &acknowledged.stored {
        let (info, bytes) = shard(*n);
        let all = BlockRange { first: 0, count: info.blocks() };
        assert!(node.get(key(*n), all).await.unwrap() == bytes, "shard {n}");
    }
    for n in &acknowledged.deleted {
        let one = BlockRange { first: 0, count: 1 };
        assert_eq!(node.get(key(*n), one).await, Err(ShardError::NotFound), "shard {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_shards_survive_kills() {
    let rounds: u32 =
        std::env::var("COFFER_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let pki = Pki::new();
    let dir = node_dir(&pki);
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let mut compacted = 0;
    for round in 0..rounds {
        let (child, address) = start(dir.path());
        let client = NodeClient::new(&pki.tls("gateway")).unwrap();
        let node = Arc::new(client.node(NODE, &address));
        let known = acknowledged.lock().unwrap().clone();
        verify(&node, &known).await;
        let writers: Vec<_> = (0..WRITERS)
            .map(|w| {
                let (node, acknowledged) = (node.clone(), acknowledged.clone());
                tokio::spawn(async move {
                    for i in 0..1000 {
                        let n = (round * 1000 + i) * WRITERS + w;
                        let (info, bytes) = shard(n);
                        if node.put(key(n), info, bytes).await.is_err() {
                            break;
                        }
                        acknowledged.lock().unwrap().stored.insert(n);
                        // Two of three go again a little later.
                        let Some(old) = n.checked_sub(5 * WRITERS) else { continue };
                        if i % 3 > 0 && acknowledged.lock().unwrap().stored.remove(&old) {
                            if node.delete(vec![key(old)]).await.is_err() {
                                break;
                            }
                            acknowledged.lock().unwrap().deleted.insert(old);
                        }
                    }
                })
            })
            .collect();
        // The moment differs from round to round, and there is always something to lose.
        let enough = known.stored.len() + known.deleted.len() + 1 + (round * 37 % 150) as usize;
        let count = |a: &Mutex<Acknowledged>| {
            let acknowledged = a.lock().unwrap();
            acknowledged.stored.len() + acknowledged.deleted.len()
        };
        while count(&acknowledged) < enough && writers.iter().any(|w| !w.is_finished()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if let Ok(stat) = node.stat().await {
            compacted += stat.compaction.volumes;
        }
        drop(child);
        for writer in writers {
            writer.await.unwrap();
        }
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(!acknowledged.stored.is_empty());
    let (_child, address) = start(dir.path());
    let node = NodeClient::new(&pki.tls("gateway")).unwrap().node(NODE, &address);
    verify(&node, &acknowledged).await;
    let Acknowledged { stored, deleted } = acknowledged;
    eprintln!(
        "{rounds} kills, {} acknowledged shards, none lost, {} deleted, none back, {compacted} \
         volumes compacted",
        stored.len(),
        deleted.len()
    );
}

#[test]
fn a_start_without_configuration_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_coffer-node"))
        .args(["--data".as_ref(), dir.path().as_os_str()])
        .output()
        .unwrap();
    assert!(!out.status.success());
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(error.contains("node.toml") && error.contains("coffer-gateway init"), "{error}");
}

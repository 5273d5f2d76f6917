//! Real processes, killed at random: what was acknowledged is there, what was not is not half there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod support {
    pub(crate) mod dice;
    pub(crate) mod processes;
}

use coffer_client::Http3;
use coffer_client::admin::NewNode;
use coffer_client::object_store::path::Path;
use coffer_client::object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt, PutPayload};
use futures::{StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::dice::Dice;
use support::processes::{PATIENCE, Processes};

/// Bytes that follow from the key, so that a reader knows what it should see.
fn content(key: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(key.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A call that must not hang.
async fn in_time<T>(what: &str, call: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

async fn put(store: &dyn ObjectStore, key: &str, len: usize) -> Result<(), Error> {
    let payload = PutPayload::from(content(key, len));
    in_time("put", store.put(&Path::from(key), payload)).await.map(|_| ())
}

async fn get(store: &dyn ObjectStore, key: &str) -> Result<Vec<u8>, Error> {
    in_time("get", async { Ok(store.get(&Path::from(key)).await?.bytes().await?.to_vec()) }).await
}

/// As [`get`], while nodes that were just restarted are being found again.
async fn get_soon(store: &dyn ObjectStore, key: &str) -> Vec<u8> {
    in_time("getting it at last", async {
        loop {
            match get(store, key).await {
                Ok(bytes) => return bytes,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    })
    .await
}

const OBJECTS: [(&str, usize); 5] = [
    ("inline", 100),
    ("small", 3000),
    ("medium", 100_000),
    ("edge", 4 * 1024 * 1024 + 1),
    ("large", 20_000_000),
];

#[tokio::test(flavor = "multi_thread")]
async fn any_two_nodes_may_die_and_with_three_gone_it_says_so_and_comes_back() {
    let mut cluster = Processes::start().await;
    let client = cluster.client();
    client.create_bucket("data").await.unwrap();
    let store = client.bucket("data").unwrap();
    for (key, len) in OBJECTS {
        put(&*store, key, len).await.unwrap();
    }
    for (a, b) in [(0, 1), (2, 3), (4, 5)] {
        cluster.kill_node(a);
        cluster.kill_node(b);
        for (key, len) in OBJECTS {
            assert!(
                get(&*store, key).await.unwrap() == content(key, len),
                "{key} without {a}, {b}"
            );
        }
        let new = format!("written without {a} and {b}");
        put(&*store, &new, 1_000_000).await.unwrap_or_else(|e| panic!("{e} {}", cluster.logs()));
        cluster.start_node(a);
        cluster.start_node(b);
        // Seen alive again before the next pair goes: placement doubled up on the others. They need time
        // to start, and are tried again after a pause.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for (key, len) in OBJECTS {
            assert!(get_soon(&*store, key).await == content(key, len), "{key}");
        }
        assert!(get(&*store, &new).await.unwrap() == content(&new, 1_000_000));
    }
    for node in 0..3 {
        cluster.kill_node(node);
    }
    let refused = get(&*store, "large").await.unwrap_err().to_string();
    assert!(refused.contains("503") && refused.contains("ServiceUnavailable"), "{refused}");
    let refused = put(&*store, "new", 100_000).await.unwrap_err().to_string();
    assert!(refused.contains("503") && refused.contains("ServiceUnavailable"), "{refused}");
    assert!(get(&*store, "inline").await.is_ok(), "what needs no node is served all the same");
    for node in 0..3 {
        cluster.start_node(node);
    }
    for (key, len) in OBJECTS {
        assert!(get_soon(&*store, key).await == content(key, len), "{key}");
    }
}

/// Waits until passes over all blobs have found nothing more to do.
async fn until_repaired(client: &coffer_client::Client, cluster: &Processes) {
    let passes = async || {
        let status = client.repair_status().await.unwrap();
        let waits = status["queue"].as_array().is_none_or(|q| !q.is_empty());
        (status["pass"]["completed"].as_u64().unwrap(), waits, status)
    };
    let (mut quiet_since, _, first) = passes().await;
    let started = std::time::Instant::now();
    let rebuilt = |status: &serde_json::Value| status["shards_rebuilt"].as_u64().unwrap();
    let mut before = rebuilt(&first);
    loop {
        let (completed, waits, status) = passes().await;
        if waits || rebuilt(&status) != before {
            (quiet_since, before) = (completed, rebuilt(&status));
        }
        if before > 0 && completed > quiet_since + 2 {
            println!("repaired: {status}");
            return;
        }
        assert!(started.elapsed() < 2 * PATIENCE, "{status} {}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_for_good_is_replaced_and_redundancy_is_whole_again() {
    let mut cluster = Processes::start().await;
    let client = cluster.client_over(Http3::Never);
    client.create_bucket("data").await.unwrap();
    let store = client.bucket("data").unwrap();
    for (key, len) in OBJECTS {
        put(&*store, key, len).await.unwrap();
    }
    cluster.kill_node(0);
    std::fs::remove_dir_all(cluster.node_dir(0)).unwrap();
    let refused = client.remove_node("node-1", false).await.unwrap_err().to_string();
    assert!(refused.contains("Drain it first"), "{refused}");
    let (id, address) = cluster.new_node();
    let name = "node-7".to_owned();
    let new = NewNode { id, name, address, domain: String::new(), weight: 1.0 };
    client.replace_node("node-1", &new).await.unwrap();
    until_repaired(&client, &cluster).await;
    let nodes = client.nodes().await.unwrap();
    let state = |name: &str| nodes.iter().find(|n| n.name == name).map(|n| n.state.clone());
    assert_eq!((state("node-1"), state("node-7")), (Some("gone".into()), Some("active".into())));
    // As many may be lost as ever.
    cluster.kill_node(1);
    cluster.kill_node(2);
    for (key, len) in OBJECTS {
        assert!(get_soon(&*store, key).await == content(key, len), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_moments_loses_nothing_that_was_acknowledged() {
    let rounds = std::env::var("COFFER_KILL_ROUNDS").ok().and_then(|r| r.parse().ok());
    let rounds = rounds.unwrap_or(50);
    let mut dice = Dice::new();
    let mut cluster = Processes::start().await;
    cluster.client().create_bucket("data").await.unwrap();

    // Four writers that never stop, and what they were told is safe.
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let http3 = if writer == 0 { Http3::Always } else { Http3::Never };
            let store = cluster.client_over(http3).bucket("data").unwrap();
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            let mut dice = dice.fork();
            tokio::spawn(async move {
                for n in 0u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let len = [10, 5_000, 200_000, 5_000_000][dice.below(4) as usize];
                    let key = format!("{writer}/{n}/{len}");
                    if put(&*store, &key, len).await.is_ok() {
                        acknowledged.lock().unwrap().insert(key, len);
                    } else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();

    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(50 + dice.below(400))).await;
        if dice.below(2) == 0 {
            cluster.kill_gateway();
            cluster.start_gateway().await;
        } else {
            let node = dice.below(6) as usize;
            cluster.kill_node(node);
            tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
            cluster.start_node(node);
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    // Once more, all at once: nothing may have been in memory only.
    cluster.kill_gateway();
    for node in 0..6 {
        cluster.kill_node(node);
        cluster.start_node(node);
    }
    cluster.start_gateway().await;

    let acknowledged = acknowledged.lock().unwrap().clone();
    println!("{} objects acknowledged over {rounds} kills", acknowledged.len());
    assert!(acknowledged.len() > rounds as usize, "hardly anything was written");
    let store = cluster.client().bucket("data").unwrap();
    for (key, len) in &acknowledged {
        assert!(
            get_soon(&*store, key).await == content(key, *len),
            "{key} is not what was acknowledged"
        );
    }
    // Whatever else is visible is whole: an upload whose answer was lost.
    let visible: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert!(visible.len() >= acknowledged.len());
    for object in visible {
        let key = object.location.to_string();
        let len: usize = key.rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(object.size, len as u64, "{key}");
        if !acknowledged.contains_key(&key) {
            assert!(get_soon(&*store, &key).await == content(&key, len), "{key} is half there");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_read_around_and_no_plaintext_is_on_any_disk() {
    let cluster = Processes::start().await;
    let client = cluster.client();
    client.create_bucket("data").await.unwrap();
    let store = client.bucket("data").unwrap();
    let marker = b"the-known-plaintext-marker-";
    let bodies: Vec<Vec<u8>> = [20, 200, 3_000, 40_000].iter().map(|n| marker.repeat(*n)).collect();
    for (i, body) in bodies.iter().enumerate() {
        let payload = PutPayload::from(body.clone());
        store.put(&Path::from(format!("o{i}")), payload).await.unwrap();
    }

    let mut files = Vec::new();
    walk(cluster.dir.path(), &mut files);
    let mut volumes = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let found = bytes.windows(marker.len()).any(|w| w == marker);
        assert!(!found, "plaintext in {}", file.display());
        if file.extension().is_some_and(|e| e == "cfv") && !bytes.is_empty() {
            volumes.push((file.clone(), bytes.len() as u64));
        }
    }
    assert!(volumes.len() >= 6, "every node has a volume: {files:?}");

    let mut dice = Dice::new();
    for _ in 0..60 {
        let (file, len) = &volumes[dice.below(volumes.len() as u64) as usize];
        let at = dice.below(*len);
        flip(file, at);
        for (i, body) in bodies.iter().enumerate() {
            let got = get(&*store, &format!("o{i}")).await.unwrap();
            assert!(got == *body, "o{i} with byte {at} of {} flipped", file.display());
        }
        flip(file, at);
    }
}

fn walk(dir: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

fn flip(file: &std::path::Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_stays_small_while_a_2_gib_object_goes_through() {
    const PIECE: usize = 8 * 1024 * 1024;
    const PIECES: usize = 256;
    let cluster = Processes::start().await;
    let client = cluster.client();
    client.create_bucket("data").await.unwrap();
    let store = client.bucket("data").unwrap();
    let piece = bytes::Bytes::from(content("piece", PIECE));
    let path = Path::from("two-gib");

    let payload: PutPayload = std::iter::repeat_n(piece.clone(), PIECES).collect();
    store.put(&path, payload).await.unwrap();
    let after_put = peak_rss_mib(cluster.gateway_pid());

    let got = store.get_opts(&path, GetOptions::default()).await.unwrap();
    assert_eq!(got.meta.size, (PIECE * PIECES) as u64);
    let mut at = 0;
    let mut stream = got.into_stream();
    while let Some(bytes) = stream.next().await {
        for chunk in bytes.unwrap().chunks(64 * 1024) {
            // Frames need not end where pieces do.
            let mut chunk = chunk;
            while !chunk.is_empty() {
                let start = at % PIECE;
                let take = chunk.len().min(PIECE - start);
                assert!(chunk[..take] == piece[start..start + take], "at byte {at}");
                at += take;
                chunk = &chunk[take..];
            }
        }
    }
    assert_eq!(at, PIECE * PIECES);
    let after_get = peak_rss_mib(cluster.gateway_pid());
    println!(
        "peak RSS of the gateway: {after_put} MiB after PUT, {after_get} MiB after GET of 2 GiB"
    );
    assert!(after_get < 300, "{after_get} MiB");
}

fn peak_rss_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

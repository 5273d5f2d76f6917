//! A check of real processes, asked of any gateway: what is wrong is named as what it is, and
//! mended when that is asked for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support {
    pub(crate) mod processes;
}

use coffer_client::admin::{FsckOptions, FsckRecord, FsckSummary, Risk};
use coffer_client::object_store::ObjectStoreExt;
use coffer_client::object_store::path::Path;
use coffer_client::{Client, Http3};
use std::time::{Duration, Instant};
use support::processes::{PATIENCE, Processes};

const OBJECTS: usize = 12;

fn content(n: usize) -> Vec<u8> {
    let mut bytes = vec![0; 150_000];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What a check of a gateway says, and the nodes that it could not ask.
async fn check(client: &Client, repair: bool) -> (FsckSummary, Vec<String>) {
    let options = FsckOptions { bucket: None, repair };
    let mut check = client.fsck(&options).await.unwrap();
    let (mut summary, mut silent) = (None, Vec::new());
    while let Some(record) = check.next().await.unwrap() {
        match record {
            FsckRecord::Node(node) => silent.push(node.name),
            FsckRecord::Summary(told) => summary = Some(told),
            FsckRecord::Failed { why } => panic!("{why}"),
            _ => {}
        }
    }
    (summary.unwrap(), silent)
}

fn ailing(summary: &FsckSummary, state: &str) -> u64 {
    summary.ailing.get(state).copied().unwrap_or(0)
}

/// Starts all gateways anew, with another pause between two looks of repair.
async fn restart(cluster: &mut Processes, repair_interval: u64) {
    for gateway in 0..3 {
        cluster.kill_gateway_number(gateway);
        let path = cluster.gateway_dir(gateway).join("gateway.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("repair_interval_seconds"));
        let text: Vec<&str> = lines.collect();
        let text = format!("repair_interval_seconds = {repair_interval}\n{}\n", text.join("\n"));
        std::fs::write(&path, text).unwrap();
    }
    (0..3).for_each(|gateway| cluster.spawn_gateway(gateway));
    for gateway in 0..3 {
        cluster.until_ready(gateway).await;
    }
}

/// Flips bytes all over each volume of a node: one may hit parity, which is not read, or the journal.
fn damage(cluster: &Processes, node: usize) {
    for entry in std::fs::read_dir(cluster.node_dir(node).join("volumes")).unwrap().flatten() {
        let mut bytes = std::fs::read(entry.path()).unwrap();
        for eighth in 1..8 {
            let at = bytes.len() / 8 * eighth;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
        }
        std::fs::write(entry.path(), bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_gateway_tells_what_is_lost_damaged_or_only_silent_and_has_it_mended() {
    let mut cluster = Processes::with_gateways(3).await;
    // Repair looks once when a gateway is started, and not again for as long as this takes.
    restart(&mut cluster, 3600).await;
    let client = cluster.client_of(0, Http3::Never);
    client.create_bucket("data").await.unwrap();
    let store = client.bucket("data").unwrap();
    for n in 0..OBJECTS {
        store.put(&Path::from(n.to_string()), content(n).into()).await.unwrap();
    }
    // Over each protocol, too.
    for (gateway, http3) in [(0, Http3::Never), (1, Http3::Always), (2, Http3::Never)] {
        let (summary, silent) = check(&cluster.client_of(gateway, http3), false).await;
        assert_eq!((summary.worst(), silent.len()), (Risk::Whole, 0), "{summary:?}");
        assert_eq!(summary.parts[&Risk::Whole], OBJECTS as u64);
        assert!(summary.leftovers.unwrap()["reserved"] > 0, "the journal is there, too");
    }

    let (holder, other) = (0, 1);
    cluster.kill_node(holder);
    let (summary, silent) = check(&client, false).await;
    let unreachable = ailing(&summary, "unreachable");
    assert!(unreachable > 0 && ailing(&summary, "missing") == 0, "{summary:?}");
    assert_eq!((summary.worst(), silent), (Risk::Degraded, vec!["node-1".to_owned()]));

    // It comes back with new disks.
    for name in ["volumes", "index"] {
        std::fs::remove_dir_all(cluster.node_dir(holder).join(name)).unwrap();
    }
    cluster.start_node(holder);
    // And another one has bits that flipped; reads find them.
    cluster.kill_node(other);
    damage(&cluster, other);
    cluster.start_node(other);
    let started = Instant::now();
    let summary = loop {
        for n in 0..OBJECTS {
            let got = store.get(&Path::from(n.to_string())).await.unwrap().bytes().await.unwrap();
            assert!(got == content(n), "{n}");
        }
        let (summary, silent) = check(&client, false).await;
        if silent.is_empty() && summary.findings > 0 {
            break summary;
        }
        assert!(started.elapsed() < PATIENCE, "{silent:?} {summary:?} {}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!((ailing(&summary, "missing"), ailing(&summary, "unreachable")), (unreachable, 0));
    assert!(ailing(&summary, "damaged") > 0, "{summary:?}");
    assert!(summary.worst() <= Risk::AtRisk, "{summary:?}");

    // A follower is told to have it mended: it tells the leader, and says how far that is.
    restart(&mut cluster, 1).await;
    let leader = cluster.leader().await;
    let follower = cluster.client_of((leader + 1) % 3, Http3::Never);
    let (summary, _) = check(&follower, true).await;
    assert!(summary.queued > 0 && summary.not_queued == 0, "{summary:?}");
    let started = Instant::now();
    while check(&follower, false).await.0.worst() != Risk::Whole {
        assert!(started.elapsed() < PATIENCE, "{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let status = follower.repair_status().await.unwrap();
    assert_eq!(status["leads"], true, "{status}");
    assert!(status["shards_rebuilt"].as_u64().unwrap() >= unreachable, "{status}");
    println!("{status}");
}

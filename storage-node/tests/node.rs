//! A node on a real disk, and the shard service on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod common;

use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::shard::{
    BlockRange, Damage, MAX_PUT_ALL, ShardError, ShardInfo, ShardKey, ShardPut, ShardStore,
};
use coffer_node::rpc::Service;
use coffer_node::service::{NodeClient, serve};
use coffer_node::{NodeEngine, NodeOptions, OpenError, ScrubOptions};
use common::{NODE, Pki};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const OTHER: NodeId = NodeId::from_bytes([2; 16]);

fn options() -> NodeOptions {
    NodeOptions { reserve_bytes: 0, ..NodeOptions::default() }
}

fn key(n: u8) -> ShardKey {
    ShardKey { blob: BlobId::from_bytes([n; 16]), chunk: 0, index: 0, generation: 0 }
}

fn shard(n: u8) -> (ShardInfo, Bytes) {
    let len = 200_000 + u32::from(n);
    (ShardInfo { code: Code::DEFAULT, block_size: 65_552, len }, vec![n; len as usize].into())
}

const ALL: BlockRange = BlockRange { first: 0, count: 4 };

#[tokio::test(flavor = "multi_thread")]
async fn the_index_may_be_deleted_damaged_or_another_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeEngine::open(dir.path(), NODE, options()).unwrap();
    for n in 0..20 {
        let (info, bytes) = shard(n);
        node.put(key(n), info, bytes).await.unwrap();
    }
    node.delete(vec![key(3)]).await.unwrap();
    let listed = node.list(None, 100).await.unwrap();
    let stat = node.stat().await.unwrap();
    drop(node);
    let index = dir.path().join("index");
    for damage in 0..23 {
        match damage {
            0 => std::fs::remove_dir_all(&index).unwrap(),
            1 => {
                for file in std::fs::read_dir(&index).unwrap().flatten() {
                    if file.file_type().unwrap().is_file() {
                        std::fs::write(file.path(), b"garbage").unwrap();
                    }
                }
            }
            // Not damaged: what the open before has made.
            2 => {}
            n => {
                let file = index.join("db");
                let mut bytes = std::fs::read(&file).unwrap();
                let at = bytes.len() * (n - 3) / 20;
                bytes[at] ^= 0x55;
                std::fs::write(&file, bytes).unwrap();
            }
        }
        let node = NodeEngine::open(dir.path(), NODE, options()).unwrap();
        assert_eq!(node.list(None, 100).await.unwrap(), listed, "damage {damage}");
        let now = node.stat().await.unwrap();
        assert_eq!((now.shards, now.live_bytes), (stat.shards, stat.live_bytes));
        for n in (0..20).filter(|n| *n != 3) {
            assert!(node.get(key(n), ALL).await.unwrap() == shard(n).1);
        }
        assert_eq!(node.get(key(3), ALL).await, Err(ShardError::NotFound));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_or_another_node_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = NodeEngine::open(dir.path(), NODE, options()).unwrap();
    let second = NodeEngine::open(dir.path(), NODE, options());
    assert!(matches!(second, Err(OpenError::InUse(_))));
    drop(first);
    let foreign = NodeEngine::open(dir.path(), OTHER, options()).unwrap_err();
    assert!(foreign.to_string().contains(&NODE.to_string()), "{foreign}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_shards_give_their_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeEngine::open(dir.path(), NODE, options()).unwrap();
    for n in 0..40 {
        let (info, bytes) = shard(n);
        node.put(key(n), info, bytes).await.unwrap();
    }
    let full = node.stat().await.unwrap().volume_bytes;
    node.delete((0..40).map(key).collect()).await.unwrap();
    let after = node.stat().await.unwrap();
    assert_eq!((after.shards, after.live_bytes), (0, 0));
    assert!(
        after.volume_bytes < full / 4,
        "{} of {full} bytes are still taken",
        after.volume_bytes
    );
}

fn start(dir: &Path, pki: &Pki, listen: SocketAddr) -> Service {
    let engine = NodeEngine::open(dir, NODE, options()).unwrap();
    serve(Arc::new(engine), &pki.tls("node"), listen).unwrap()
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_cross_the_network_and_errors_keep_their_kind() {
    let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let service = start(dir.path(), &pki, anywhere());
    let client = NodeClient::new(&pki.tls("gateway")).unwrap();
    let node = client.node(NODE, &service.local_addr().to_string());
    let (info, bytes) = shard(5);
    node.put(key(5), info, bytes.clone()).await.unwrap();
    assert!(node.get(key(5), ALL).await.unwrap() == bytes);
    let one = node.get(key(5), BlockRange { first: 3, count: 1 }).await.unwrap();
    assert!(one == bytes.slice(3 * 65_552..));
    assert_eq!(node.list(None, 10).await.unwrap(), [(key(5), info)]);
    assert_eq!(node.stat().await.unwrap().shards, 1);
    assert_eq!(node.findings(None, 10).await.unwrap(), []);
    assert_eq!(node.get(key(6), ALL).await, Err(ShardError::NotFound));
    // The node lets go of a request that has no payload as soon as it has read the header: however
    // the two sides race, the answer counts.
    for _ in 0..300 {
        assert!(node.stat().await.is_ok());
    }
    let beyond = node.get(key(5), BlockRange { first: 4, count: 1 }).await;
    assert!(matches!(beyond, Err(ShardError::BadRequest(_))));
    let huge = ShardInfo { len: u32::MAX, ..info };
    let refused = node.put(key(7), huge, Bytes::from_static(b"short")).await;
    assert!(matches!(refused, Err(ShardError::BadRequest(_))), "{refused:?}");
    node.delete(vec![key(5)]).await.unwrap();
    assert_eq!(node.get(key(5), ALL).await, Err(ShardError::NotFound));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_come_together_share_one_fsync_and_are_refused_together() {
    let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let service = start(dir.path(), &pki, anywhere());
    let client = NodeClient::new(&pki.tls("gateway")).unwrap();
    let node = client.node(NODE, &service.local_addr().to_string());
    let syncs = async || node.stat().await.unwrap().io.syncs.latencies.count();
    let put = |n| {
        let (info, payload) = shard(n);
        ShardPut { key: key(n), info, payload }
    };
    let before = syncs().await;
    node.put_all((0..20).map(put).collect()).await.unwrap();
    assert_eq!(syncs().await, before + 1);
    for n in 0..20 {
        assert!(node.get(key(n), ALL).await.unwrap() == shard(n).1);
    }
    let (info, _) = shard(0);
    let huge = ShardInfo { len: u32::MAX, ..info };
    let bad = ShardPut { key: key(31), info: huge, payload: Bytes::from_static(b"short") };
    let refused = node.put_all(vec![put(30), bad]).await;
    assert!(matches!(refused, Err(ShardError::BadRequest(_))), "{refused:?}");
    assert_eq!(node.get(key(30), ALL).await, Err(ShardError::NotFound));
    let many = MAX_PUT_ALL / info.len as usize + 1;
    let refused = node.put_all(vec![put(30); many]).await;
    assert!(matches!(refused, Err(ShardError::BadRequest(_))), "{refused:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rots_on_a_real_disk_is_found_by_the_scrub_and_told_over_the_network() {
    let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let scrub = ScrubOptions { round: Duration::from_millis(50), max_bytes_per_second: 64 << 20 };
    let engine = NodeEngine::open(dir.path(), NODE, NodeOptions { scrub, ..options() }).unwrap();
    for n in 0..3 {
        let (info, bytes) = shard(n);
        engine.put(key(n), info, bytes).await.unwrap();
    }
    // An empty node looks for something to do only now and then: it has something from the start.
    drop(engine);
    let engine = NodeEngine::open(dir.path(), NODE, NodeOptions { scrub, ..options() }).unwrap();
    let service = serve(Arc::new(engine), &pki.tls("node"), anywhere()).unwrap();
    let client = NodeClient::new(&pki.tls("gateway")).unwrap();
    let node = client.node(NODE, &service.local_addr().to_string());
    // The first block of shard 1: behind the volume's header, shard 0, and its own header.
    let head = 96 + 4 * 32;
    let at = 64 + (head + u64::from(shard(0).0.len)).next_multiple_of(8) + head + 5;
    let volume = dir.path().join("volumes/vol-00000001.cfv");
    let volume = std::fs::OpenOptions::new().write(true).open(volume).unwrap();
    volume.write_all_at(b"rot", at).unwrap();
    let found = async {
        loop {
            match &node.findings(None, 10).await.unwrap()[..] {
                [] => tokio::time::sleep(Duration::from_millis(20)).await,
                findings => return findings.to_vec(),
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), found).await.expect("not found");
    assert_eq!((found.len(), found[0].key), (1, key(1)));
    assert_eq!(found[0].damage, Damage::BadBlock { block: 0 });
    assert_eq!(node.findings(Some(found[0].id), 10).await.unwrap(), []);
    let stat = node.stat().await.unwrap();
    assert_eq!((stat.findings, stat.corrupt, stat.shards), (1, 1, 3));
    assert!(stat.scrub.began.is_some() && stat.io.scrub_reads.latencies.count() > 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_impostors_are_refused() {
    let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let service = start(dir.path(), &pki, anywhere());
    let address = service.local_addr().to_string();
    let unreachable = |outcome| matches!(outcome, Err(ShardError::Unreachable(_)));
    // A certificate of another authority, which does not know this node either.
    let stranger = Pki::new();
    let client = NodeClient::new(&stranger.tls("gateway")).unwrap();
    assert!(unreachable(client.node(NODE, &address).stat().await));
    // The right authority for the server's eyes, the wrong one for ours, and the other way round.
    let ca = std::fs::read(pki.path().join("ca.pem")).unwrap();
    std::fs::write(stranger.path().join("ca.pem"), ca).unwrap();
    let client = NodeClient::new(&stranger.tls("gateway")).unwrap();
    assert!(unreachable(client.node(NODE, &address).stat().await));
    // The node is not the one that is meant.
    let client = NodeClient::new(&pki.tls("gateway")).unwrap();
    assert!(unreachable(client.node(OTHER, &address).stat().await));
    assert!(client.node(NODE, &address).stat().await.is_ok());
    // A node is no client of other nodes.
    let client = NodeClient::new(&pki.tls("node")).unwrap();
    assert!(unreachable(client.node(NODE, &address).stat().await));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_is_noticed_and_found_again() {
    let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let service = start(dir.path(), &pki, anywhere());
    let address = service.local_addr();
    let client = NodeClient::new(&pki.tls("gateway")).unwrap();
    let node = client.node(NODE, &address.to_string());
    let (info, bytes) = shard(1);
    node.put(key(1), info, bytes.clone()).await.unwrap();
    service.stop().await;
    let gone = tokio::time::timeout(Duration::from_secs(30), node.stat()).await.expect("hangs");
    assert!(matches!(gone, Err(ShardError::Unreachable(_))), "{gone:?}");
    // The engine lets go of the directory when its last request has ended.
    let service = loop {
        match NodeEngine::open(dir.path(), NODE, options()) {
            Ok(engine) => break serve(Arc::new(engine), &pki.tls("node"), address).unwrap(),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let back = async {
        loop {
            match node.get(key(1), ALL).await {
                Ok(read) => return read,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), back).await.expect("not back") == bytes);
    service.stop().await;
}

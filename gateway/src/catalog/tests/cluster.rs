//! Several gateways: nothing that was acknowledged is lost, and nothing that is read is stale.

use super::network::{Cluster, peer};
use super::{create, exists, name};
use crate::catalog::CatalogHandle;
use crate::catalog::raft::members::{MemberChange, Role};
use crate::catalog::raft::types::GatewayId;
use coffer_core::catalog::{CatalogError, Outcome, Scope};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Writes through a gateway until told to stop; returns what was acknowledged, and the longest time
/// between two answers.
struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(Vec<String>, Duration)>,
}

impl Writer {
    fn start(label: &str, catalog: CatalogHandle) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (label, stopping) = (label.to_owned(), stop.clone());
        let task = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            let mut longest = Duration::ZERO;
            let mut last = Instant::now();
            for n in 0.. {
                if stopping.load(Ordering::SeqCst) {
                    break;
                }
                let bucket = format!("{label}-{n}");
                pause(1).await;
                match catalog.submit(create(&bucket)).await {
                    Ok(outcome) => {
                        assert_eq!(outcome, Outcome::Done);
                        acknowledged.push(bucket);
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                    }
                    Err(CatalogError::Unavailable(_) | CatalogError::Stopped(_)) => {}
                    Err(error) => panic!("{bucket}: {error}"),
                }
            }
            (acknowledged, longest)
        });
        Self { stop, task }
    }

    async fn stop(self) -> (Vec<String>, Duration) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

async fn all_exist(catalog: &CatalogHandle, buckets: &[String]) {
    let any = name("any");
    let all = catalog.read(Scope::Bucket(&any), |c| c.buckets()).await.unwrap();
    let all: BTreeSet<&str> = all.iter().map(|(bucket, _)| bucket.as_str()).collect();
    for bucket in buckets {
        assert!(all.contains(bucket.as_str()), "{bucket} was acknowledged");
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_is_lost_writes_go_on_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3, 1000).await;
    let leader = cluster.leader().await;
    let writers: Vec<_> = (1..=3)
        .filter(|id| GatewayId(*id) != leader)
        .map(|id| Writer::start(&format!("w{id}"), cluster.handle(id)))
        .collect();
    pause(300).await;
    cluster.kill(leader).await;
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    pause(500).await;
    cluster.open(leader.0).await;
    let mut acknowledged = Vec::new();
    for writer in writers {
        let (buckets, longest) = writer.stop().await;
        println!("{} writes, the longest pause {} ms", buckets.len(), longest.as_millis());
        acknowledged.extend(buckets);
    }
    for id in 1..=3 {
        all_exist(&cluster.handle(id), &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_neither_writes_nor_reads() {
    let cluster = Cluster::start(3, 1000).await;
    let old = cluster.leader().await;
    cluster.handle(old.0).submit(create("before")).await.unwrap();
    cluster.cut(old, true);
    let new = cluster.leader().await;
    cluster.handle(new.0).submit(create("after")).await.unwrap();
    let stale = exists(&cluster.handle(old.0), "after").await;
    assert!(matches!(stale, Err(CatalogError::Unavailable(_))), "{stale:?}");
    let lost = cluster.handle(old.0).submit(create("lost")).await;
    assert!(matches!(lost, Err(CatalogError::Unavailable(_) | CatalogError::Stopped(_))));
    cluster.cut(old, false);
    assert_eq!(exists(&cluster.handle(old.0), "after").await, Ok(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_back_before_it_is_missed_tells_nothing_stale() {
    let mut cluster = Cluster::start(3, 1000).await;
    // Time enough to ask it before it hears from the others.
    cluster.network.latency_ms.store(5, Ordering::SeqCst);
    for n in 0..5 {
        let leader = cluster.leader().await;
        let bucket = format!("bucket-{n}");
        cluster.handle(leader.0).submit(create(&bucket)).await.unwrap();
        // What it has applied is lost, what it has logged is not.
        cluster.kill(leader).await;
        let back = cluster.open(leader.0).await.clone();
        assert_eq!(exists(&back, &bucket).await, Ok(true), "{bucket} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_answers_all_others_show() {
    let cluster = Cluster::start(3, 1000).await;
    for n in 0..30 {
        let (writer, reader) = (1 + n % 3, 1 + (n + 1) % 3);
        let bucket = format!("bucket-{n}");
        assert_eq!(exists(&cluster.handle(reader), &bucket).await, Ok(false));
        cluster.handle(writer).submit(create(&bucket)).await.unwrap();
        assert_eq!(exists(&cluster.handle(reader), &bucket).await, Ok(true));
        let again = cluster.handle(reader).submit(create(&bucket)).await;
        assert_eq!(again, Err(CatalogError::BucketExists), "errors travel as they are");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_loses_messages_loses_no_acknowledged_write() {
    let cluster = Cluster::start(3, 16).await;
    cluster.leader().await;
    cluster.network.lossy.store(7, Ordering::SeqCst);
    let writers: Vec<_> =
        (1..=3).map(|id| Writer::start(&format!("w{id}"), cluster.handle(id))).collect();
    pause(2000).await;
    cluster.network.lossy.store(0, Ordering::SeqCst);
    for writer in &writers {
        writer.stop.store(true, Ordering::SeqCst);
    }
    for writer in writers {
        let (buckets, _) = writer.stop().await;
        assert!(!buckets.is_empty());
        for id in 1..=3 {
            all_exist(&cluster.handle(id), &buckets).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_down_catches_up_by_log_by_snapshot_and_from_nothing() {
    let mut cluster = Cluster::start(3, 20).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).map(GatewayId).find(|id| *id != leader).unwrap();
    let mut written = Vec::new();
    // (how many writes it misses, whether its disk is lost)
    for (missed, empty) in [(5, false), (150, false), (150, true)] {
        cluster.kill(follower).await;
        if empty {
            cluster.stores.remove(&follower);
        }
        for n in 0..missed {
            let bucket = format!("bucket-{}-{n}", written.len());
            cluster.handle(leader.0).submit(create(&bucket)).await.unwrap();
            written.push(bucket);
        }
        let back = cluster.open(follower.0).await.clone();
        all_exist(&back, &written).await;
    }
    // What a snapshot brought is there after a crash, too.
    cluster.kill(follower).await;
    let back = cluster.open(follower.0).await.clone();
    all_exist(&back, &written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_change_while_it_serves() {
    let mut cluster = Cluster::start(3, 20).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).map(GatewayId).find(|id| *id != leader).unwrap();
    let writer = Writer::start("w", cluster.handle(follower.0));
    pause(200).await;
    cluster.open(4).await;
    let add = MemberChange::Add(GatewayId(4), peer(4));
    cluster.handle(follower.0).change_members(add).await.unwrap();
    let members = cluster.handle(4).members().await;
    assert_eq!(members.len(), 4);
    assert!(members.iter().all(|m| m.role != Role::Learner), "{members:?}");
    cluster.handle(4).change_members(MemberChange::Remove(leader)).await.unwrap();
    cluster.kill(leader).await;
    pause(200).await;
    let (written, _) = writer.stop().await;
    all_exist(&cluster.handle(4), &written).await;
    let mut left: Vec<_> = cluster.handle(4).members().await.iter().map(|m| m.id).collect();
    left.sort_unstable();
    assert_eq!(left.len(), 3);
    assert!(!left.contains(&leader));
}

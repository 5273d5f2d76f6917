//! Several gateways, as processes: killed, stopped, wiped, added and removed while they serve.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support {
    pub(crate) mod processes;
}

use coffer_client::admin::{Addition, GatewayInfo, GatewayRole, NewGateway};
use coffer_client::object_store::path::Path;
use coffer_client::object_store::{ObjectStore, ObjectStoreExt};
use coffer_client::{
    Client, ClientOptions, Credentials, ErrorKind, Http3, Profile, ProfileOptions, TokenRequest,
    Verb,
};
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::processes::{PATIENCE, Processes};

const BUCKET: &str = "data";
const WRITERS: usize = 6;
/// No test waits so long for writes to go on; they are said to be interrupted for under 3 s.
const LONGEST: Duration = Duration::from_secs(20);

/// A client that knows all gateways, begins with one of them, and tries again for a while.
fn patient(cluster: &Processes, first: usize) -> Client {
    let mut profile = cluster.profile(first);
    // Over TCP a killed gateway is noticed at once.
    profile.http3 = Http3::Never;
    Client::with_options(profile, ClientOptions::default()).unwrap()
}

async fn put(client: &Client, key: &str) -> bool {
    let path = Path::from(key);
    client.bucket(BUCKET).unwrap().put(&path, key.to_owned().into()).await.is_ok()
}

/// Clients that write one object after the other until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    /// What was acknowledged, and when.
    done: Arc<Mutex<Vec<(Instant, String)>>>,
    writers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(cluster: &Processes, gateways: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<_>>>::default());
        let writer = |writer: usize| {
            let client = patient(cluster, writer % gateways);
            let (stop, done) = (stop.clone(), done.clone());
            tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("{writer}-{number:05}");
                    number += 1;
                    if put(&client, &key).await {
                        done.lock().unwrap().push((Instant::now(), key));
                    }
                }
            })
        };
        let writers = (0..WRITERS).map(writer).collect();
        Self { stop, done, writers }
    }

    fn count(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    /// Waits until so many more writes are done.
    async fn more(&self, cluster: &Processes, writes: usize) {
        let (goal, started) = (self.count() + writes, Instant::now());
        while self.count() < goal {
            assert!(started.elapsed() < PATIENCE, "writes do not go on: {}", cluster.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops; returns what was acknowledged, and the longest time in which nothing was.
    async fn end(self) -> (BTreeSet<String>, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.unwrap();
        }
        let done = std::mem::take(&mut *self.done.lock().unwrap());
        let gaps = done.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let longest = gaps.max().unwrap_or_default();
        (done.into_iter().map(|(_, key)| key).collect(), longest)
    }
}

/// Asserts that a gateway, asked alone, lists all of `keys` and gives some of them back.
async fn assert_has(cluster: &Processes, gateway: usize, keys: &BTreeSet<String>) {
    use futures::TryStreamExt;
    let store = cluster.client_of(gateway, Http3::Never).bucket(BUCKET).unwrap();
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let listed: BTreeSet<String> = listed.into_iter().map(|o| o.location.to_string()).collect();
    let missing: Vec<_> = keys.difference(&listed).collect();
    assert!(missing.is_empty(), "gateway {} lacks {missing:?}", gateway + 1);
    for key in keys.iter().step_by(1 + keys.len() / 50) {
        let got = store.get(&Path::from(key.as_str())).await.unwrap().bytes().await.unwrap();
        assert_eq!(got, key.as_bytes());
    }
}

/// The gateways, once `enough` says that they are as they should be.
async fn gateways_once(
    cluster: &Processes,
    asked: usize,
    enough: impl Fn(&[GatewayInfo]) -> bool,
) -> Vec<GatewayInfo> {
    let (client, started) = (cluster.client_of(asked, Http3::Never), Instant::now());
    loop {
        let gateways = client.gateways().await.unwrap_or_default();
        if enough(&gateways) {
            return gateways;
        }
        assert!(started.elapsed() < PATIENCE, "{gateways:?}: {}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether there are so many gateways, all of which answer, vote and lack nothing.
fn all_well(count: usize) -> impl Fn(&[GatewayInfo]) -> bool {
    move |gateways| {
        gateways.len() == count
            && gateways.iter().all(|g| {
                g.reachable && g.role != GatewayRole::Learner && g.lag.is_some_and(|lag| lag < 8)
            })
            && gateways.iter().filter(|g| g.role == GatewayRole::Leader).count() == 1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_gateway_leads_and_says_so_to_administrators_only() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Embedded::start(dir.path(), EmbeddedOptions::default()).await.unwrap();
    let config = Some(cluster.client_profile());
    let options = ProfileOptions { config, ..ProfileOptions::default() };
    let profile = Profile::load_with(&options, &|_| None).unwrap();
    let admin = Client::connect(profile.clone()).unwrap();
    let gateways = admin.gateways().await.unwrap();
    assert!(all_well(1)(&gateways), "{gateways:?}");
    assert_eq!((gateways[0].id, gateways[0].peer.as_str()), (1, ""));
    // There must be one.
    assert!(admin.remove_gateway(1).await.is_err());
    assert!(all_well(1)(&admin.gateways().await.unwrap()));

    let wanted = TokenRequest {
        name: "reader".into(),
        bucket: None,
        prefix: None,
        verbs: vec![Verb::Read, Verb::Write, Verb::List, Verb::Delete],
        ttl: PATIENCE,
    };
    let token = admin.create_token(&wanted).await.unwrap().token;
    for credentials in [Credentials::Token(token), Credentials::Anonymous] {
        let other = Client::connect(Profile { credentials, ..profile.clone() }).unwrap();
        let asked = other.gateways().await.map(|_| ());
        for refused in [asked, other.remove_gateway(1).await] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::AccessDenied);
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_under_load_and_nothing_is_lost() {
    let mut cluster = Processes::with_gateways(3).await;
    patient(&cluster, 0).create_bucket(BUCKET).await.unwrap();
    let load = Load::start(&cluster, 3);
    load.more(&cluster, 200).await;
    let leader = cluster.leader().await;
    let killed = Instant::now();
    cluster.kill_gateway_number(leader);
    load.more(&cluster, 300).await;
    assert_ne!(cluster.leader().await, leader);
    let with_two = killed.elapsed();
    cluster.spawn_gateway(leader);
    load.more(&cluster, 200).await;
    cluster.until_ready(leader).await;
    let (keys, longest) = load.end().await;
    println!("{} writes; 300 more within {with_two:?} of the kill", keys.len());
    println!("longest interruption of writes: {longest:?}");
    assert!(longest < LONGEST, "writes were interrupted for {longest:?}");
    gateways_once(&cluster, leader, all_well(3)).await;
    for gateway in 0..3 {
        assert_has(&cluster, gateway, &keys).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_down_catches_up_and_one_that_lost_its_catalog_is_sent_it() {
    let mut cluster = Processes::with_gateways(3).await;
    patient(&cluster, 0).create_bucket(BUCKET).await.unwrap();
    let leader = cluster.leader().await;
    let (down, other) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.kill_gateway_number(down);
    let load = Load::start(&cluster, 3);
    load.more(&cluster, 200).await;
    cluster.spawn_gateway(down);
    load.more(&cluster, 100).await;
    cluster.until_ready(down).await;
    gateways_once(&cluster, down, all_well(3)).await;

    // Wiped, and started while the others serve.
    cluster.kill_gateway_number(down);
    std::fs::remove_dir_all(cluster.gateway_dir(down).join("catalog")).unwrap();
    cluster.spawn_gateway(down);
    load.more(&cluster, 100).await;
    gateways_once(&cluster, other, all_well(3)).await;
    let mark = cluster.gateway_dir(down).join("reseed");
    let started = Instant::now();
    while mark.exists() {
        assert!(started.elapsed() < PATIENCE, "{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (keys, longest) = load.end().await;
    println!("{} writes; longest interruption: {longest:?}", keys.len());
    assert_has(&cluster, down, &keys).await;

    // It counts again: with it, the third gateway needs not the leader.
    let leader = cluster.leader().await;
    cluster.kill_gateway_number(leader);
    let rest = if leader == down { other } else { down };
    assert!(put(&patient(&cluster, rest), "after").await);
    assert_has(&cluster, rest, &keys).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_are_added_and_removed_while_they_serve() {
    let mut cluster = Processes::with_gateways(3).await;
    let admin = patient(&cluster, 0);
    admin.create_bucket(BUCKET).await.unwrap();
    let load = Load::start(&cluster, 3);
    load.more(&cluster, 100).await;

    // Nobody is there yet: that is said, and nothing changes.
    let nobody = NewGateway {
        id: 4,
        name: "gateway-4".into(),
        peer: "127.0.0.1:9".into(),
        endpoint: "https://127.0.0.1:9".into(),
    };
    let alone = cluster.client_of(0, Http3::Never);
    let error = alone.add_gateway(&nobody).await.unwrap_err();
    assert!(error.to_string().contains("can't be reached"), "{error}");
    let later = cluster.another_gateway(4);
    let config = std::fs::read_to_string(cluster.gateway_dir(later).join("gateway.toml")).unwrap();
    let setting = |name: &str| {
        let line = config.lines().find(|line| line.starts_with(name)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let (peer, listen) = (setting("peer_listen"), setting("listen"));
    let new = NewGateway { peer, endpoint: format!("https://{listen}"), ..nobody };
    let started = Instant::now();
    while admin.add_gateway(&new).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    gateways_once(&cluster, 1, all_well(4)).await;
    // Again: it is where it is.
    assert_eq!(admin.add_gateway(&new).await.unwrap(), Addition::Done);
    load.more(&cluster, 100).await;

    // The leader itself is removed, and a follower.
    for _ in 0..2 {
        let leader = cluster.leader().await;
        let gateways = admin.gateways().await.unwrap();
        let name = cluster.gateway_dir(leader).file_name().unwrap().to_str().unwrap();
        let id = gateways.iter().find(|g| g.name == name).unwrap().id;
        admin.remove_gateway(id).await.unwrap();
        cluster.kill_gateway_number(leader);
        load.more(&cluster, 100).await;
    }
    let last = cluster.leader().await;
    let error = cluster.client_of(last, Http3::Never).remove_gateway(9).await.unwrap_err();
    assert!(error.to_string().contains("no gateway 9"), "{error}");
    let gateways = gateways_once(&cluster, last, all_well(2)).await;
    let (keys, longest) = load.end().await;
    println!("{} writes; longest interruption: {longest:?}; {gateways:?}", keys.len());
    assert_has(&cluster, last, &keys).await;
}

//! Histories of real clients, held against a bucket that does one thing at a time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support {
    pub(crate) mod clients;
    pub(crate) mod dice;
    pub(crate) mod processes;
    pub(crate) mod signed;
}

use coffer_client::Http3;
use coffer_core::testing::bucket::Bucket;
use coffer_core::testing::linearize::{Verdict, check};
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::clients::{OPERATIONS, Round, rounds};
use support::dice::Dice;
use support::processes::Processes;
use support::signed::{Between, Extras, Signed};

/// Configurations that the search may visit; a round needs some hundreds.
const LIMIT: usize = 3_000_000;

/// Half of the clients speak HTTP/3, half HTTP/2.
const CLIENTS: [Http3; 6] =
    [Http3::Always, Http3::Never, Http3::Always, Http3::Never, Http3::Always, Http3::Never];

/// Panics with the whole story if a round was not linearizable.
fn judge(round: Arc<Round>) {
    let round = Arc::into_inner(round).expect("all clients have ended");
    let history = round.finish();
    match check(&Bucket, &history, LIMIT) {
        Verdict::Linearizable => {}
        Verdict::Violation(violation) => panic!("{violation}"),
        Verdict::Undecided(limit) => panic!("undecided after {limit} configurations: {history:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_answers_as_if_it_did_one_thing_at_a_time() {
    let mut dice = Dice::new();
    let dir = tempfile::tempdir().unwrap();
    let cluster = Embedded::start(dir.path(), EmbeddedOptions::default()).await.unwrap();
    let clients = CLIENTS.map(|http3| Signed::new(&cluster.client_profile(), http3));
    for number in 0..rounds(20) {
        let round = Round::start(number, &clients[0]).await;
        let running: Vec<_> = clients
            .iter()
            .zip(0..)
            .map(|(s3, i)| tokio::spawn(round.clone().run(i, s3.clone(), dice.fork())))
            .collect();
        for client in running {
            client.await.unwrap();
        }
        judge(round);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_takes_nothing_back() {
    let mut dice = Dice::new();
    let mut cluster = Processes::start().await;
    let profile = cluster.dir.path().join("gateway/client.toml");
    // Over TCP a killed gateway is noticed at once.
    let clients = CLIENTS.map(|_| Signed::new(&profile, Http3::Never));
    for number in 0..rounds(6) {
        let round = Round::start(number, &clients[0]).await;
        let running: Vec<_> = clients
            .iter()
            .zip(0..)
            .map(|(s3, i)| tokio::spawn(round.clone().run(i, s3.clone(), dice.fork())))
            .collect();
        // Somewhere in the middle of what the clients have to do.
        let moment = dice.below(u64::from(OPERATIONS) * clients.len() as u64 * 3 / 4);
        while round.asked() < moment {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cluster.kill_gateway();
        cluster.start_gateway().await;
        for client in running {
            client.await.unwrap();
        }
        // What is there afterwards must fit, too.
        round.look(&clients[0]).await;
        judge(round);
    }
}

/// Clients of all three gateways: half of them stay with theirs whatever happens, half go to the
/// next one when theirs does not answer.
fn spread(cluster: &Processes) -> [Signed; 6] {
    // Over TCP a killed gateway is noticed at once.
    [0, 1, 2, 3, 4, 5].map(|n| {
        Signed::over(match n % 2 {
            0 => cluster.client_of(n / 2, Http3::Never),
            _ => cluster.client_from(n / 2, Http3::Never),
        })
    })
}

/// What happens to the leader in the middle of a round.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Killed,
    /// It stands still for longer than it takes the others to choose another.
    Stopped,
}

async fn three_gateways_answer_as_one(fate: Fate) {
    let mut dice = Dice::new();
    let mut cluster = Processes::with_gateways(3).await;
    let clients = spread(&cluster);
    for number in 0..rounds(4) {
        let leader = cluster.leader().await;
        let round = Round::start(number, &clients[0]).await;
        let running: Vec<_> = clients
            .iter()
            .zip(0..)
            .map(|(s3, i)| tokio::spawn(round.clone().run(i, s3.clone(), dice.fork())))
            .collect();
        let moment = dice.below(u64::from(OPERATIONS) * clients.len() as u64 * 3 / 4);
        while round.asked() < moment {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match fate {
            Fate::Killed => {
                cluster.kill_gateway_number(leader);
                tokio::time::sleep(Duration::from_millis(dice.below(2000))).await;
                cluster.spawn_gateway(leader);
            }
            Fate::Stopped => {
                cluster.pause_gateway(leader, true);
                tokio::time::sleep(Duration::from_millis(1500 + dice.below(2500))).await;
                cluster.pause_gateway(leader, false);
            }
        }
        for client in running {
            client.await.unwrap();
        }
        // What is there afterwards must fit, too, whoever is asked.
        for gateway in 0..3 {
            cluster.until_ready(gateway).await;
            round.look(&Signed::over(cluster.client_of(gateway, Http3::Never))).await;
        }
        judge(round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_answer_as_one_though_their_leader_is_killed() {
    three_gateways_answer_as_one(Fate::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stood_still_tells_nothing_stale() {
    three_gateways_answer_as_one(Fate::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_just_written_is_read_and_listed_by_everyone() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Embedded::start(dir.path(), EmbeddedOptions::default()).await.unwrap();
    let [writer, reader] =
        [Http3::Always, Http3::Never].map(|http3| Signed::new(&cluster.client_profile(), http3));
    writer.must("PUT", "/data", Extras::default()).await;
    let mut there = BTreeSet::new();
    for i in 0..60 {
        let key = format!("{i:03}");
        let path = format!("/data/{key}");
        let put = Extras { body: key.clone().into(), ..Extras::default() };
        assert_eq!(writer.must("PUT", &path, put).await.status, 200);
        there.insert(key.clone());
        let get = reader.must("GET", &path, Extras::default());
        let (got, listed) = tokio::join!(get, keys(&reader));
        assert_eq!((got.text(), &listed), (key.clone(), &there));
        // Every second one goes again.
        if i % 2 == 0 {
            assert_eq!(writer.must("DELETE", &path, Extras::default()).await.status, 204);
            there.remove(&key);
            let get = reader.must("GET", &path, Extras::default());
            let (got, listed) = tokio::join!(get, keys(&reader));
            assert_eq!((got.code(), &listed), ("NoSuchKey".to_owned(), &there));
        }
    }
    cluster.stop().await;
}

/// All keys of the bucket `data`.
async fn keys(s3: &Signed) -> BTreeSet<String> {
    let list = Extras { query: "list-type=2", ..Extras::default() };
    let text = s3.must("GET", "/data", list).await.text();
    text.split("<Contents>").skip(1).map(|c| c.between("<Key>", "</Key>").to_owned()).collect()
}

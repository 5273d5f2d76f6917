//! Chaos: real processes are killed and stopped, their disks fill up and rot, their clocks jump and
//! their network is cut, while clients go on and hold every answer against what it may be. In
//! the end all that was acknowledged is there, and redundancy is whole.
//!
//! ```text
//! COFFER_CHAOS_SECONDS=600 cargo test -p coffer-gateway --test chaos -- --nocapture
//! ```
//!
//! `COFFER_TEST_SEED` makes the faults and their times those of an earlier run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

#[path = "../support"]
mod support {
    pub(crate) mod dice;
    pub(crate) mod processes;
    pub(crate) mod signed;
}
mod clocks;
mod disks;
mod faults;
mod ledger;
mod load;
mod proxies;
mod tally;
mod whole;
mod world;

use load::Load;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use support::dice::Dice;
use tally::Tally;
use world::World;

/// How long faults go on before they are lifted, and the cluster has to become whole.
const ROUND: Duration = Duration::from_secs(20);

/// Since the beginning of the test, for its messages.
fn clock_time() -> String {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    format!("{:>7.2}", BEGAN.elapsed().as_secs_f64())
}

/// As long as wanted, or as is good for a test among many.
fn length() -> Duration {
    let wanted = std::env::var("COFFER_CHAOS_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(wanted.unwrap_or(30))
}

/// Has all clients read back what they know. Returns how many objects there are.
async fn audit(clients: &mut [load::Client]) -> usize {
    let audits = clients.iter_mut().map(load::Client::audit);
    futures::future::join_all(audits).await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_all_that_may_go_wrong() {
    let (mut dice, length) = (Dice::new(), length());
    let tally = Arc::new(Tally::new());
    let mut world = World::start(&tally, &mut dice).await;
    let doors = world.doors().await;
    let mut load = Load::start(&doors, &tally, &mut dice).await;
    load.beside(world.until_whole()).await;
    let began = Instant::now();
    while began.elapsed() < length {
        let round = faults::plan(ROUND, world.means(), &mut dice.fork());
        load.beside(world.suffer(&round)).await;
        let took = load.beside(world.until_whole()).await;
        println!("{} whole again after {took:.1?}, {} done", clock_time(), tally.done());
    }
    let (under_load, longest) = (began.elapsed(), tally.longest());
    let mut clients = load.end().await;

    world.until_whole().await;
    println!("{} whole without load", clock_time());
    let objects = audit(&mut clients).await;
    println!("{} all read back", clock_time());
    // As many nodes may be lost as ever.
    let first = dice.below(world.nodes.len() as u64) as usize;
    world.cluster.kill_node(first);
    world.cluster.kill_node((first + 1 + dice.below(7) as usize) % world.nodes.len());
    audit(&mut clients).await;
    println!("{} all read back without two nodes", clock_time());
    println!("{tally}");
    println!("{objects} objects read back, lost = 0");
    println!("longest without a write: {:.2?}, without a read: {:.2?}", longest.0, longest.1);
    println!("{under_load:.1?} under load");
}

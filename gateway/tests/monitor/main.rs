//! Watching nodes that fail: what is told, that it is told once, and what is done about it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod damage;
mod gateways;
#[path = "../support/processes.rs"]
mod processes;
mod served;
#[path = "../support/signed.rs"]
mod signed;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code)] // shared with the tests of repair
#[path = "../repair/world.rs"]
mod world;

use coffer_core::health::{Patience, Verdict};
use coffer_core::placement::NodeState;
use coffer_core::shard::DiskReport;
use coffer_gateway::catalog::raft::types::GatewayId;
use coffer_gateway::monitor::event::News;
use coffer_gateway::monitor::{Monitor, MonitorConfig, Watched};
use std::sync::Arc;
use std::time::Duration;
use support::Mood;
use tokio::task::JoinHandle;
use world::{Running, World, quick};

/// A monitor that looks often, beside a repairer; both until it is dropped.
struct Watching {
    monitor: Arc<Monitor>,
    repair: Running,
    task: JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn often() -> MonitorConfig {
    MonitorConfig {
        interval: Duration::from_millis(10),
        answer: Duration::from_millis(500),
        patience: Patience { worse: 3, better: 5 },
        drain_after: 3,
        ..MonitorConfig::default()
    }
}

impl Watching {
    fn new(world: &World, config: MonitorConfig) -> Self {
        let repair = world.repair(quick());
        let watched = Watched {
            id: GatewayId(1),
            name: "gateway-1".to_owned(),
            engine: world.engine.clone(),
            catalog: world.catalog.clone(),
            repairer: repair.repairer(),
            journal: None,
        };
        let monitor = Monitor::new(watched, config, || 7);
        let task = monitor.spawn();
        Self { monitor, repair, task }
    }

    fn news(&self) -> Vec<News> {
        let page = self.monitor.events().since(0, usize::MAX);
        page.events.into_iter().map(|event| event.news).collect()
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.news().iter().map(News::kind).collect()
    }

    fn count(&self, kind: &str) -> usize {
        self.kinds().iter().filter(|k| **k == kind).count()
    }

    async fn until(&self, world: &World, kind: &str) {
        world.until(kind, async || self.count(kind) > 0).await;
    }

    /// Lets it look a few times more.
    async fn some_looks(&self) {
        for _ in 0..20 {
            self.monitor.look().await;
        }
    }
}

fn name(world: &World, node: usize) -> String {
    format!("node-{}", world.cluster.nodes[node].id)
}

fn dying() -> DiskReport {
    DiskReport { device: "sda".into(), passed: Some(false), ..DiskReport::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_is_told_once_and_is_never_drained() {
    let world = World::new(8, 8).await;
    world.put("a", 300_000).await;
    let watching = Watching::new(&world, MonitorConfig { drain_failing: true, ..often() });
    world.until("a look", async || watching.monitor.report().is_some()).await;
    assert_eq!(watching.monitor.report().unwrap().overall, Verdict::Healthy);
    // It was failing before, too.
    world.cluster.nodes[2].says(dying());
    world.cluster.set(2..3, Mood::Down);
    watching.until(&world, "node_silent").await;
    watching.some_looks().await;
    assert_eq!(watching.kinds(), ["node_silent"]);
    let report = watching.monitor.report().unwrap();
    assert_eq!(report.overall, Verdict::Failing, "somebody has to start it");
    let text = &report.problems[0].text;
    assert!(text.contains(&name(&world, 2)) && text.contains("start it"), "{text}");
    assert_eq!(world.engine.nodes().map().nodes[2].state, NodeState::Active);
    world.cluster.nodes[2].says(DiskReport::default());
    world.cluster.set(2..3, Mood::Fine);
    watching.until(&world, "node_back").await;
    watching.some_looks().await;
    assert_eq!(watching.kinds(), ["node_silent", "node_back"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_node_is_only_told_of_unless_it_is_to_be_drained() {
    let world = World::new(8, 8).await;
    for n in 0..4 {
        world.put(&format!("a{n}"), 300_000).await;
    }
    let told = Watching::new(&world, often());
    world.cluster.nodes[1].says(dying());
    told.until(&world, "node_health").await;
    told.some_looks().await;
    assert_eq!(told.kinds(), ["disk_warning", "node_health"]);
    let report = told.monitor.report().unwrap();
    assert_eq!(report.overall, Verdict::Failing);
    assert!(report.problems[0].text.contains("admin node drain"), "{:?}", report.problems);
    assert_eq!(world.engine.nodes().map().nodes[1].state, NodeState::Active);
    drop(told);

    let drained = Watching::new(&world, MonitorConfig { drain_failing: true, ..often() });
    drained.until(&world, "drain_begun").await;
    let begun = drained.news().into_iter().find(|news| news.kind() == "drain_begun").unwrap();
    assert!(begun.to_string().contains("says that it is failing"), "{begun}");
    let node = &world.cluster.nodes[1];
    world
        .until("the failing node is empty", async || {
            world.collect_garbage().await;
            node.shards().is_empty()
        })
        .await;
    world.until_whole().await;
    assert!(drained.repair.status().shards_moved > 0);
    drained.some_looks().await;
    assert_eq!(drained.count("drain_begun"), 1);
    // An operator who wants to keep it is not overruled.
    world.change(|map| map.nodes[1].state = NodeState::Active).await;
    drained.some_looks().await;
    assert_eq!(drained.count("drain_begun"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_for_each_shard_a_failing_node_is_kept_and_the_reason_told() {
    let world = World::new(6, 6).await;
    world.put("a", 300_000).await;
    world.cluster.nodes[1].says(dying());
    let watching = Watching::new(&world, MonitorConfig { drain_failing: true, ..often() });
    watching.until(&world, "drain_held_back").await;
    watching.some_looks().await;
    assert_eq!(watching.count("drain_held_back"), 1);
    assert_eq!(watching.count("drain_begun"), 0);
    let held = watching.news().into_iter().find(|news| news.kind() == "drain_held_back").unwrap();
    assert!(held.to_string().contains("add a node"), "{held}");
    assert_eq!(world.engine.nodes().map().nodes[1].state, NodeState::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_failing_nodes_one_is_drained_at_a_time() {
    let world = World::new(9, 9).await;
    world.put("a", 300_000).await;
    world.cluster.nodes[1].says(dying());
    world.cluster.nodes[4].says(dying());
    let watching = Watching::new(&world, MonitorConfig { drain_failing: true, ..often() });
    watching.until(&world, "drain_begun").await;
    watching.some_looks().await;
    let draining = || {
        let map = world.engine.nodes().map();
        map.nodes.iter().filter(|n| n.state == NodeState::Draining).count()
    };
    world.until("the map is followed", async || draining() == 1).await;
    assert_eq!(watching.count("drain_begun"), 1);
    // The first has been dealt with: now the second has its turn.
    world
        .change(|map| {
            let first = map.nodes.iter_mut().find(|n| n.state == NodeState::Draining).unwrap();
            first.state = NodeState::Gone;
        })
        .await;
    world.until("the second", async || watching.count("drain_begun") == 2).await;
    world.until("the map is followed", async || draining() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_and_a_full_one_are_told_and_forgiven() {
    let world = World::new(6, 6).await;
    for n in 0..12 {
        world.put(&format!("a{n}"), 300_000).await;
    }
    let watching = Watching::new(&world, often());
    world.cluster.set(3..4, Mood::Slow(Duration::from_millis(150)));
    assert!(world.reads_back().await);
    watching.until(&world, "node_slow").await;
    world.cluster.set(3..4, Mood::Fine);
    world
        .until("it is normal again", async || {
            world.reads_back().await;
            watching.count("node_normal") > 0
        })
        .await;
    world.cluster.set(4..5, Mood::Full);
    watching.until(&world, "node_space").await;
    let report = watching.monitor.report().unwrap();
    assert!(report.problems[0].text.contains("is full"), "{:?}", report.problems);
    world.cluster.set(4..5, Mood::Fine);
    world.until("it has room", async || watching.count("node_space") > 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redundancy_is_told_to_be_degraded_and_whole_again() {
    let world = World::new(6, 6).await;
    let part = world.put("a", 5_000_000).await;
    let chunk = part.chunk(0).unwrap();
    let id = chunk.node_of(1).unwrap();
    let node = world.cluster.nodes.iter().find(|n| n.id == id).unwrap();
    // Writes are refused, so that it stays damaged for a while.
    node.set(Mood::Full);
    node.damage(chunk.key(1));
    let watching = Watching::new(&world, often());
    watching.until(&world, "damage_found").await;
    watching.until(&world, "redundancy_degraded").await;
    node.set(Mood::Fine);
    world
        .until("it is whole again", async || {
            // If it was rebuilt elsewhere, what was left behind is garbage.
            world.collect_garbage().await;
            watching.count("redundancy_whole") > 0 && watching.count("damage_mended") > 0
        })
        .await;
    world.until_whole().await;
    for kind in ["damage_found", "damage_mended", "redundancy_degraded", "redundancy_whole"] {
        assert_eq!(watching.count(kind), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_in_the_format_that_prometheus_reads() {
    let world = World::new(6, 6).await;
    world.put("a", 300_000).await;
    world.cluster.nodes[1].says(dying());
    let watching = Watching::new(&world, often());
    watching.until(&world, "node_health").await;
    let text = watching.monitor.metrics();
    let mut typed = std::collections::BTreeSet::new();
    let mut current = "";
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if line.starts_with("# HELP ") {
            assert!(typed.insert(words[2]), "{line}: all samples of a name stand together");
            current = words[2];
            assert!(current.starts_with("coffer_"));
        } else if line.starts_with("# TYPE ") {
            assert_eq!(words[2], current);
            let is_counter = current.ends_with("_total");
            assert_eq!(words[3], if is_counter { "counter" } else { "gauge" }, "{line}");
        } else {
            assert_eq!(line.split(['{', ' ']).next().unwrap(), current, "{line}");
            assert!(words.last().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    let failing = name(&world, 1);
    for sample in [
        format!("coffer_node_verdict{{node=\"{failing}\"}} 2"),
        format!("coffer_node_health_score{{node=\"{failing}\"}} 0"),
        format!("coffer_disk_health_score{{node=\"{failing}\",device=\"sda\"}} 0"),
        "coffer_events_total{kind=\"node_health\"} 1".to_owned(),
        "coffer_redundancy_whole 1".to_owned(),
        "coffer_catalog_has_leader 1".to_owned(),
        "coffer_problems{needs_operator=\"true\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} is not in\n{text}");
    }
}

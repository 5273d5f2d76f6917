//! Several gateways over the same nodes: one repairs, the others tell it what they notice.

use crate::support::Cluster;
use crate::world::{Running, World, engine, master, quick};
use async_trait::async_trait;
use coffer_core::placement::NodeState;
use coffer_gateway::catalog::CatalogHandle;
use coffer_gateway::catalog::raft::network::{
    PeerError, PeerLink, PeerRequest, PeerResponse, PeerService,
};
use coffer_gateway::catalog::raft::options::{Options, Timing};
use coffer_gateway::catalog::raft::service::RaftService;
use coffer_gateway::catalog::raft::types::{GatewayId, Peer};
use coffer_gateway::catalog::store::{MemoryTrees, Work};
use coffer_gateway::engine::Engine;
use coffer_gateway::engine::keys::MasterKey;
use coffer_gateway::engine::repair::{RepairConfig, RepairRequest, Repairer};
use coffer_gateway::engine::sweep::{Sweep, SweepConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Who can be reached, and who is cut off.
#[derive(Default)]
struct Network {
    services: Mutex<BTreeMap<GatewayId, Arc<Service>>>,
    cut: Mutex<BTreeSet<GatewayId>>,
}

struct Service {
    raft: RaftService,
    repairer: Arc<Repairer>,
}

struct Way(GatewayId, Arc<Network>);

#[async_trait]
impl PeerLink for Way {
    async fn call(
        &self,
        id: GatewayId,
        peer: &Peer,
        request: PeerRequest,
        within: Duration,
    ) -> Result<PeerResponse, PeerError> {
        let Self(from, network) = self;
        let cut = |id| network.cut.lock().unwrap().contains(id);
        let service = network.services.lock().unwrap().get(&id).cloned();
        let peer = peer.name.clone();
        let (Some(service), false) = (service, cut(from) || cut(&id)) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            return Err(PeerError::NotSent { peer, why: "no connection".into() });
        };
        let answer = async {
            match request {
                PeerRequest::Repair(request) => service.repairer.answer(request),
                request => service.raft.handle(request).await,
            }
        };
        match tokio::time::timeout(within, answer).await {
            Ok(answer) if !cut(from) && !cut(&id) => Ok(answer),
            _ => Err(PeerError::NoAnswer { peer, why: "lost".into() }),
        }
    }
}

struct Gateway {
    id: GatewayId,
    engine: Arc<Engine>,
    catalog: CatalogHandle,
    repair: Running,
}

/// Three gateways; the world goes through the first.
struct Several {
    world: World,
    gateways: Vec<Gateway>,
    network: Arc<Network>,
}

impl Several {
    async fn new(nodes: u8, config: &RepairConfig) -> Self {
        let (cluster, network) = (Cluster::new(nodes), Arc::<Network>::default());
        let peer = |n: u64| Peer { name: format!("g{n}"), ..Peer::default() };
        let founders: BTreeMap<_, _> = (1..=3).map(|n| (GatewayId(n), peer(n))).collect();
        let mut gateways = Vec::new();
        for id in (1..=3).map(GatewayId) {
            let options = Options {
                id,
                founders: founders.clone(),
                link: Arc::new(Way(id, network.clone())),
                work: Work::Inline,
                timing: Timing { patience: Duration::from_secs(20), ..Timing::default() },
                ..Options::alone()
            };
            let trees = Arc::new(MemoryTrees::default());
            let catalog = CatalogHandle::start(trees, &master(), options).await.unwrap();
            let engine = engine(cluster.map(), cluster.stores());
            let (leader, keys) = (catalog.clone(), MasterKey::new(&master()));
            let leads = move || leader.leads();
            let repairer =
                Repairer::new(engine.clone(), catalog.clone(), keys, config.clone(), leads, || 1);
            let service = Service { raft: catalog.service(), repairer: repairer.clone() };
            network.services.lock().unwrap().insert(id, Arc::new(service));
            gateways.push(Gateway { id, engine, catalog, repair: Running::start(repairer) });
        }
        let world =
            World::through(cluster, gateways[0].engine.clone(), gateways[0].catalog.clone()).await;
        Self { world, gateways, network }
    }

    /// The gateway that leads, and one that does not.
    async fn roles(&self) -> (&Gateway, &Gateway) {
        self.world.until("one leads", async || self.leaders().len() == 1).await;
        let leader = self.leaders()[0];
        (leader, self.gateways.iter().find(|g| g.id != leader.id).unwrap())
    }

    fn leaders(&self) -> Vec<&Gateway> {
        self.gateways.iter().filter(|g| g.catalog.leads()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_follower_meets_while_it_reads_is_repaired_by_the_leader() {
    let several = Several::new(6, &quick()).await;
    let world = &several.world;
    let part = world.put("a", 5_000_000).await;
    let chunk = part.chunk(0).unwrap();
    let (holder, key) = chunk.placed().next().unwrap();
    let node = world.cluster.nodes.iter().find(|n| n.id == holder).unwrap();
    node.forget(key);
    let (leader, follower) = several.roles().await;
    // Nobody else has noticed: neither the node nor the survey look for shards that are not there.
    assert!(world.reads_back_by(&follower.engine).await);
    world.until("it is there again", async || node.shards().contains_key(&key)).await;
    world.until_whole().await;
    let rebuilt = |g: &Gateway| g.repair.status().shards_rebuilt;
    assert!(leader.catalog.leads(), "it had no reason to change");
    assert_eq!(rebuilt(follower), 0);

    // The follower tells how far repair is, and takes no word of shards itself.
    let told = follower.repair.repairer().status_of_leader().await.unwrap();
    assert!(told.leads && !follower.repair.status().leads);
    assert_eq!(told.shards_rebuilt, rebuilt(leader));
    let word = RepairRequest::Suspects(vec![(holder, key)]);
    let refused = follower.repair.repairer().answer(word);
    assert!(matches!(refused, PeerResponse::NotLeader { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_loses_its_leader_is_ended_by_the_next_one() {
    let config = RepairConfig { bytes_per_second: 4 << 20, ..quick() };
    let several = Several::new(8, &config).await;
    let world = &several.world;
    for n in 0..24 {
        world.put(&format!("a{n}"), 300_000).await;
    }
    let drained = world.cluster.nodes[0].id;
    let held = async || world.places().await.iter().filter(|(_, n)| *n == Some(drained)).count();
    let begun = held().await;
    assert!(begun > 4);
    world.change(|map| map.nodes[0].state = NodeState::Draining).await;
    let (first, _) = several.roles().await;
    world.until("it is under way", async || held().await < begun).await;
    several.network.cut.lock().unwrap().insert(first.id);
    println!("{} of {begun} shards were left when the leader was cut off", held().await);
    world
        .until("another leads", async || {
            several.gateways.iter().any(|g| g.id != first.id && g.catalog.leads())
        })
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    several.network.cut.lock().unwrap().clear();
    world.until("the drained node is given up", async || held().await == 0).await;
    world.until_whole().await;

    // What the two have left behind goes, and nothing else.
    let (leader, _) = several.roles().await;
    let config = SweepConfig {
        page_pause: Duration::ZERO,
        orphan_grace: Duration::ZERO,
        ..SweepConfig::default()
    };
    let mut sweep = Sweep::new(leader.engine.clone(), leader.catalog.clone(), config);
    for now_ms in 1.. {
        sweep.round(now_ms).await.unwrap();
        world.collect_garbage().await;
        if world.cluster.shard_count() == 24 * 6 && world.cluster.nodes[0].shards().is_empty() {
            break;
        }
        assert!(now_ms < 1000, "{} shards", world.cluster.shard_count());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.until_whole().await;
}

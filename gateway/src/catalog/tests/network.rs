//! Several gateways in one process, and a network among them that can fail.

use crate::catalog::CatalogHandle;
use crate::catalog::raft::network::{PeerError, PeerLink, PeerRequest, PeerResponse, PeerService};
use crate::catalog::raft::options::{Options, Timing};
use crate::catalog::raft::types::{GatewayId, Peer};
use crate::catalog::store::{MemoryTrees, Work};
use async_trait::async_trait;
use coffer_core::seal::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The network: who is up, which ways are cut, and how much is lost.
#[derive(Default)]
pub(super) struct Network {
    services: Mutex<BTreeMap<GatewayId, Arc<dyn PeerService>>>,
    cut: Mutex<BTreeSet<GatewayId>>,
    /// Every so many messages one is lost, in turn on its way there and on its way back; 0 for none.
    pub(super) lossy: AtomicU64,
    /// How long a message takes, in milliseconds.
    pub(super) latency_ms: AtomicU64,
    sent: AtomicU64,
}

struct Way(GatewayId, Arc<Network>);

impl Network {
    fn connected(&self, a: GatewayId, b: GatewayId) -> bool {
        let cut = self.cut.lock().unwrap();
        !cut.contains(&a) && !cut.contains(&b)
    }

    fn lost(&self) -> Option<bool> {
        let every = self.lossy.load(Ordering::SeqCst);
        let sent = self.sent.fetch_add(1, Ordering::SeqCst);
        (every > 0 && sent.is_multiple_of(every)).then(|| (sent / every).is_multiple_of(2))
    }
}

#[async_trait]
impl PeerLink for Way {
    async fn call(
        &self,
        id: GatewayId,
        peer: &Peer,
        request: PeerRequest,
        within: Duration,
    ) -> Result<PeerResponse, PeerError> {
        let peer = peer.name.clone();
        let Self(from, network) = self;
        let service = network.services.lock().unwrap().get(&id).cloned();
        let (Some(service), true) = (service, network.connected(*from, id)) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            return Err(PeerError::NotSent { peer, why: "no connection".into() });
        };
        let no_answer = || PeerError::NoAnswer { peer: peer.clone(), why: "lost".into() };
        let latency = network.latency_ms.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(latency)).await;
        let lost = network.lost();
        if lost == Some(true) {
            return Err(no_answer());
        }
        let request = postcard::to_stdvec(&request).unwrap();
        let answer = service.handle(postcard::from_bytes(&request).unwrap());
        let answer = tokio::time::timeout(within, answer).await.map_err(|_| no_answer())?;
        if lost == Some(false) || !network.connected(*from, id) {
            return Err(no_answer());
        }
        let answer = postcard::to_stdvec(&answer).unwrap();
        Ok(postcard::from_bytes(&answer).unwrap())
    }
}

/// Gateways and their stores.
pub(super) struct Cluster {
    pub(super) network: Arc<Network>,
    pub(super) stores: BTreeMap<GatewayId, MemoryTrees>,
    pub(super) up: BTreeMap<GatewayId, CatalogHandle>,
    founders: BTreeMap<GatewayId, Peer>,
    keep_entries: u64,
}

pub(super) fn peer(id: u64) -> Peer {
    Peer { name: format!("g{id}"), address: format!("10.0.0.{id}:1"), endpoint: String::new() }
}

impl Cluster {
    pub(super) async fn start(gateways: u64, keep_entries: u64) -> Self {
        let founders: BTreeMap<_, _> = (1..=gateways).map(|n| (GatewayId(n), peer(n))).collect();
        let (stores, up) = (BTreeMap::new(), BTreeMap::new());
        let network = Arc::default();
        let mut cluster = Self { network, stores, up, founders, keep_entries };
        for id in 1..=gateways {
            cluster.open(id).await;
        }
        cluster
    }

    /// Starts a gateway on what it has stored.
    pub(super) async fn open(&mut self, id: u64) -> &CatalogHandle {
        let id = GatewayId(id);
        let founding = self.founders.contains_key(&id);
        let options = Options {
            id,
            founders: if founding { self.founders.clone() } else { BTreeMap::new() },
            link: Arc::new(Way(id, self.network.clone())),
            work: Work::Inline,
            timing: Timing {
                heartbeat: Duration::from_millis(100),
                election: (Duration::from_millis(250), Duration::from_millis(450)),
                patience: Duration::from_secs(10),
            },
            keep_entries: self.keep_entries,
        };
        let trees = Arc::new(self.stores.entry(id).or_default().clone());
        let master = Key::from_bytes([7; 32]);
        let handle = CatalogHandle::start(trees, &master, options).await.unwrap();
        self.network.services.lock().unwrap().insert(id, Arc::new(handle.service()));
        self.up.insert(id, handle);
        &self.up[&id]
    }

    /// Kills a gateway; what it did not sync is lost.
    pub(super) async fn kill(&mut self, id: GatewayId) {
        self.network.services.lock().unwrap().remove(&id);
        let survived = self.stores[&id].crashed(0);
        self.stores.insert(id, survived);
        let handle = self.up.remove(&id).unwrap();
        handle.stop().await;
    }

    /// Cuts a gateway off from all others, or connects it again.
    pub(super) fn cut(&self, id: GatewayId, cut: bool) {
        let mut all = self.network.cut.lock().unwrap();
        if cut {
            all.insert(id)
        } else {
            all.remove(&id)
        };
    }

    pub(super) fn handle(&self, id: u64) -> CatalogHandle {
        self.up[&GatewayId(id)].clone()
    }

    /// The gateway that leads, once there is one among those that are connected.
    pub(super) async fn leader(&self) -> GatewayId {
        loop {
            let cut = self.network.cut.lock().unwrap().clone();
            let mut up = self.up.iter().filter(|(id, _)| !cut.contains(id));
            if let Some((id, _)) = up.find(|(_, handle)| handle.leads()) {
                return *id;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

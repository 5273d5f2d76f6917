//! Placement: which nodes hold a chunk's shards.
//!
//! Weighted rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit
//! rates", 1998; the weighting by `-w / ln(h)` is Resch's, "New hashing algorithms for data
//! storage", SNIA SDC 2015): every node scores every chunk, and the best scores win. A node that
//! joins or leaves only moves the shards that it wins or held. Shards are spread over nodes first,
//! then over failure domains, the widest first.
//!
//! The outcome is recorded in the manifest, so that reads never guess.

use crate::erasure::Code;
use crate::ids::{BlobId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most names in the path of a failure domain.
pub const MAX_LEVELS: usize = 4;

/// A storage node in the cluster map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// The node.
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// Where its shard service listens: `host:port`. Empty for a node in this process.
    #[serde(default)]
    pub address: String,
    /// Nodes in the same failure domain may fail together. A path from the widest domain to the
    /// narrowest, `zone/rack/host`, of at most [`MAX_LEVELS`] names; one name will do. By default
    /// each node is alone.
    #[serde(default)]
    pub domain: String,
    /// Its share of the data, relative to the others; usually its capacity in TB.
    #[serde(default = "one")]
    pub weight: f64,
    /// Whether it is to hold shards.
    #[serde(default)]
    pub state: NodeState,
}

/// What is wanted of a storage node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It holds shards and takes new ones.
    #[default]
    Active,
    /// It takes no new shards, and gives those that it has to other nodes.
    Draining,
    /// It does not come back: what it held is rebuilt on other nodes.
    Gone,
}

fn one() -> f64 {
    1.0
}

impl NodeEntry {
    /// The names of its failure domain, the widest first.
    fn levels(&self) -> impl Iterator<Item = &str> {
        let (path, alone) = match self.domain.as_str() {
            "" => (None, Some(self.name.as_str())),
            path => (Some(path.split('/')), None),
        };
        path.into_iter().flatten().chain(alone)
    }

    /// How many levels of failure domains it shares with another node.
    fn shares(&self, other: &Self) -> usize {
        let both = self.levels().zip(other.levels());
        both.take_while(|(a, b)| a == b).take(MAX_LEVELS).count()
    }
}

/// How close together shards are: pairs of them on the same node, and then in the same failure
/// domain, the widest first. Less is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crowding {
    on_node: usize,
    in_domain: [usize; MAX_LEVELS],
}

impl Crowding {
    /// Counts one more shard, on `node`, beside one on `other`.
    fn add(&mut self, node: &NodeEntry, other: &NodeEntry) {
        self.on_node += usize::from(node.id == other.id);
        self.in_domain[..node.shares(other)].iter_mut().for_each(|level| *level += 1);
    }
}

/// The storage nodes of a cluster, at one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterMap {
    /// Grows with every change.
    pub version: u64,
    /// The nodes, in no particular order.
    pub nodes: Vec<NodeEntry>,
}

/// Too few nodes can take shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{usable} storage nodes can take shards, but {needed} are needed")]
pub struct TooFewNodes {
    /// Nodes that can take shards now.
    pub usable: usize,
    /// Nodes that are needed.
    pub needed: usize,
}

impl ClusterMap {
    /// Checks what was read from configuration: at least one node, ids and names unique, weights
    /// positive, failure domains of few names.
    ///
    /// # Errors
    /// A sentence that names the node and the field.
    pub fn check(&self) -> Result<(), String> {
        if self.nodes.is_empty() {
            return Err("the cluster map names no storage nodes".into());
        }
        for (i, n) in self.nodes.iter().enumerate() {
            if !(n.weight > 0.0 && n.weight.is_finite()) {
                return Err(format!("node {}: weight {} is not positive", n.name, n.weight));
            }
            if n.levels().count() > MAX_LEVELS || n.levels().any(str::is_empty) {
                return Err(format!(
                    "node {}: domain {:?} is not one to {MAX_LEVELS} names with a / between them",
                    n.name, n.domain
                ));
            }
            if self.nodes[..i].iter().any(|o| o.id == n.id || o.name == n.name) {
                return Err(format!("node {} ({}) is listed twice", n.name, n.id));
            }
        }
        Ok(())
    }

    /// Checks a map that is to replace `before`: as [`ClusterMap::check`], and its version is the
    /// next, no node that is gone comes back, and those that go were gone before.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn check_successor(&self, before: Option<&Self>) -> Result<(), String> {
        self.check()?;
        let version = before.map_or(0, |m| m.version);
        if Some(self.version) != version.checked_add(1) {
            return Err(format!("version {} does not follow version {version}", self.version));
        }
        for old in before.iter().flat_map(|m| &m.nodes).filter(|o| o.state == NodeState::Gone) {
            if self.get(old.id).is_some_and(|n| n.state != NodeState::Gone) {
                return Err(format!(
                    "node {} is gone and can't come back; add it as a new node",
                    old.name
                ));
            }
        }
        for old in before.iter().flat_map(|m| &m.nodes) {
            if old.state != NodeState::Gone && self.get(old.id).is_none() {
                return Err(format!("node {} must be gone before it is left out", old.name));
            }
        }
        Ok(())
    }

    /// A node by its id.
    pub fn get(&self, id: NodeId) -> Option<&NodeEntry> {
        self.nodes.iter().find(|n| n.id == id)
    }

    /// The nodes that are not gone, and that are drained among them.
    pub fn members(&self) -> impl Iterator<Item = &NodeEntry> + Clone {
        self.nodes.iter().filter(|n| n.state != NodeState::Gone)
    }

    /// Whether a node is there and not gone.
    pub fn is_member(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|n| n.state != NodeState::Gone)
    }

    /// What people call a node; its id if it is not known.
    pub fn name_of(&self, id: NodeId) -> String {
        self.get(id).map_or_else(|| id.to_string(), |n| n.name.clone())
    }

    /// Chooses a node for each of the `code.n()` shards of a chunk.
    ///
    /// Nodes for which `usable` is false are passed over: only *their* shards go elsewhere, by
    /// doubling up on other nodes if need be (handoff), as long as no node holds more than `m`
    /// shards of the chunk, so that any one node may still be lost.
    ///
    /// # Errors
    /// [`TooFewNodes`] when fewer than `min_nodes` nodes are usable, or doubling up would put more
    /// than `m` shards on one node.
    pub fn place(
        &self,
        blob: BlobId,
        chunk: u32,
        code: Code,
        min_nodes: usize,
        usable: impl Fn(NodeId) -> bool,
    ) -> Result<Vec<NodeId>, TooFewNodes> {
        let active = |n: &&NodeEntry| n.state == NodeState::Active;
        let live = self.nodes.iter().filter(active).filter(|n| usable(n.id)).count();
        let needed = min_nodes.max(code.n().div_ceil(code.m()));
        let too_few = TooFewNodes { usable: live, needed };
        if live < needed {
            return Err(too_few);
        }
        let ranked = self.ranked(blob, chunk);
        let mut holders = vec![None; code.n()];
        for i in 0..holders.len() {
            holders[i] = self.pick(&ranked, &holders, usize::MAX, |_| true);
        }
        // Shards whose home is down move; the others stay where they belong.
        let moving: Vec<usize> =
            (0..holders.len()).filter(|i| !holders[*i].is_some_and(&usable)).collect();
        for i in &moving {
            holders[*i] = None;
        }
        for i in moving {
            holders[i] = self.pick(&ranked, &holders, code.m(), &usable);
        }
        holders.into_iter().collect::<Option<Vec<_>>>().ok_or(too_few)
    }

    /// Chooses a node for one more shard, given who holds (or is to hold) the others. `None` when
    /// every usable node has `m` shards already.
    pub fn place_one(
        &self,
        blob: BlobId,
        chunk: u32,
        code: Code,
        holders: &[Option<NodeId>],
        usable: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        self.pick(&self.ranked(blob, chunk), holders, code.m(), usable)
    }

    /// How close together the shards of a chunk are. Nodes that the map does not know don't count.
    pub fn crowding(&self, holders: &[Option<NodeId>]) -> Crowding {
        let held: Vec<&NodeEntry> = holders.iter().flatten().filter_map(|h| self.get(*h)).collect();
        let mut crowding = Crowding::default();
        for (i, node) in held.iter().enumerate() {
            held[..i].iter().for_each(|other| crowding.add(node, other));
        }
        crowding
    }

    /// The nodes that are to hold shards, by falling score for this chunk.
    fn ranked(&self, blob: BlobId, chunk: u32) -> Vec<&NodeEntry> {
        let active = self.nodes.iter().filter(|n| n.state == NodeState::Active);
        let mut scored: Vec<(f64, &NodeEntry)> =
            active.map(|n| (score(n, blob, chunk), n)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.id.cmp(&b.1.id)));
        scored.into_iter().map(|(_, n)| n).collect()
    }

    /// Picks the usable node with the fewest shards so far (but less than `most`), then the one
    /// whose widest failure domain has the fewest, then the next narrower one, then the best ranked.
    fn pick(
        &self,
        ranked: &[&NodeEntry],
        holders: &[Option<NodeId>],
        most: usize,
        usable: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let held: Vec<&NodeEntry> = holders.iter().flatten().filter_map(|h| self.get(*h)).collect();
        let crowding = |node: &NodeEntry| {
            let mut crowding = Crowding::default();
            held.iter().for_each(|other| crowding.add(node, other));
            crowding
        };
        ranked
            .iter()
            .filter(|n| usable(n.id))
            .map(|n| (crowding(n), n.id))
            .filter(|(crowding, _)| crowding.on_node < most)
            .min_by_key(|(crowding, _)| *crowding)
            .map(|(_, id)| id)
    }
}

/// Whether enough shards of a chunk are durable for the write to be acknowledged: a write quorum,
/// on at least `min_nodes` different nodes as far as a quorum can be on so many, and so that whichever
/// node is lost next, `k` shards are left. A node that holds two counts for two there: a quorum on
/// fewer nodes than shards is not always enough. All shards where [`ClusterMap::place`] and
/// [`ClusterMap::place_one`] put them, at most `m` on a node, always are.
///
/// `placed` has for each shard the node that has confirmed it.
pub fn quorum_met(code: Code, placed: &[Option<NodeId>], min_nodes: usize) -> bool {
    let quorum = code.write_quorum();
    let mut held: BTreeMap<NodeId, usize> = BTreeMap::new();
    for node in placed.iter().flatten() {
        *held.entry(*node).or_default() += 1;
    }
    let stored: usize = held.values().sum();
    let most_on_one = held.values().max().copied().unwrap_or(0);
    stored >= quorum && held.len() >= min_nodes.min(quorum) && stored - most_on_one >= code.k()
}

fn score(node: &NodeEntry, blob: BlobId, chunk: u32) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"coffer placement v1");
    hasher.update(node.id.as_bytes());
    hasher.update(blob.as_bytes());
    hasher.update(&chunk.to_le_bytes());
    let mut first = [0u8; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    // 53 bits, shifted by half a step so that neither 0 nor 1 is ever hit.
    #[allow(clippy::cast_precision_loss)]
    let uniform = ((u64::from_le_bytes(first) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -node.weight / libm::log(uniform)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    fn map(domains: &[(&str, f64)]) -> ClusterMap {
        let nodes = domains.iter().enumerate().map(|(i, (domain, weight))| NodeEntry {
            id: NodeId::from_bytes([i as u8; 16]),
            name: format!("node-{i}"),
            address: String::new(),
            domain: (*domain).to_owned(),
            weight: *weight,
            state: NodeState::Active,
        });
        ClusterMap { version: 1, nodes: nodes.collect() }
    }

    fn six() -> ClusterMap {
        map(&[("", 1.0); 6])
    }

    fn blob(n: u64) -> BlobId {
        BlobId::from_bytes(u128::from(n).to_be_bytes())
    }

    #[test]
    fn with_two_of_six_nodes_down_the_others_double_up_within_reason() {
        let map = six();
        for n in 0..200 {
            let down = [map.nodes[0].id, map.nodes[1].id];
            let home = map.place(blob(n), 0, Code::DEFAULT, 4, |_| true).unwrap();
            assert_eq!(home.iter().collect::<HashSet<_>>().len(), 6);
            let now = map.place(blob(n), 0, Code::DEFAULT, 4, |id| !down.contains(&id)).unwrap();
            for (home, now) in home.iter().zip(&now) {
                assert!(!down.contains(now));
                assert!(home == now || down.contains(home), "only shards of lost nodes move");
            }
            for node in &map.nodes {
                assert!(now.iter().filter(|n| **n == node.id).count() <= 2);
            }
        }
    }

    #[test]
    fn with_three_of_six_nodes_down_writing_is_refused() {
        let map = six();
        let up = map.nodes[0..3].iter().map(|n| n.id).collect::<Vec<_>>();
        assert_eq!(
            map.place(blob(1), 0, Code::DEFAULT, 4, |id| up.contains(&id)),
            Err(TooFewNodes { usable: 3, needed: 4 })
        );
    }

    #[test]
    fn shards_spread_over_failure_domains() {
        let map = map(&[
            ("a", 1.0),
            ("a", 1.0),
            ("a", 1.0),
            ("b", 1.0),
            ("b", 1.0),
            ("b", 1.0),
            ("c", 1.0),
            ("c", 1.0),
            ("c", 1.0),
        ]);
        let domain: HashMap<NodeId, &str> =
            map.nodes.iter().map(|n| (n.id, n.domain.as_str())).collect();
        for n in 0..200 {
            let placed = map.place(blob(n), 7, Code::DEFAULT, 4, |_| true).unwrap();
            for d in ["a", "b", "c"] {
                assert_eq!(placed.iter().filter(|id| domain[id] == d).count(), 2);
            }
        }
    }

    #[test]
    fn shards_spread_over_zones_then_racks_then_hosts() {
        // Two zones of two racks; the first rack has two hosts of two nodes each.
        let paths = ["a/1/x", "a/1/x", "a/1/y", "a/1/y", "a/2/z", "a/2/z", "b/3", "b/3", "b/4"];
        let map = map(&paths.map(|path| (path, 1.0)));
        assert_eq!(map.check(), Ok(()));
        for n in 0..200 {
            let placed = map.place(blob(n), 0, Code::DEFAULT, 4, |_| true).unwrap();
            let on = |prefix: &str| {
                let within = |id: &&NodeId| map.get(**id).unwrap().domain.starts_with(prefix);
                placed.iter().filter(within).count()
            };
            assert_eq!((on("a/"), on("b/")), (3, 3));
            assert!(on("a/1") >= 1 && on("a/2") >= 1);
            assert!(on("a/1/x") <= 1 && on("a/1/y") <= 1, "another host of the rack is free");
        }
    }

    #[test]
    fn domains_that_are_no_paths_are_refused() {
        for domain in ["a//b", "/a", "a/", "a/b/c/d/e"] {
            let error = map(&[(domain, 1.0)]).check().unwrap_err();
            assert!(error.contains("node-0") && error.contains("domain"), "{error}");
        }
    }

    #[test]
    fn shares_follow_weights() {
        let mut weights = vec![("", 1.0); 11];
        weights.push(("", 3.0));
        let map = map(&weights);
        let code = Code::new(1, 1).unwrap();
        let (mut heavy, mut all) = (0u32, 0u32);
        for n in 0..4000 {
            let first = map.place(blob(n), 0, code, 1, |_| true).unwrap()[0];
            heavy += u32::from(first == map.nodes[11].id);
            all += 1;
        }
        let share = f64::from(heavy) / f64::from(all);
        assert!((share - 3.0 / 14.0).abs() < 0.03, "{share}");
    }

    proptest! {
        #[test]
        fn what_is_acknowledged_survives_the_loss_of_any_node(
            n: u64, nodes in 1usize..12, k in 1u8..6, m in 1u8..4, down: u16, unconfirmed: u16, min in 1usize..6,
        ) {
            let (map, code) = (map(&vec![("", 1.0); nodes]), Code::new(k, m).unwrap());
            let up = |id: NodeId| down >> id.as_bytes()[0] & 1 == 0;
            let min_nodes = min.min(code.k());
            if let Ok(homes) = map.place(blob(n), 0, code, min_nodes, up) {
                let all: Vec<_> = homes.into_iter().map(Some).collect();
                prop_assert!(quorum_met(code, &all, min_nodes), "all that can be stored is enough");
                let confirmed = |(i, home): (usize, Option<NodeId>)| home.filter(|_| unconfirmed >> i & 1 == 0);
                let placed: Vec<_> = all.into_iter().enumerate().map(confirmed).collect();
                if quorum_met(code, &placed, min_nodes) {
                    for lost in &map.nodes {
                        let left = placed.iter().flatten().filter(|id| **id != lost.id).count();
                        prop_assert!(left >= code.k(), "{placed:?} without {}", lost.id);
                    }
                }
            }
        }

        #[test]
        fn adding_a_node_moves_only_what_it_wins(n: u64, nodes in 7usize..20) {
            let before = map(&vec![("", 1.0); nodes]);
            let after = map(&vec![("", 1.0); nodes + 1]);
            let new = after.nodes[nodes].id;
            let set = |m: &ClusterMap| m.place(blob(n), 0, Code::DEFAULT, 4, |_| true).unwrap().into_iter().collect::<HashSet<_>>();
            let (a, b) = (set(&before), set(&after));
            let gained: Vec<_> = b.difference(&a).collect();
            prop_assert!(gained.is_empty() || gained == vec![&new]);
        }
    }
}

//! What goes wrong: anything at any time, as long as the design promises to survive it.
//!
//! The one bound: what is destroyed for good (by rot, by a lost disk, by a crash of a disk that lied)
//! leaves each chunk at least k sound shards, and takes no more from a write in progress than its
//! quorum can spare. What merely can't be reached is not bounded.

use crate::executor::GatewayIx;
use crate::node::Node;
use crate::world::{MS, Party, SECOND, World};
use coffer_core::catalog::Command;
use coffer_core::ids::NodeId;
use coffer_core::manifest::ChunkRef;
use coffer_core::placement::{ClusterMap, NodeEntry, NodeState};
use coffer_core::shard::ShardKey;
use std::rc::Rc;

/// A node as it enters the cluster map.
pub fn entry(node: &Node, racks: u64) -> NodeEntry {
    let number = u64::from(node.id.as_bytes()[0]);
    let rack = number.checked_rem(racks).map(|r| format!("rack-{r}"));
    NodeEntry {
        id: node.id,
        name: node.name.clone(),
        address: String::new(),
        domain: rack.unwrap_or_default(),
        weight: if number.is_multiple_of(3) { 2.0 } else { 1.0 },
        state: NodeState::Active,
    }
}

/// Something happens, or nothing.
pub fn strike(world: &mut World) {
    world.trace.count("strikes", 1);
    match world.rng.range(0, 24) {
        0 | 1 => crash_node(world),
        2..5 => revive_node(world),
        5 => fill(world),
        6 => lie(world),
        7..9 => rot(world),
        9 => lose_node(world),
        10 | 11 => cut(world),
        12..14 => heal(world),
        14 => crash_gateway(world),
        15 => stall_gateway(world),
        16 => jump_clock(world),
        17 => slow_node(world),
        18 | 19 => change_map(world),
        20 => elect(world),
        _ => {}
    }
    keep_a_leader(world);
    for gateway in 0..world.gateways.len() {
        world.catch_up(gateway, world.log.len());
    }
}

/// Ends all faults. What is lost stays lost.
pub fn cease(world: &mut World) {
    world.faults = false;
    world.cuts.clear();
    for node in world.nodes.values_mut().filter(|n| !n.lost) {
        node.flush();
        (node.up, node.full, node.slowness) = (true, false, 1);
    }
    // Clocks are past all that was ever stamped by one that had jumped.
    for gateway in &mut world.gateways {
        gateway.stalled_until = 0;
        gateway.offset_ms = JUMP_MS + 3_600_000;
    }
    elect(world);
    for gateway in 0..world.gateways.len() {
        world.gateways[gateway].acts_as_leader = world.log.leader == Some(gateway);
    }
}

/// How far clocks jump, in ms: years.
const JUMP_MS: i64 = 100_000_000_000;

fn some_node(world: &mut World, which: impl Fn(&Node) -> bool) -> Option<NodeId> {
    let all: Vec<NodeId> = world.nodes.values().filter(|n| which(n)).map(|n| n.id).collect();
    world.rng.pick(&all)
}

fn crash_node(world: &mut World) {
    let Some(id) = some_node(world, |n| n.up) else { return };
    let lied: Vec<ShardKey> = match world.nodes.get(&id) {
        Some(node) => node.disk.iter().filter(|(_, s)| s.lied).map(|(k, _)| *k).collect(),
        None => return,
    };
    if !lied.is_empty() && !destroy(world, id, &lied) {
        return;
    }
    let Some(node) = world.nodes.get_mut(&id) else { return };
    node.crash();
    let (name, lost) = (node.name.clone(), lied.len());
    world.note(None, format_args!("{name} crashes, {lost} shards were not durable"));
}

fn revive_node(world: &mut World) {
    let Some(id) = some_node(world, |n| !n.lost && (!n.up || n.full || n.lies || n.slowness > 1))
    else {
        return;
    };
    let Some(node) = world.nodes.get_mut(&id) else { return };
    node.flush();
    (node.up, node.full, node.slowness) = (true, false, 1);
    let name = node.name.clone();
    world.note(None, format_args!("{name} is well"));
}

fn fill(world: &mut World) {
    let Some(id) = some_node(world, |n| n.up && !n.full) else { return };
    if let Some(node) = world.nodes.get_mut(&id) {
        node.full = true;
    }
    world.note(None, format_args!("{id} is full"));
}

fn lie(world: &mut World) {
    let Some(id) = some_node(world, |n| n.up && !n.lies) else { return };
    if let Some(node) = world.nodes.get_mut(&id) {
        node.lies = true;
    }
    world.note(None, format_args!("{id} loses fsyncs"));
}

fn slow_node(world: &mut World) {
    let slowness = world.rng.range(5, 60);
    let Some(id) = some_node(world, |n| n.up) else { return };
    if let Some(node) = world.nodes.get_mut(&id) {
        node.slowness = slowness;
    }
    world.note(None, format_args!("{id} is {slowness} times slower"));
}

fn rot(world: &mut World) {
    let Some(id) = some_node(world, |n| !n.lost && !n.disk.is_empty()) else { return };
    let Some(node) = world.nodes.get(&id) else { return };
    let keys: Vec<ShardKey> = node.disk.keys().copied().collect();
    let Some(key) = world.rng.pick(&keys) else { return };
    if !destroy(world, id, &[key]) {
        return;
    }
    let flip = world.rng.draw();
    if let Some(stored) = world.nodes.get_mut(&id).and_then(|n| n.disk.get_mut(&key)) {
        let mut bytes = stored.bytes.to_vec();
        let at = usize::try_from(flip >> 8).unwrap_or(0) % bytes.len().max(1);
        bytes[at] ^= 1 << (flip % 8);
        stored.bytes = Rc::from(bytes);
    }
    world.note(Some(key.blob), format_args!("{key} rots on {id}"));
}

fn lose_node(world: &mut World) {
    let Some(id) = some_node(world, |n| !n.lost) else { return };
    let map = world.log.truth.cluster().ok().flatten();
    let active = |n: &&NodeEntry| n.state == NodeState::Active && n.id != id;
    let left = map.iter().flat_map(|m| &m.nodes).filter(active).count();
    let lost = world.nodes.values().filter(|n| n.lost).count();
    let Some(node) = world.nodes.get(&id) else { return };
    let keys: Vec<ShardKey> = node.disk.keys().copied().collect();
    if left < world.code.n() || lost >= 2 || !destroy(world, id, &keys) {
        return;
    }
    if let Some(node) = world.nodes.get_mut(&id) {
        node.crash();
        node.lost = true;
        node.disk.clear();
    }
    for key in keys {
        world.note(Some(key.blob), format_args!("{key} is lost with {id}"));
    }
}

/// Whether these shards of a node may be destroyed now; writes in progress remember it.
fn destroy(world: &mut World, node: NodeId, keys: &[ShardKey]) -> bool {
    let spared = |blob| keys.iter().filter(|k| k.blob == blob).count();
    for (blob, part) in &world.oracle.live {
        if spared(*blob) > 0
            && part.chunks().any(|c| sound_without(world, c, node, keys) < c.chunk.shape.code().k())
        {
            return false;
        }
    }
    let most = world.code.m().div_ceil(2);
    if world
        .oracle
        .pending
        .iter()
        .any(|(blob, gone)| spared(*blob) > 0 && gone + spared(*blob) > most)
    {
        return false;
    }
    world.trace.count("shards destroyed", keys.len());
    for (blob, gone) in &mut world.oracle.pending {
        *gone += spared(*blob);
    }
    true
}

/// Sound shards of a chunk that are left without some, now and after a relocation under way.
fn sound_without(world: &World, chunk: ChunkRef<'_>, node: NodeId, keys: &[ShardKey]) -> usize {
    let sound = |(at, key): (NodeId, ShardKey)| {
        let key = world.name(key);
        let kept = at != node || !keys.contains(&key);
        kept && world.nodes.get(&at).is_some_and(|n| n.has_sound(&key))
    };
    let ahead = world.oracle.ahead.get(&chunk.key(0).blob);
    let safe = |key: ShardKey| {
        let same = |(_, k): &&(NodeId, ShardKey)| (k.chunk, k.index) == (key.chunk, key.index);
        ahead.into_iter().flatten().filter(same).all(|a| sound(*a))
    };
    chunk.placed().filter(|place| sound(*place) && safe(place.1)).count()
}

fn party(world: &mut World) -> Party {
    let gateway = world.rng.index(world.gateways.len());
    match some_node(world, |n| !n.lost) {
        Some(node) if world.rng.chance(600) => Party::Node(node),
        _ => Party::Gateway(gateway),
    }
}

fn cut(world: &mut World) {
    let gateway = Party::Gateway(world.rng.index(world.gateways.len()));
    let other = party(world);
    if gateway != other {
        world.cuts.insert((gateway.min(other), gateway.max(other)));
        world.note(None, format_args!("{gateway:?} and {other:?} are parted"));
    }
}

fn heal(world: &mut World) {
    world.cuts.clear();
    world.note(None, format_args!("the network is whole"));
}

fn crash_gateway(world: &mut World) {
    let gateway = world.rng.index(world.gateways.len());
    let state = &mut world.gateways[gateway];
    (state.up, state.acts_as_leader) = (false, false);
    world.crashed.push(gateway);
    world.note(None, format_args!("gateway {gateway} crashes"));
}

fn stall_gateway(world: &mut World) {
    let gateway = world.rng.index(world.gateways.len());
    let until = world.agenda.now() + world.rng.range(100 * MS, 6 * SECOND);
    world.gateways[gateway].stalled_until = until;
    world.note(None, format_args!("gateway {gateway} stands still"));
}

fn jump_clock(world: &mut World) {
    let gateway = world.rng.index(world.gateways.len());
    let far = world.rng.chance(500);
    let reach = if far { JUMP_MS } else { 20_000 }.unsigned_abs();
    let by = i64::try_from(world.rng.range(0, 2 * reach)).unwrap_or(0) - reach.cast_signed();
    world.gateways[gateway].offset_ms = by;
    world.note(None, format_args!("the clock of gateway {gateway} is off by {by} ms"));
}

fn keep_a_leader(world: &mut World) {
    let lost = world.log.leader.is_none_or(|l| !world.gateways[l].up || !world.has_majority(l));
    if lost && world.rng.chance(400) {
        elect(world);
    }
}

/// Another leader, if there can be one. The old one may go on for a while as if it still were.
fn elect(world: &mut World) {
    let can = |g: &GatewayIx| {
        world.gateways[*g].up && world.stalled_for(*g).is_none() && world.has_majority(*g)
    };
    let able: Vec<GatewayIx> = (0..world.gateways.len()).filter(can).collect();
    let Some(next) = world.rng.pick(&able) else { return };
    let deposed = world.log.leader.filter(|l| *l != next);
    world.log.leader = Some(next);
    world.gateways[next].acts_as_leader = true;
    world.note(None, format_args!("gateway {next} leads"));
    if let Some(old) = deposed {
        let unaware = world.rng.range(0, 8 * SECOND);
        world.agenda.after(unaware, move |w| {
            w.gateways[old].acts_as_leader = w.log.leader == Some(old);
        });
    }
}

/// An administrator changes the cluster map: what is lost is given up, nodes drain and come back,
/// and new ones join.
fn change_map(world: &mut World) {
    let Ok(Some(mut map)) = world.log.truth.cluster() else { return };
    let (expected, needed) = (map.version, world.code.n());
    let is_lost = |id: &NodeId| world.nodes.get(id).is_none_or(|n| n.lost);
    let gone: Vec<usize> = (0..map.nodes.len())
        .filter(|i| map.nodes[*i].state != NodeState::Gone && is_lost(&map.nodes[*i].id))
        .collect();
    let active = map.nodes.iter().filter(|n| n.state == NodeState::Active).count();
    let draining = map.nodes.iter().position(|n| n.state == NodeState::Draining);
    let lucky = world.rng.index(map.nodes.len());
    if let Some(gone) = gone.first() {
        map.nodes[*gone].state = NodeState::Gone;
        add_node(world, &mut map);
    } else if active > needed
        && map.nodes[lucky].state == NodeState::Active
        && world.rng.chance(500)
    {
        map.nodes[lucky].state = NodeState::Draining;
    } else if let (Some(draining), true) = (draining, world.rng.chance(500)) {
        map.nodes[draining].state = NodeState::Active;
    } else if map.nodes.len() < 12 {
        add_node(world, &mut map);
    } else {
        return;
    }
    map.version += 1;
    let from = world.rng.index(world.gateways.len());
    world.propose(from, Command::ChangeCluster { expected, map }, Box::new(|_, _| {}));
}

fn add_node(world: &mut World, map: &mut ClusterMap) {
    let number = u8::try_from(world.nodes.len() + 1).unwrap_or(u8::MAX);
    let node = Node::new(number);
    map.nodes.push(entry(&node, world.racks));
    world.nodes.insert(node.id, node);
}

/// Gives up the nodes that are lost, so that what they held is rebuilt. Whether there were any.
pub fn give_up_lost(world: &mut World) -> bool {
    let Ok(Some(mut map)) = world.log.truth.cluster() else { return false };
    let expected = map.version;
    let is_lost = |id: &NodeId| world.nodes.get(id).is_none_or(|n| n.lost);
    let mut lost = 0;
    for node in map.nodes.iter_mut().filter(|n| n.state != NodeState::Gone && is_lost(&n.id)) {
        node.state = NodeState::Gone;
        lost += 1;
    }
    if lost == 0 {
        return false;
    }
    map.version += 1;
    world.propose(0, Command::ChangeCluster { expected, map }, Box::new(|_, _| {}));
    true
}

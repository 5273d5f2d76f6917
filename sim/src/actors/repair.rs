//! What is missing is rebuilt, what is misplaced is moved: planned by `core::repair`, and told to
//! the catalog on condition that all is still as it was seen.

use super::Submitted;
use super::get::gather;
use super::sweep::verdict;
use crate::executor::{Ctx, Inbox};
use crate::mutation::Mutation;
use crate::node::{Answer, Request, Why};
use crate::trace::Time;
use crate::world::{MS, SECOND};
use coffer_core::catalog::Command;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::manifest::{Move, Part};
use coffer_core::placement::ClusterMap;
use coffer_core::repair::{ChunkPlan, Situation, Standing, Step, Verdict, overtake};
use coffer_core::shard::{BlockRange, ShardKey};
use std::collections::BTreeMap;
use std::rc::Rc;

/// After how much silence a node counts as lost.
const LOST_AFTER: Time = 4 * SECOND;
/// What a node takes for its list when it is slow.
const SLOW: Time = 30 * MS;

/// How nodes are, and what they have: whether each shard is sound.
type Seen = BTreeMap<NodeId, (Standing, BTreeMap<ShardKey, bool>)>;

/// One round over all blobs.
pub async fn round(ctx: &Ctx) {
    let Some(map) = ctx.map() else { return };
    let mut seen = Seen::new();
    for node in map.nodes.iter().map(|n| n.id) {
        seen.insert(node, look_at(ctx, node).await);
    }
    // By what the catalog says after the nodes were asked: what is missing was not just moved there.
    let Ok(blobs) = ctx.catalog().blobs(None, usize::MAX) else { return };
    for (blob, _) in blobs.into_iter().filter(|(_, owner)| owner.is_live()) {
        repair(ctx, blob, &map, &seen).await;
    }
}

async fn look_at(ctx: &Ctx, node: NodeId) -> (Standing, BTreeMap<ShardKey, bool>) {
    let asked = ctx.now();
    let answer = ctx.call(node, Request::List).await;
    ctx.with(|w| {
        let now = w.agenda.now();
        let silent = &mut w.gateways[ctx.gateway].silent;
        let Answer::Names(names, full) = answer else {
            let since = *silent.entry(node).or_insert(asked);
            let lost = now - since > LOST_AFTER;
            return (if lost { Standing::Lost } else { Standing::Away }, BTreeMap::new());
        };
        silent.remove(&node);
        let standing = match full {
            true => Standing::Full,
            false if now - asked > SLOW => Standing::Slow,
            false => Standing::Up,
        };
        (standing, names.into_iter().collect())
    })
}

async fn repair(ctx: &Ctx, blob: BlobId, map: &ClusterMap, seen: &Seen) {
    let Some(part) = ctx.catalog().blob_part(blob).ok().flatten().map(|(_, part)| part) else {
        return;
    };
    let standing = |id| seen.get(&id).map_or(Standing::Away, |(standing, _)| *standing);
    let is_bad = |id, key| {
        let key = ctx.with(|w| w.name(key));
        seen.get(&id).is_some_and(|(_, names)| names.get(&key) != Some(&true))
    };
    let situation = Situation { map, standing: &standing, is_bad: &is_bad };
    let Some(chunk) = part.chunk(0) else { return };
    if let Some(plan) = situation.plan(chunk).filter(ChunkPlan::is_readable) {
        carry_out(ctx, &part, &situation.sources(chunk), plan.steps).await;
    }
}

/// A shard that a repair has written, and never told the catalog, becomes a dead name.
pub async fn overtake_leftover(ctx: &Ctx, left: ShardKey) {
    let part = ctx.catalog().blob_part(left.blob).ok().flatten().map(|(_, part)| part);
    let Some(part) = part else { return };
    let Some(chunk) = part.chunk(left.chunk) else { return };
    if let Some(step) = overtake(chunk, left) {
        let sources: Vec<u8> = chunk.placed().map(|(_, key)| key.index).collect();
        carry_out(ctx, &part, &sources, vec![step]).await;
    }
}

async fn carry_out(ctx: &Ctx, part: &Part, sources: &[u8], steps: Vec<Step>) {
    let Some(chunk) = part.chunk(0) else { return };
    let shape = chunk.chunk.shape;
    let run = BlockRange { first: 0, count: shape.shard_info().blocks() };
    let first: Vec<u8> = sources.iter().copied().take(shape.code().k()).collect();
    let Some(mut shards) = gather(ctx, chunk, &first, run).await else { return };
    if ctx.with(|w| w.coder.rebuild_all(shape.code(), &mut shards)).is_err() {
        return;
    }
    let inbox: Inbox<(Option<Move>, Answer)> = Inbox::new(ctx);
    let asked = steps.len();
    for step in steps {
        let (index, node, step) = match step {
            Step::Rewrite { index, node } => (index, node, None),
            Step::Rebuild(step) | Step::Copy(step) => (step.index, step.to, Some(step)),
        };
        let mut key = chunk.key(index);
        key.generation = step.and_then(|s| s.next()).unwrap_or(key.generation);
        let Some(bytes) = shards[usize::from(index)].clone() else { continue };
        let request = Request::Put(key, shape.shard_info(), Rc::from(bytes));
        ctx.ask(node, request, step, &inbox);
    }
    let mut moves = Vec::new();
    for _ in 0..asked {
        match inbox.next(super::SHARD_TIMEOUT).await {
            Some((Some(step), Answer::Done)) => moves.push(step),
            Some(_) => {}
            None => break,
        }
    }
    if !moves.is_empty() {
        relocate(ctx, part, moves).await;
    }
}

async fn relocate(ctx: &Ctx, part: &Part, moves: Vec<Move>) {
    let old = moves.iter().filter_map(|m| Some((m.from?, part.chunk(0)?.key(m.index))));
    let old: Vec<(NodeId, ShardKey)> = old.collect();
    if ctx.with(|w| w.has(Mutation::MoveDeletesFirst)) {
        delete(ctx, old).await;
    }
    let (garbage, at_ms) = (ctx.with(|w| w.id()), ctx.clock());
    let command = Command::Relocate { blob: part.blob, moves: moves.clone(), garbage, at_ms };
    let refused = matches!(ctx.submit(command).await, Submitted::Applied(_, Err(_)));
    if refused {
        take_back(ctx, part, &moves).await;
    }
}

/// Deletes shards that were written in vain, but for those that another repair may have written
/// under the same name and may be about to commit.
async fn take_back(ctx: &Ctx, part: &Part, moves: &[Move]) {
    let careless = ctx.with(|w| w.has(Mutation::LoserCleansUp));
    let is_dead = |(node, key): &(NodeId, ShardKey)| match verdict(ctx, *node, *key) {
        Some(Verdict::Dead | Verdict::Garbage | Verdict::Condemned | Verdict::Unclaimed) => true,
        _ => careless,
    };
    let new = moves.iter().filter_map(|m| {
        let key = part.chunk(m.chunk)?.key(m.index);
        Some((m.to, ShardKey { generation: m.next()?, ..key }))
    });
    delete(ctx, new.filter(is_dead).collect()).await;
}

async fn delete(ctx: &Ctx, shards: Vec<(NodeId, ShardKey)>) {
    for (node, key) in shards {
        ctx.call(node, Request::Delete(vec![key], Why::GivenUp)).await;
    }
}

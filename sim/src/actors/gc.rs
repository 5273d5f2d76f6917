//! Garbage is deleted from its nodes, and forgotten when all of them have confirmed.

use crate::executor::Ctx;
use crate::mutation::Mutation;
use crate::node::{Answer, Request, Why};
use coffer_core::catalog::Command;
use coffer_core::catalog::records::{GarbageId, GarbageRecord};
use coffer_core::ids::NodeId;
use coffer_core::shard::ShardKey;

/// How long garbage is kept for reads that have begun, in ms.
const GRACE_MS: u64 = 3_000;

/// One round over all garbage that is older than the grace period, by this gateway's clock.
pub async fn collect(ctx: &Ctx) {
    let before = ctx.clock().saturating_sub(GRACE_MS);
    let Ok(rows) = ctx.catalog().garbage(None, before, 64) else { return };
    let mut done: Vec<GarbageId> = Vec::new();
    for (id, row) in rows {
        let mut confirmed = true;
        for (node, key) in places(ctx, &row) {
            // A node that does not come back keeps nothing.
            let map = ctx.map();
            if !map.is_some_and(|m| m.is_member(node)) {
                continue;
            }
            let answer = ctx.call(node, Request::Delete(vec![key], Why::Garbage)).await;
            confirmed &= matches!(answer, Answer::Done);
        }
        if confirmed {
            done.push(id);
        }
    }
    if !done.is_empty() {
        ctx.submit(Command::ForgetGarbage { ids: done }).await;
    }
}

fn places(ctx: &Ctx, row: &GarbageRecord) -> Vec<(NodeId, ShardKey)> {
    let places = row.shards();
    if !ctx.with(|w| w.has(Mutation::GcByPresentManifest)) {
        return places;
    }
    // The planted bug: where is this shard today?
    let today = |(node, key): (NodeId, ShardKey)| {
        let part = ctx.catalog().blob_part(key.blob).ok().flatten().map(|(_, part)| part);
        let chunk = part.as_ref().and_then(|p| p.chunk(key.chunk));
        let now = chunk.and_then(|c| Some((c.node_of(key.index.into())?, c.key(key.index))));
        now.unwrap_or((node, key))
    };
    places.into_iter().map(today).collect()
}

//! What nodes hold and nobody needs is deleted: what is dead at once, what no commit has claimed
//! after it was condemned.

use super::Submitted;
use crate::executor::Ctx;
use crate::mutation::Mutation;
use crate::node::{Answer, Request, Why};
use coffer_core::catalog::Command;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::repair::{Verdict, judge};
use coffer_core::shard::ShardKey;
use std::collections::BTreeSet;

/// Shards that repairs have written and not, or not yet, committed, as the last round saw them.
pub type Ahead = BTreeSet<(NodeId, ShardKey)>;

/// One round over all nodes.
pub async fn sweep(ctx: &Ctx, ahead: &mut Ahead) {
    let mut still_ahead = Ahead::new();
    let Some(map) = ctx.map() else { return };
    for node in map.nodes.iter().map(|n| n.id) {
        let Answer::Names(names, _) = ctx.call(node, Request::List).await else { continue };
        let names: Vec<ShardKey> = names.into_iter().map(|(key, _)| key).collect();
        let is_ahead = |key: &&ShardKey| verdict(ctx, node, **key) == Some(Verdict::Ahead);
        still_ahead.extend(names.iter().filter(is_ahead).map(|key| (node, *key)));
        sweep_node(ctx, node, names).await;
    }
    // What a repair has left behind is overtaken, so that the next round can delete it.
    for (_, key) in still_ahead.intersection(ahead) {
        super::repair::overtake_leftover(ctx, *key).await;
    }
    *ahead = still_ahead;
}

async fn sweep_node(ctx: &Ctx, node: NodeId, names: Vec<ShardKey>) {
    let unclaimed: BTreeSet<BlobId> = names
        .iter()
        .filter(|key| verdict(ctx, node, **key) == Some(Verdict::Unclaimed))
        .map(|key| key.blob)
        .collect();
    let (careless, trusting) =
        ctx.with(|w| (w.has(Mutation::SweepWithoutCondemn), w.has(Mutation::SweepTrustsCondemn)));
    let mut condemned = false;
    if !unclaimed.is_empty() && !careless {
        let blobs = unclaimed.iter().copied().collect();
        let at_ms = ctx.clock();
        if let Submitted::Applied(index, Ok(_)) =
            ctx.submit(Command::Condemn { blobs, at_ms }).await
        {
            condemned = true;
            ctx.applied(index + 1).await;
        }
    }
    let doomed: Vec<ShardKey> = names
        .into_iter()
        .filter(|key| match verdict(ctx, node, *key) {
            Some(Verdict::Dead | Verdict::Condemned) => true,
            _ => unclaimed.contains(&key.blob) && (careless || (trusting && condemned)),
        })
        .collect();
    if !doomed.is_empty() {
        ctx.call(node, Request::Delete(doomed, Why::Sweep)).await;
    }
}

/// What this gateway's catalog says about a shard, late as it may be: what is dead or condemned in
/// an old state is so in all later ones.
pub fn verdict(ctx: &Ctx, node: NodeId, key: ShardKey) -> Option<Verdict> {
    let catalog = ctx.catalog();
    let owner = catalog.blob(key.blob).ok()?;
    let part = catalog.blob_part(key.blob).ok()?.map(|(_, part)| part);
    Some(judge(node, key, owner.as_ref(), part.as_ref()))
}

//! A body becomes a part: sealed, coded, and stored on a quorum of nodes.

use super::SHARD_TIMEOUT;
use crate::executor::{Ctx, Inbox};
use crate::mutation::Mutation;
use crate::node::{Answer, Request, Why};
use crate::trace::Time;
use crate::world::MS;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::layout::ChunkShape;
use coffer_core::manifest::{Checksums, Chunk, Content, Part};
use coffer_core::placement::quorum_met;
use coffer_core::seal::stream::ChunkPosition;
use coffer_core::seal::{CipherSuite, Envelope, Key, PartSealer};
use coffer_core::shard::ShardKey;
use md5::{Digest, Md5};
use std::collections::BTreeSet;
use std::rc::Rc;

/// How long shards beyond the quorum are waited for.
const STRAGGLER_GRACE: Time = 60 * MS;

/// The only chunk of the parts here: a chunk before the last has 4 MiB, which is slow to simulate
/// and shows nothing that one chunk does not.
pub const ONLY: ChunkPosition = ChunkPosition { chunk: 0, last: true };

/// A part's data key, wrapped as its manifest has it, and what seals under it.
fn new_sealer(ctx: &Ctx, blob: BlobId) -> Option<(Vec<u8>, PartSealer)> {
    let (random, bucket_key) = ctx.with(|w| (w.random.clone(), w.bucket_key.clone()));
    let key = Key::generate(&*random).ok()?;
    let wrapped = Envelope::new(bucket_key).wrap(blob.as_bytes(), &key, &*random).ok()?;
    Some((wrapped, PartSealer::new(CipherSuite::default(), &key, blob).ok()?))
}

/// What opens a part's segments.
pub fn sealer_of(ctx: &Ctx, part: &Part) -> Option<PartSealer> {
    let envelope = Envelope::new(ctx.with(|w| w.bucket_key.clone()));
    let key = envelope.unwrap_key(part.blob.as_bytes(), &part.wrapped_key).ok()?;
    PartSealer::new(CipherSuite::default(), &key, part.blob).ok()
}

/// Stores a body. `None`: no quorum was reached, and what was stored is deleted again.
pub async fn write_part(ctx: &Ctx, body: &[u8]) -> Option<Part> {
    let blob = BlobId::from_bytes(ctx.with(|w| w.id()));
    let code = ctx.with(|w| w.code);
    let (wrapped_key, sealer) = new_sealer(ctx, blob)?;
    let shape = ChunkShape::new(u32::try_from(body.len()).ok()?, code).ok()?;
    let mut stripe = sealer.seal_chunk(ONLY, shape, body).ok()?;
    ctx.with(|w| w.coder.encode(shape.code(), &mut stripe)).ok()?;
    ctx.with(|w| w.oracle.pending.insert(blob, 0));
    let placed = store_chunk(ctx, blob, shape, code.k(), &stripe).await?;
    let mut nodes: Vec<NodeId> = Vec::new();
    let slots = placed.into_iter().map(|node| {
        let node = node?;
        let slot = nodes.iter().position(|n| *n == node).unwrap_or_else(|| {
            nodes.push(node);
            nodes.len() - 1
        });
        u16::try_from(slot).ok()
    });
    let chunk = Chunk { shape, placed: slots.collect(), generations: Vec::new() };
    Some(Part {
        blob,
        wrapped_key,
        size: body.len() as u64,
        md5: Md5::digest(body).into(),
        checksums: Checksums::new(),
        content: Content::Sharded { nodes, chunks: vec![chunk] },
    })
}

async fn store_chunk(
    ctx: &Ctx,
    blob: BlobId,
    shape: ChunkShape,
    min_nodes: usize,
    stripe: &[u8],
) -> Option<Vec<Option<NodeId>>> {
    let (code, map) = (shape.code(), ctx.map()?);
    let shard_len = shape.shard_len() as usize;
    let shards: Vec<Rc<[u8]>> = stripe.chunks_exact(shard_len).map(Rc::from).collect();
    let key = |index: usize| ShardKey {
        blob,
        chunk: 0,
        index: u8::try_from(index).unwrap_or(u8::MAX),
        generation: 0,
    };
    let homes = map.place(blob, 0, code, min_nodes, |id| !ctx.is_shunned(id)).ok()?;
    let mut holders: Vec<Option<NodeId>> = homes.into_iter().map(Some).collect();
    let inbox: Inbox<((usize, NodeId), Answer)> = Inbox::new(ctx);
    let mut asked: BTreeSet<(usize, NodeId)> = BTreeSet::new();
    let mut sent: Vec<(NodeId, ShardKey, Time)> = Vec::new();
    let mut put = |index: usize, node: NodeId, asked: &mut BTreeSet<(usize, NodeId)>| {
        let request = Request::Put(key(index), shape.shard_info(), shards[index].clone());
        asked.insert((index, node));
        sent.push((node, key(index), ctx.now() + SHARD_TIMEOUT));
        ctx.ask(node, request, (index, node), &inbox);
    };
    for (index, node) in holders.clone().into_iter().enumerate() {
        if let Some(node) = node {
            put(index, node, &mut asked);
        }
    }
    let mut stored = vec![false; code.n()];
    let mut failed = BTreeSet::new();
    while !asked.is_empty() {
        let enough = quorum_met(code, &confirmed(&holders, &stored), min_nodes);
        let patience = if enough { STRAGGLER_GRACE } else { SHARD_TIMEOUT };
        let (index, node) = match inbox.next(patience).await {
            Some((tag, answer)) => {
                if !asked.remove(&tag) {
                    continue;
                }
                if matches!(answer, Answer::Done) {
                    stored[tag.0] = true;
                    continue;
                }
                tag
            }
            None if enough => break,
            None => match asked.pop_first() {
                Some(tag) => tag,
                None => break,
            },
        };
        ctx.shun(node);
        failed.insert(node);
        holders[index] = None;
        let usable = |id| !ctx.is_shunned(id) && !failed.contains(&id);
        if let Some(next) = map.place_one(blob, 0, code, &holders, usable) {
            holders[index] = Some(next);
            put(index, next, &mut asked);
        }
    }
    let placed = confirmed(&holders, &stored);
    let lax = ctx.with(|w| w.has(Mutation::QuorumOffByOne));
    let done = placed.iter().flatten().count();
    if quorum_met(code, &placed, min_nodes) || (lax && done + 1 >= code.write_quorum()) {
        return Some(placed);
    }
    // What is still under way must not come after the delete.
    let last = sent.iter().map(|(_, _, until)| *until).max().unwrap_or(0);
    ctx.sleep(last.saturating_sub(ctx.now())).await;
    for (node, key, _) in sent {
        ctx.call(node, Request::Delete(vec![key], Why::GivenUp)).await;
    }
    ctx.with(|w| w.oracle.pending.remove(&blob));
    None
}

/// Who has confirmed which shard.
fn confirmed(holders: &[Option<NodeId>], stored: &[bool]) -> Vec<Option<NodeId>> {
    holders.iter().zip(stored).map(|(holder, stored)| holder.filter(|_| *stored)).collect()
}

/// Deletes the shards of a part that no catalog will ever name.
pub async fn discard(ctx: &Ctx, part: &Part) {
    for chunk in part.chunks() {
        for (node, key) in chunk.placed().collect::<Vec<_>>() {
            ctx.call(node, Request::Delete(vec![key], Why::GivenUp)).await;
        }
    }
}

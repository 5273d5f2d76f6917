//! A part's bytes are read around shards that are lost, late or damaged.

use super::SHARD_TIMEOUT;
use super::put::sealer_of;
use crate::executor::{Ctx, Inbox};
use crate::node::{Answer, Request};
use crate::trace::Time;
use crate::world::MS;
use coffer_core::manifest::{ChunkRef, Part};
use coffer_core::shard::BlockRange;
use std::ops::Range;

/// How long data shards are waited for before others are asked.
const HEDGE_AFTER: Time = 40 * MS;

/// Why bytes could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Too few shards could be had.
    TooFew,
    /// What was had does not open.
    Wrong,
}

/// Reads the bytes `range` of a part of one chunk.
pub async fn read_part(ctx: &Ctx, part: &Part, range: Range<u32>) -> Result<Vec<u8>, Unread> {
    let sealer = sealer_of(ctx, part).ok_or(Unread::Wrong)?;
    let chunk = part.chunk(0).ok_or(Unread::Wrong)?;
    let shape = chunk.chunk.shape;
    let wanted = shape.segments_for(&range);
    let reads = shape.reads_for(&wanted);
    let first: Vec<u8> = reads.iter().map(|(index, _)| *index).collect();
    // All wanted shards are asked for the same run, so that what comes can be put together.
    let start = reads.iter().map(|(_, b)| b.first).min().unwrap_or(0);
    let end = reads.iter().map(|(_, b)| b.first + b.count).max().unwrap_or(1);
    let run = BlockRange { first: start, count: end - start };
    let mut shards = gather(ctx, chunk, &first, run).await.ok_or(Unread::TooFew)?;
    let missing = first.iter().any(|i| shards[usize::from(*i)].is_none());
    if missing {
        ctx.with(|w| w.coder.rebuild_data(shape.code(), &mut shards)).map_err(|_| Unread::Wrong)?;
    }
    let block = shape.block_size() as usize;
    let mut plain = Vec::new();
    for (index, blocks) in reads {
        let shard = shards[usize::from(index)].as_deref().ok_or(Unread::Wrong)?;
        let from = (blocks.first - run.first) as usize * block;
        let mut piece = shard[from..from + blocks.count as usize * block].to_vec();
        let at = u32::from(index) * shape.segments_per_shard() + blocks.first;
        let segments = at..(at + blocks.count).min(wanted.end);
        let opened = sealer.open_segments(chunk.position, shape, segments, &mut piece);
        piece.truncate(opened.map_err(|_| Unread::Wrong)?);
        plain.extend_from_slice(&piece);
    }
    let skipped = shape.segment_range(wanted.start).start;
    plain.truncate((range.end - skipped) as usize);
    plain.drain(..(range.start - skipped) as usize);
    Ok(plain)
}

/// A run of blocks of the shards in `first`, or of any k. `None`: fewer can be had.
pub async fn gather(
    ctx: &Ctx,
    chunk: ChunkRef<'_>,
    first: &[u8],
    run: BlockRange,
) -> Option<Vec<Option<Vec<u8>>>> {
    let code = chunk.chunk.shape.code();
    let mut shards: Vec<Option<Vec<u8>>> = vec![None; code.n()];
    let all = 0..u8::try_from(code.n()).unwrap_or(u8::MAX);
    let mut others: Vec<u8> = all.filter(|i| !first.contains(i)).collect();
    others.sort_by_key(|i| chunk.node_of((*i).into()).is_none_or(|n| ctx.is_shunned(n)));
    let mut others = others.into_iter();
    let inbox = Inbox::new(ctx);
    // Asks for one more shard, if it was ever written.
    let ask = |index: u8| match chunk.node_of(index.into()) {
        Some(node) => {
            ctx.ask(node, Request::Get(chunk.key(index), run), index, &inbox);
            true
        }
        None => false,
    };
    let mut open = first.iter().filter(|i| ask(**i)).count();
    let mut waited = 0;
    loop {
        let have = shards.iter().flatten().count();
        let complete = first.iter().all(|i| shards[usize::from(*i)].is_some());
        if complete || have >= code.k() {
            return Some(shards);
        }
        match inbox.next(HEDGE_AFTER).await {
            Some((index, answer)) => {
                open = open.saturating_sub(1);
                match answer {
                    Answer::Bytes(bytes) => {
                        shards[usize::from(index)] = Some(bytes);
                        continue;
                    }
                    _ => ctx.shun(chunk.node_of(index.into())?),
                }
            }
            None => waited += HEDGE_AFTER,
        }
        // Someone failed or is slow: ask others, as many as are still needed.
        for _ in have..code.k() {
            open += usize::from(others.next().is_some_and(ask));
        }
        if waited > SHARD_TIMEOUT || (open == 0 && others.len() == 0) {
            return None;
        }
    }
}

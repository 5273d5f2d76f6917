//! What nodes list beside what the catalog wants of them, both in the order of their keys.

use super::Engine;
use super::nodes::Kind;
use crate::catalog::CatalogHandle;
use crate::catalog::handle::Catalog;
use coffer_core::catalog::records::BlobOwner;
use coffer_core::catalog::{CatalogError, Scope};
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::manifest::Part;
use coffer_core::repair::{ShardState, Verdict, judge};
use coffer_core::shard::{
    BlockRange, Finding, MAX_FINDINGS, ShardError, ShardInfo, ShardKey, ShardStore,
};
use futures::{Stream, stream};
use std::collections::HashSet;
use std::sync::Arc;

/// Blobs of the catalog that are read at a time.
const PAGE: usize = 64;

/// A page of the catalog's live blobs, in the order of their ids.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) parts: Vec<(BlobOwner, Part)>,
    /// Where the page ends; `None`: there is no other.
    pub(super) last: Option<BlobId>,
}

impl Wanted {
    /// The page after a blob, as the catalog stands here.
    pub(super) async fn after(
        catalog: &CatalogHandle,
        after: Option<BlobId>,
    ) -> Result<Self, CatalogError> {
        let query = |c: &Catalog| {
            let blobs = c.blobs(after, PAGE)?;
            let live = blobs.iter().filter(|(_, owner)| owner.is_live());
            let parts = live.filter_map(|(blob, _)| c.blob_part(*blob).transpose());
            let parts = parts.collect::<Result<_, CatalogError>>()?;
            let last = blobs.last().map(|(blob, _)| *blob).filter(|_| blobs.len() == PAGE);
            Ok(Self { parts, last })
        };
        catalog.read(Scope::Hidden, query).await
    }

    /// The shards that a node should have.
    pub(super) fn of(&self, node: NodeId) -> impl Iterator<Item = (ShardKey, ShardInfo)> {
        self.parts.iter().flat_map(|(_, part)| part.chunks()).flat_map(move |chunk| {
            let here = chunk.placed().filter(|(holder, _)| *holder == node);
            here.map(|(_, key)| (key, chunk.chunk.shape.shard_info())).collect::<Vec<_>>()
        })
    }
}

/// Judges shards that a node has listed, in the order of their keys. What is dead by what the
/// catalog says here is dead for good; the rest counts as far as the catalog here is not behind.
pub(super) async fn verdicts(
    catalog: &CatalogHandle,
    node: NodeId,
    listed: &[ShardKey],
) -> Result<Vec<(ShardKey, Verdict)>, CatalogError> {
    let mut verdicts = Vec::with_capacity(listed.len());
    for shards in listed.chunk_by(|a, b| a.blob == b.blob) {
        let Some(first) = shards.first() else { continue };
        let query = |c: &Catalog| match c.blob_part(first.blob)? {
            Some((owner, part)) => Ok((Some(owner), Some(part))),
            None => Ok((c.blob(first.blob)?, None)),
        };
        let (owner, part) = catalog.read(Scope::Hidden, query).await?;
        let verdict = |key: &ShardKey| (*key, judge(node, *key, owner.as_ref(), part.as_ref()));
        verdicts.extend(shards.iter().map(verdict));
    }
    Ok(verdicts)
}

/// The shards that `node` should have between `after` and `until` (to the end if `None`) and that
/// are not among those which it has listed there.
pub(super) async fn missing(
    catalog: &CatalogHandle,
    node: NodeId,
    after: Option<ShardKey>,
    until: Option<ShardKey>,
    listed: &[ShardKey],
) -> Result<Vec<(ShardKey, ShardInfo)>, CatalogError> {
    let listed: HashSet<ShardKey> = listed.iter().copied().collect();
    let within = |key: &ShardKey| {
        after.is_none_or(|after| *key > after) && until.is_none_or(|until| *key <= until)
    };
    let mut missing = Vec::new();
    // A page may begin in the middle of a blob: that one is looked at again.
    let mut from = after.and_then(|key| before(key.blob));
    loop {
        let wanted = Wanted::after(catalog, from).await?;
        missing.extend(wanted.of(node).filter(|(key, _)| within(key) && !listed.contains(key)));
        match wanted.last {
            Some(last) if until.is_none_or(|until| last < until.blob) => from = Some(last),
            _ => return Ok(missing),
        }
        tokio::task::yield_now().await;
    }
}

/// The id before a blob's.
fn before(blob: BlobId) -> Option<BlobId> {
    let number = u128::from_be_bytes(*blob.as_bytes()).checked_sub(1)?;
    Some(BlobId::from_bytes(number.to_be_bytes()))
}

impl Engine {
    /// A page of a node's list.
    pub(super) async fn list(
        &self,
        node: NodeId,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, ShardInfo)>, ShardError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let list = |store: Arc<dyn ShardStore>| async move { store.list(after, limit).await };
        self.nodes().call(node, Kind::Other, self.config.shard_timeout, list).await
    }

    /// What a node has found damaged, page by page. It ends with the first page that can't be had.
    pub(super) fn findings(
        &self,
        node: NodeId,
    ) -> impl Stream<Item = Result<Vec<Finding>, ShardError>> {
        let limit = u32::try_from(MAX_FINDINGS).unwrap_or(u32::MAX);
        stream::unfold(Some(None), move |next| async move {
            let after: Option<u64> = next?;
            let ask =
                |store: Arc<dyn ShardStore>| async move { store.findings(after, limit).await };
            let page = self.nodes().call(node, Kind::Other, self.config.shard_timeout, ask).await;
            let full = page.as_ref().ok().filter(|page| page.len() >= MAX_FINDINGS);
            let next = full.and_then(|page| page.last()).map(|last| Some(last.id));
            Some((page, next))
        })
    }

    /// Looks at a shard on its node: at all of it, or just whether it is there.
    pub(super) async fn examine(
        &self,
        node: NodeId,
        key: ShardKey,
        info: ShardInfo,
        whole: bool,
    ) -> ShardState {
        let blocks = BlockRange { first: 0, count: if whole { info.blocks() } else { 1 } };
        let get = |store: Arc<dyn ShardStore>| async move { store.get(key, blocks).await };
        let within = self.config.shard_timeout;
        match self.nodes().call(node, Kind::Read, within, get).await {
            Ok(bytes) if whole && bytes.len() != info.len as usize => ShardState::Damaged,
            Ok(_) => ShardState::Sound,
            Err(ShardError::NotFound) => ShardState::Missing,
            Err(ShardError::Corrupt { .. } | ShardError::Disk(_) | ShardError::BadRequest(_)) => {
                ShardState::Damaged
            }
            Err(
                ShardError::Unreachable(_)
                | ShardError::Timeout
                | ShardError::Busy
                | ShardError::Full,
            ) => ShardState::Unreachable,
        }
    }
}

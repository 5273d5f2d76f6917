//! A page of a node's list beside the catalog, both in the order of their keys.

use crate::catalog::CatalogHandle;
use crate::catalog::handle::Catalog;
use coffer_core::catalog::records::BlobOwner;
use coffer_core::catalog::{CatalogError, Scope};
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::manifest::Part;
use coffer_core::repair::{Verdict, judge};
use coffer_core::shard::ShardKey;
use std::collections::HashSet;

/// Blobs of the catalog that are read at a time.
const PAGE: usize = 256;

/// What a page shows.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Can be deleted.
    pub(super) dead: Vec<ShardKey>,
    /// The catalog does not know their blobs.
    pub(super) unclaimed: Vec<ShardKey>,
    /// How many a repair has written ahead of its commit.
    pub(super) ahead: u64,
    /// The catalog wants them, and they were not listed.
    pub(super) missing: Vec<ShardKey>,
}

/// Compares the page of `node`'s list that lies after `after` and up to `until` (to the end if
/// `None`) with the catalog.
pub(super) async fn compare(
    catalog: &CatalogHandle,
    node: NodeId,
    after: Option<ShardKey>,
    until: Option<ShardKey>,
    page: &[ShardKey],
) -> Result<Compared, CatalogError> {
    let mut found = Compared::default();
    for shards in page.chunk_by(|a, b| a.blob == b.blob) {
        let Some(first) = shards.first() else { continue };
        let query = |c: &Catalog| Ok((c.blob(first.blob)?, c.blob_part(first.blob)?));
        let (owner, part) = catalog.read(Scope::Hidden, query).await?;
        let part = part.as_ref().map(|(_, part)| part);
        for key in shards {
            match judge(node, *key, owner.as_ref(), part) {
                Verdict::Dead | Verdict::Condemned => found.dead.push(*key),
                Verdict::Unclaimed => found.unclaimed.push(*key),
                Verdict::Ahead => found.ahead += 1,
                Verdict::Needed | Verdict::Garbage | Verdict::Reserved => {}
            }
        }
    }
    found.missing = missing(catalog, node, after, until, page).await?;
    Ok(found)
}

async fn missing(
    catalog: &CatalogHandle,
    node: NodeId,
    after: Option<ShardKey>,
    until: Option<ShardKey>,
    page: &[ShardKey],
) -> Result<Vec<ShardKey>, CatalogError> {
    let listed: HashSet<ShardKey> = page.iter().copied().collect();
    let within = |key: &ShardKey| {
        after.is_none_or(|after| *key > after) && until.is_none_or(|until| *key <= until)
    };
    let mut missing = Vec::new();
    // A page may begin in the middle of a blob: that one is looked at again.
    let mut from = after.and_then(|key| before(key.blob));
    loop {
        let query = |c: &Catalog| {
            let blobs = c.blobs(from, PAGE)?;
            let live = blobs.iter().filter(|(_, owner)| owner.is_live());
            let parts = live.map(|(blob, _)| Ok(c.blob_part(*blob)?.map(|(_, part)| part)));
            let parts = parts.collect::<Result<Vec<Option<Part>>, CatalogError>>()?;
            Ok((blobs.last().map(|(blob, _)| *blob), blobs.len(), parts))
        };
        let (last, count, parts) = catalog.read(Scope::Hidden, query).await?;
        for part in parts.iter().flatten() {
            for chunk in part.chunks() {
                let here = chunk.placed().filter(|(holder, _)| *holder == node);
                let wanted = here.map(|(_, key)| key).filter(&within);
                missing.extend(wanted.filter(|key| !listed.contains(key)));
            }
        }
        let is_past = last.is_some_and(|last| until.is_some_and(|until| last >= until.blob));
        if count < PAGE || is_past {
            return Ok(missing);
        }
        from = last;
        tokio::task::yield_now().await;
    }
}

/// The id before a blob's.
fn before(blob: BlobId) -> Option<BlobId> {
    let number = u128::from_be_bytes(*blob.as_bytes()).checked_sub(1)?;
    Some(BlobId::from_bytes(number.to_be_bytes()))
}

/// Those of `blobs` that are condemned.
pub(super) async fn condemned(
    catalog: &CatalogHandle,
    blobs: &[BlobId],
) -> Result<Vec<BlobId>, CatalogError> {
    let query = |c: &Catalog| {
        let mut condemned = Vec::new();
        for blob in blobs {
            if matches!(c.blob(*blob)?, Some(BlobOwner::Condemned { .. })) {
                condemned.push(*blob);
            }
        }
        Ok(condemned)
    };
    catalog.read(Scope::Hidden, query).await
}

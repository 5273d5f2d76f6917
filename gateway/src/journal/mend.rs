//! Copies of the journal that nodes have found damaged are written anew, each from another copy.

use super::nodes::{ANSWER, Listing, View};
use coffer_core::ids::NodeId;
use coffer_core::journal::Record;
use coffer_core::seal::Envelope;
use coffer_core::shard::{MAX_FINDINGS, ShardError, ShardKey, ShardStore};
use futures::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::timeout;

/// What came of the damaged copies.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Copies that were written anew.
    pub copies: u64,
    /// Records of which no copy could be read: only a snapshot can take their place.
    pub unreadable: BTreeSet<Record>,
}

/// Asks all nodes which copies they have found damaged, and writes those anew. What fails is met
/// again the next time: nodes keep their findings.
pub async fn mend(view: &View, envelope: &Envelope) -> Mended {
    let mut asked = Vec::new();
    for (node, door) in &view.doors {
        asked.push(damaged(*node, door.store.clone()));
    }
    let damaged: Vec<(NodeId, ShardKey)> = join_all(asked).await.into_iter().flatten().collect();
    let mut mended = Mended::default();
    if damaged.is_empty() {
        return mended;
    }
    let listing = view.list().await;
    for (node, key) in damaged {
        let Some((record, part)) = Record::of(&key) else { continue };
        let authentic = |sealed: &[u8]| {
            // What opens is what the journal's writer has sealed.
            coffer_core::journal::part::is_last(envelope, record, part, sealed)?;
            Ok::<_, coffer_core::journal::PartError>(bytes::Bytes::copy_from_slice(sealed))
        };
        match listing.any_copy(record, part, authentic).await {
            Ok(sealed) => match listing.rewrite(node, key, sealed).await {
                Ok(rewritten) => mended.copies += u64::from(rewritten),
                Err(error) => tracing::debug!(%record, %node, %error, "a copy stays damaged"),
            },
            Err(error) => {
                tracing::warn!(%record, part, error, "no copy of a record of the journal is sound");
                mended.unreadable.insert(record);
            }
        }
    }
    mended
}

/// The copies that a node has found damaged; those that it tells before it fails.
async fn damaged(node: NodeId, store: Arc<dyn ShardStore>) -> Vec<(NodeId, ShardKey)> {
    let limit = u32::try_from(MAX_FINDINGS).unwrap_or(u32::MAX);
    let (mut damaged, mut after) = (Vec::new(), None);
    loop {
        let page = timeout(ANSWER, store.findings(after, limit)).await;
        let page = page.unwrap_or(Err(ShardError::Timeout)).unwrap_or_default();
        let keys = page.iter().map(|finding| finding.key);
        damaged.extend(keys.filter(|key| Record::of(key).is_some()).map(|key| (node, key)));
        match page.last() {
            Some(last) if page.len() == MAX_FINDINGS => after = Some(last.id),
            _ => return damaged,
        }
    }
}

impl Listing {
    /// Writes a copy anew, under its name, where it was listed. False: it was not.
    async fn rewrite(
        &self,
        node: NodeId,
        key: ShardKey,
        sealed: bytes::Bytes,
    ) -> Result<bool, ShardError> {
        let Some((store, info)) = self.copy_on(node, &key) else { return Ok(false) };
        if sealed.len() != info.len as usize {
            return Ok(false);
        }
        let outcome = timeout(ANSWER, store.put(key, info, sealed)).await;
        outcome.unwrap_or(Err(ShardError::Timeout)).map(|()| true)
    }
}

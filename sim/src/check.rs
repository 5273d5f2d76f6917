//! What must hold, looked up in the world itself: on the disks, in the catalogs.

use crate::actors::client::BUCKETS;
use crate::trace::Invariant;
use crate::world::World;
use coffer_core::catalog::CatalogError;
use coffer_core::catalog::records::BlobOwner;
use coffer_core::ids::{BlobId, BucketName, NodeId};
use coffer_core::repair::{Situation, Standing};
use coffer_core::shard::ShardKey;

/// Each chunk of an acknowledged object has k sound shards where its manifest says.
pub fn durable(world: &mut World) {
    let mut broken = None;
    for (blob, part) in &world.oracle.live {
        for chunk in part.chunks() {
            let sound = |(node, key): &(NodeId, ShardKey)| {
                world.nodes.get(node).is_some_and(|n| n.has_sound(&world.name(*key)))
            };
            let (left, code) = (chunk.placed().filter(sound).count(), chunk.chunk.shape.code());
            if left < code.k() {
                broken = Some((
                    *blob,
                    format!("{left} sound shards are left of a chunk with code {code}"),
                ));
            }
        }
    }
    if let Some((blob, detail)) = broken {
        world.violate(Invariant::Durable, Some(blob), detail);
    }
}

/// Why the cluster is not whole and clean; `None` when it is.
pub fn unsettled(world: &World) -> Option<(Option<BlobId>, String)> {
    catalogs(world).or_else(|| shards(world)).or_else(|| leftovers(world)).or_else(|| match tables(
        world,
    ) {
        Ok(found) => found.map(|what| (None, what)),
        Err(error) => Some((None, error.to_string())),
    })
}

fn catalogs(world: &World) -> Option<(Option<BlobId>, String)> {
    let length = world.log.len();
    let behind = world.gateways.iter().find(|g| g.applied != length)?;
    Some((None, format!("a gateway has applied {} of {length} entries", behind.applied)))
}

fn shards(world: &World) -> Option<(Option<BlobId>, String)> {
    let map = world.log.truth.cluster().ok()??;
    let standing = |id| {
        let up = world.nodes.get(&id).is_some_and(|n| n.up && !n.lost);
        if up { Standing::Up } else { Standing::Away }
    };
    let has =
        |id: NodeId, key| world.nodes.get(&id).is_some_and(|n| n.has_durable(&world.name(key)));
    let is_bad = |id, key| !has(id, key);
    let situation = Situation { map: &map, standing: &standing, is_bad: &is_bad };
    for (blob, part) in &world.oracle.live {
        for chunk in part.chunks() {
            let sound = chunk.placed().filter(|(node, key)| has(*node, *key)).count();
            if sound < chunk.shards() {
                return Some((
                    Some(*blob),
                    format!("{sound} of {} shards are sound", chunk.shards()),
                ));
            }
            if let Some(plan) = situation.plan(chunk) {
                return Some((Some(*blob), format!("shards are not where they belong: {plan:?}")));
            }
        }
    }
    None
}

fn leftovers(world: &World) -> Option<(Option<BlobId>, String)> {
    let map = world.log.truth.cluster().ok()??;
    for node in world.nodes.values().filter(|n| map.is_member(n.id)) {
        for key in node.disk.keys() {
            if !world.oracle.needs(node.id, *key, |k| world.name(k)) {
                return Some((
                    Some(key.blob),
                    format!("{} holds {key}, which nobody needs", node.name),
                ));
            }
        }
    }
    None
}

fn tables(world: &World) -> Result<Option<String>, CatalogError> {
    let truth = &world.log.truth;
    let garbage = truth.garbage(None, u64::MAX, usize::MAX)?.len();
    if garbage > 0 {
        return Ok(Some(format!("{garbage} rows of garbage are left")));
    }
    if let Some(blob) = truth.owed(None, 1)?.first() {
        return Ok(Some(format!("shards of {blob} are owed")));
    }
    let mut versions = Vec::new();
    for (_, owner) in truth.blobs(None, usize::MAX)? {
        if let BlobOwner::Version { version, .. } = owner {
            versions.push(Some(version));
        }
    }
    let mut wanted: Vec<_> =
        world.oracle.versions.values().flatten().filter(|v| v.is_some()).copied().collect();
    versions.sort_unstable();
    wanted.sort_unstable();
    if versions != wanted {
        return Ok(Some(format!(
            "{} versions own blobs, but there are {}",
            versions.len(),
            wanted.len()
        )));
    }
    for bucket in BUCKETS.iter().filter_map(|b| BucketName::new(*b).ok()) {
        let (usage, (versions, bytes)) = (truth.usage(&bucket)?, world.oracle.usage(&bucket));
        if (usage.versions, usage.bytes) != (versions, bytes) {
            return Ok(Some(format!(
                "{bucket} counts {usage:?}, but has {versions} versions and {bytes} bytes"
            )));
        }
    }
    Ok(None)
}

//! The storage nodes: how they are, and which of them the cluster has.

use super::{administrator, answer, read_json};
use crate::auth::Identity;
use crate::catalog::CatalogHandle;
use crate::engine::repair::Repairer;
use crate::s3::errors::{s3, to_s3};
use coffer_core::catalog::records::BlobOwner;
use coffer_core::catalog::{Command, Scope};
use coffer_core::ids::NodeId;
use coffer_core::placement::{ClusterMap, NodeEntry, NodeState};
use coffer_core::repair::Standing;
use http::Method;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};

/// Blobs that are looked at at a time.
const PAGE: usize = 256;

/// A node that is to be added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    /// 32 hexadecimal digits.
    id: String,
    name: String,
    /// `host:port`.
    address: String,
    #[serde(default)]
    domain: String,
    #[serde(default = "one")]
    weight: f64,
}

fn one() -> f64 {
    1.0
}

/// What is to be changed of a node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    domain: Option<String>,
    weight: Option<f64>,
    /// Whether it is to give its shards to other nodes.
    drain: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Nodes {
    /// Of the cluster map.
    version: u64,
    nodes: Vec<Node>,
}

/// A node, and how it is as far as this gateway knows.
#[derive(Debug, Serialize)]
struct Node {
    id: String,
    name: String,
    address: String,
    domain: String,
    weight: f64,
    state: NodeState,
    standing: Standing,
    /// What it last said of itself; `None` if it has said nothing yet.
    shards: Option<u64>,
    live_bytes: Option<u64>,
    free_bytes: Option<u64>,
    total_bytes: Option<u64>,
    /// Shards that it has found damaged.
    findings: Option<u64>,
}

/// `/.coffer/v1/nodes` lists (`GET`) and adds (`POST`). `/.coffer/v1/nodes/NAME` changes (`PUT`),
/// replaces by another (`POST`), and removes (`DELETE`; with `?force` even while objects have shards
/// there). `NAME` is a node's name or its id. For the cluster's administrators.
pub(super) async fn serve(
    catalog: &CatalogHandle,
    repairer: &Repairer,
    caller: &Identity,
    name: Option<&str>,
    request: S3Request<Body>,
) -> S3Result<S3Response<Body>> {
    administrator(caller)?;
    let read = catalog.read(Scope::Cluster, coffer_core::catalog::Machine::cluster);
    let missing = || s3(S3ErrorCode::ServiceUnavailable, "The cluster is being set up.");
    let mut map = read.await.map_err(to_s3)?.ok_or_else(missing)?;
    let force = request.uri.query().is_some_and(|q| q.split('&').any(|p| p == "force"));
    match (request.method.clone(), name) {
        (Method::GET, None) => return answer(&describe(&map, repairer)),
        (Method::POST, None) => map.nodes.push(entry(read_json(request.input).await?)?),
        (Method::PUT, Some(name)) => {
            let change: Change = read_json(request.input).await?;
            let node = find(&mut map, name)?;
            if let Some(domain) = change.domain {
                node.domain = domain;
            }
            node.weight = change.weight.unwrap_or(node.weight);
            node.state = match change.drain {
                Some(true) => NodeState::Draining,
                Some(false) => NodeState::Active,
                None => node.state,
            };
        }
        (Method::POST, Some(name)) => {
            let new = entry(read_json(request.input).await?)?;
            find(&mut map, name)?.state = NodeState::Gone;
            map.nodes.push(new);
        }
        (Method::DELETE, Some(name)) => {
            let node = find(&mut map, name)?;
            if !force {
                refuse_if_held(catalog, node).await?;
            }
            node.state = NodeState::Gone;
        }
        _ => {
            let message = "Nodes are listed by GET, added and replaced by POST, changed by PUT and removed by DELETE.";
            return Err(s3(S3ErrorCode::MethodNotAllowed, message));
        }
    }
    let expected = map.version;
    map.version += 1;
    let by = caller.name();
    tracing::info!(version = map.version, node = name, method = %request.method, by, "cluster map changed");
    let command = Command::ChangeCluster { expected, map: map.clone() };
    catalog.submit(command).await.map_err(to_s3)?;
    answer(&describe(&map, repairer))
}

fn entry(new: New) -> S3Result<NodeEntry> {
    let New { id, name, address, domain, weight } = new;
    let id: NodeId = id.parse().map_err(|e: coffer_core::ids::NameError| {
        s3(S3ErrorCode::InvalidArgument, format!("id: {e}."))
    })?;
    Ok(NodeEntry { id, name, address, domain, weight, state: NodeState::Active })
}

fn find<'a>(map: &'a mut ClusterMap, name: &str) -> S3Result<&'a mut NodeEntry> {
    let node = map.nodes.iter_mut().find(|n| n.name == name || n.id.to_string() == name);
    node.ok_or_else(|| s3(S3ErrorCode::InvalidArgument, format!("There is no node {name}.")))
}

fn describe(map: &ClusterMap, repairer: &Repairer) -> Nodes {
    let nodes = map.nodes.iter().map(|entry| {
        let stat = repairer.node_stat(entry.id);
        let stat = stat.as_ref();
        Node {
            id: entry.id.to_string(),
            name: entry.name.clone(),
            address: entry.address.clone(),
            domain: entry.domain.clone(),
            weight: entry.weight,
            state: entry.state,
            standing: repairer.standing(entry.id),
            shards: stat.map(|s| s.shards),
            live_bytes: stat.map(|s| s.live_bytes),
            free_bytes: stat.map(|s| s.free_bytes),
            total_bytes: stat.map(|s| s.total_bytes),
            findings: stat.map(|s| s.findings),
        }
    });
    Nodes { version: map.version, nodes: nodes.collect() }
}

fn describe_owner(owner: &BlobOwner) -> String {
    match owner {
        BlobOwner::Version { bucket, key, .. } => format!("{}/{}", bucket.as_str(), key.as_str()),
        BlobOwner::Part { bucket, key, .. } => {
            format!("an upload to {}/{}", bucket.as_str(), key.as_str())
        }
        BlobOwner::Garbage(_) | BlobOwner::Condemned { .. } => "nobody".to_owned(),
    }
}

/// Refuses to give up a node on which an object or a part of an upload still has a shard, or which
/// may be given one.
async fn refuse_if_held(catalog: &CatalogHandle, node: &NodeEntry) -> S3Result<()> {
    let refuse = |why: String| Err(s3(S3ErrorCode::OperationAborted, why));
    let name = &node.name;
    if node.state == NodeState::Active {
        return refuse(format!(
            "Node {name} is in use. Drain it first, or force its removal: what it holds is then rebuilt from other nodes."
        ));
    }
    let id = node.id;
    let mut after = None;
    loop {
        let query = |c: &crate::catalog::handle::Catalog| {
            let page = c.blobs(after, PAGE)?;
            for (blob, owner) in page.iter().filter(|(_, owner)| owner.is_live()) {
                let part = c.blob_part(*blob)?;
                let held = part.is_some_and(|(_, p)| {
                    p.chunks().any(|chunk| chunk.placed().any(|(node, _)| node == id))
                });
                if held {
                    return Ok(Err(owner.clone()));
                }
            }
            Ok(Ok(page.last().map(|(blob, _)| *blob)))
        };
        match catalog.read(Scope::Hidden, query).await.map_err(to_s3)? {
            Err(owner) => {
                return refuse(format!(
                    "Node {name} still holds shards, of {} for instance. Wait until it is drained, or force its removal.",
                    describe_owner(&owner)
                ));
            }
            Ok(None) => return Ok(()),
            Ok(last) => after = last,
        }
        tokio::task::yield_now().await;
    }
}

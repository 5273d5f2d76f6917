//! The shard service: a node's engine over the network ([`crate::rpc`]).
//!
//! Messages are those of [`coffer_core::wire`]. A node's certificate names it by its id. Nodes'
//! certificates are not good for clients, so that one node has no say over another.
//!
//! * [`server`]: the node's side
//! * [`client`]: the gateway's side

pub mod client;
pub mod server;

pub use client::{NodeClient, RemoteNode};
pub use server::serve;

use coffer_core::ids::NodeId;

/// The name in a node's certificate.
pub fn node_name(node: NodeId) -> String {
    format!("node-{node}")
}

//! `admin node ls`, `add`, `set`, `drain`, `undrain`, `replace`, `remove`.

use super::table;
use crate::args::{NewNodeArgs, Node};
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::Error;
use coffer_client::admin::{NewNode, NodeChange, NodeInfo};
use serde_json::json;

pub(crate) async fn run(session: &Session<'_>, command: Node) -> Result<(), Failure> {
    let client = &session.client;
    let (target, did, outcome) = match command {
        Node::Ls => return list(session).await,
        Node::Add { node } => {
            let node = new(node);
            let outcome = client.add_node(&node).await;
            (node.name, "added", outcome)
        }
        Node::Set { name, domain, weight } => {
            let change = NodeChange { domain, weight, drain: None };
            let outcome = client.change_node(&name, &change).await;
            (name, "changed", outcome)
        }
        Node::Drain { name } => {
            let change = NodeChange { drain: Some(true), ..NodeChange::default() };
            let outcome = client.change_node(&name, &change).await;
            (name, "draining", outcome)
        }
        Node::Undrain { name } => {
            let change = NodeChange { drain: Some(false), ..NodeChange::default() };
            let outcome = client.change_node(&name, &change).await;
            (name, "active", outcome)
        }
        Node::Replace { name, node } => {
            let outcome = client.replace_node(&name, &new(node)).await;
            (name, "replaced", outcome)
        }
        Node::Remove { name, force } => {
            let outcome = client.remove_node(&name, force).await;
            (name, "removed", outcome)
        }
    };
    outcome.map_err(Failure::at(format!("node {target}")))?;
    let json = || json!({"op": "node", "node": target, "did": did});
    session.output.done(format_args!("{did}: node {target}"), json)
}

fn new(args: NewNodeArgs) -> NewNode {
    let NewNodeArgs { id, node_name: name, address, domain, weight } = args;
    NewNode { id, name, address, domain, weight }
}

async fn list(session: &Session<'_>) -> Result<(), Failure> {
    let place = session.client.profile().endpoint.to_string();
    let nodes = session.client.nodes().await.map_err(Failure::at(place))?;
    if session.output.json {
        for node in &nodes {
            let json = serde_json::to_value(node).map_err(|e| Error::Request(e.to_string()))?;
            session.output.result("", || json)?;
        }
        return Ok(());
    }
    let head = [
        "NAME", "STATE", "IS", "WEIGHT", "DOMAIN", "SHARDS", "BYTES", "FREE", "DAMAGED", "ADDRESS",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(nodes.iter().map(row));
    session.output.result(table(&rows), || json!(null))
}

fn row(node: &NodeInfo) -> [String; 10] {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    [
        node.name.clone(),
        node.state.clone(),
        node.standing.clone(),
        node.weight.to_string(),
        if node.domain.is_empty() { "-".to_owned() } else { node.domain.clone() },
        number(node.shards),
        number(node.live_bytes),
        number(node.free_bytes),
        number(node.findings),
        node.address.clone(),
    ]
}

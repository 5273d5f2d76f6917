//! The storage nodes: how they are, and adding, changing, replacing and removing them.

use super::call;
use crate::client::Client;
use crate::error::Error;
use http::Method;
use serde::{Deserialize, Serialize};

/// A storage node, as the gateway that was asked knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// 32 hexadecimal digits, for life.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where its shard service listens: `host:port`.
    pub address: String,
    /// Its failure domain, a path like `zone/rack/host`. Empty: it is alone in its own.
    pub domain: String,
    /// Its share of the data, relative to the others.
    pub weight: f64,
    /// What is wanted of it: `active`, `draining`, `gone`.
    pub state: String,
    /// How it is: `up`, `slow`, `full`, `away`, `lost`.
    pub standing: String,
    /// Shards that it holds, as it last said.
    pub shards: Option<u64>,
    /// Bytes in them.
    pub live_bytes: Option<u64>,
    /// Bytes that it can still take.
    pub free_bytes: Option<u64>,
    /// Bytes of its file system.
    pub total_bytes: Option<u64>,
    /// Shards that it has found damaged, not repaired yet.
    pub findings: Option<u64>,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<NodeInfo>,
}

/// A storage node that is to be added. It runs already.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewNode {
    /// 32 hexadecimal digits, as its `node.toml` says.
    pub id: String,
    /// What people are to call it.
    pub name: String,
    /// Where its shard service listens: `host:port`.
    pub address: String,
    /// Its failure domain; may be empty.
    pub domain: String,
    /// Its share of the data, relative to the others.
    pub weight: f64,
}

/// What is to be changed of a storage node.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NodeChange {
    /// Its failure domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Its share of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Whether it is to give its shards to other nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<bool>,
}

impl Client {
    /// The storage nodes.
    ///
    /// # Errors
    /// Of kind [`crate::ErrorKind::AccessDenied`], or as for any request.
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, Error> {
        let answer = call(Method::GET, "nodes").send(self).await?;
        let list: Nodes =
            serde_json::from_slice(&answer.body).map_err(|error| answer.nonsense(error))?;
        Ok(list.nodes)
    }

    /// Adds a storage node; shards that it wins are moved to it.
    ///
    /// # Errors
    /// As [`Client::nodes`].
    pub async fn add_node(&self, node: &NewNode) -> Result<(), Error> {
        self.send_json(Method::POST, "nodes", node).await
    }

    /// Changes the storage node of this name or id.
    ///
    /// # Errors
    /// As [`Client::nodes`].
    pub async fn change_node(&self, name: &str, change: &NodeChange) -> Result<(), Error> {
        self.send_json(Method::PUT, &format!("nodes/{name}"), change).await
    }

    /// Gives a storage node up and adds another one in the same step.
    ///
    /// # Errors
    /// As [`Client::nodes`].
    pub async fn replace_node(&self, name: &str, by: &NewNode) -> Result<(), Error> {
        self.send_json(Method::POST, &format!("nodes/{name}"), by).await
    }

    /// Gives a storage node up. Unless it is forced, the node must have been drained.
    ///
    /// # Errors
    /// As [`Client::nodes`].
    pub async fn remove_node(&self, name: &str, force: bool) -> Result<(), Error> {
        let request = call(Method::DELETE, &format!("nodes/{name}"));
        let request = if force { request.query("force", "true") } else { request };
        request.send(self).await.map(|_| ())
    }

    /// How far repair is, in JSON. The gateway that leads repairs; the others ask it.
    ///
    /// # Errors
    /// As [`Client::nodes`].
    pub async fn repair_status(&self) -> Result<serde_json::Value, Error> {
        let answer = call(Method::GET, "repair").send(self).await?;
        serde_json::from_slice(&answer.body).map_err(|error| answer.nonsense(error))
    }

    async fn send_json(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(), Error> {
        let body = serde_json::to_vec(body).map_err(|e| Error::Request(e.to_string()))?;
        let request = call(method, path).header("content-type", "application/json")?;
        request.body(body).send(self).await.map(|_| ())
    }
}

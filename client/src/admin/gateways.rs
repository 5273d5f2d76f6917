//! The cluster's gateways: who they are, and adding and removing them.

use super::call;
use crate::client::Client;
use crate::error::Error;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a gateway does for the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayRole {
    /// It leads: all changes go through it.
    Leader,
    /// It votes, and may come to lead.
    Voter,
    /// It is sent the catalog and does not vote yet.
    Learner,
}

impl fmt::Display for GatewayRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Learner => "learner",
        })
    }
}

/// A gateway and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayInfo {
    /// Its number, for life.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// Where other gateways reach it: `host:port` (UDP).
    pub peer: String,
    /// Where it serves S3: a URL.
    pub endpoint: String,
    /// What it does.
    pub role: GatewayRole,
    /// Whether it answers the gateway that was asked.
    pub reachable: bool,
    /// The term that it is in.
    pub term: Option<u64>,
    /// The last entry of the log that it has applied.
    pub applied: Option<u64>,
    /// How many entries of the log it lacks.
    pub lag: Option<u64>,
}

#[derive(Deserialize)]
struct Gateways {
    gateways: Vec<GatewayInfo>,
}

/// A gateway to be added. It runs already, and waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewGateway {
    /// Its number, which no gateway of the cluster has or had.
    #[serde(skip)]
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// Where other gateways reach it: `host:port` (UDP).
    pub peer: String,
    /// Where it serves S3: a URL.
    pub endpoint: String,
}

/// How far the addition of a gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    /// It votes.
    Done,
    /// It is being sent the catalog, and will vote when it has it.
    UnderWay,
}

impl Client {
    /// The cluster's gateways.
    ///
    /// # Errors
    /// Of kind [`crate::ErrorKind::AccessDenied`], or as for any request.
    pub async fn gateways(&self) -> Result<Vec<GatewayInfo>, Error> {
        let answer = call(Method::GET, "gateways").send(self).await?;
        let list: Gateways =
            serde_json::from_slice(&answer.body).map_err(|error| answer.nonsense(error))?;
        Ok(list.gateways)
    }

    /// Adds a gateway. Adding one that is there changes where it is said to be.
    ///
    /// # Errors
    /// As [`Client::gateways`]; of kind [`crate::ErrorKind::Unavailable`] when it can't be reached.
    pub async fn add_gateway(&self, gateway: &NewGateway) -> Result<Addition, Error> {
        let body = serde_json::to_vec(gateway).map_err(|e| Error::Request(e.to_string()))?;
        let answer = call(Method::PUT, &format!("gateways/{}", gateway.id))
            .header("content-type", "application/json")?
            .body(body)
            .send(self)
            .await?;
        Ok(if answer.status == StatusCode::ACCEPTED { Addition::UnderWay } else { Addition::Done })
    }

    /// Removes a gateway, which then serves no more.
    ///
    /// # Errors
    /// As [`Client::gateways`].
    pub async fn remove_gateway(&self, id: u64) -> Result<(), Error> {
        call(Method::DELETE, &format!("gateways/{id}")).send(self).await.map(|_| ())
    }
}

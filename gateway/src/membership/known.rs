//! `members.json`: the gateways of the cluster, as this one last knew them.
//!
//! It stands beside the catalog, not in it: that this gateway was a member, and whom it can ask, must
//! be known when its catalog is gone.

use crate::catalog::raft::types::{GatewayId, Peer};
use crate::setup::files::{self, FileError};
use crate::setup::gateways::GatewayEntry;
use crate::setup::init::GatewayDir;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The gateways that are known, in memory as in the file.
#[derive(Debug)]
pub(super) struct Known {
    path: PathBuf,
    members: BTreeMap<GatewayId, Peer>,
}

impl Known {
    /// Reads the file; nobody is known if there is none.
    pub(super) fn load(paths: &GatewayDir) -> Result<Self, FileError> {
        let path = paths.file("members.json");
        let mut members = BTreeMap::new();
        if path.exists() {
            let entries: Vec<GatewayEntry> = serde_json::from_str(&files::read(&path)?)
                .map_err(|e| FileError::invalid(&path, e.to_string()))?;
            members = entries.iter().map(GatewayEntry::member).collect();
        }
        Ok(Self { path, members })
    }

    pub(super) fn contains(&self, id: GatewayId) -> bool {
        self.members.contains_key(&id)
    }

    /// Where a gateway can be reached.
    pub(super) fn address_of(&self, id: GatewayId) -> Option<Peer> {
        self.members.get(&id).filter(|peer| !peer.address.is_empty()).cloned()
    }

    /// All but `id`.
    pub(super) fn others(&self, id: GatewayId) -> Vec<(GatewayId, Peer)> {
        let others = self.members.iter().filter(|(other, _)| **other != id);
        others.map(|(id, peer)| (*id, peer.clone())).collect()
    }

    /// Keeps what is known now.
    pub(super) fn save(&mut self, members: BTreeMap<GatewayId, Peer>) -> Result<(), FileError> {
        if members == self.members {
            return Ok(());
        }
        let entries: Vec<GatewayEntry> =
            members.iter().map(|(id, peer)| GatewayEntry::new(*id, peer)).collect();
        let text = serde_json::to_string_pretty(&entries)
            .map_err(|e| FileError::invalid(&self.path, e.to_string()))?;
        files::write(&self.path, format!("{text}\n").as_bytes())?;
        self.members = members;
        Ok(())
    }
}

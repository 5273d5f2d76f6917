//! The way back for a gateway that has lost its catalog.
//!
//! Such a gateway has forgotten what it voted for and which entries it has said to hold. If it voted
//! and counted again as if nothing had happened, the others could choose a leader that lacks entries
//! which clients were told of. So it answers nothing of the raft until it has been removed from the
//! cluster, and is then added like a new one: the leader sends it the catalog before it votes again.

use super::known::Known;
use crate::catalog::raft::members::MemberChange;
use crate::catalog::raft::network::{PeerLink, PeerRequest, PeerResponse, PeerService};
use crate::catalog::raft::service::RaftService;
use crate::catalog::raft::types::{GatewayId, Peer};
use crate::setup::files::{self, FileError};
use crate::setup::init::GatewayDir;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The pause before the others are asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a change of members may take, with all that the catalog holds sent.
const CHANGE: Duration = Duration::from_secs(600);

/// A gateway's catalog is lost. A file says so until the gateway is back, however often it is
/// restarted on the way.
#[derive(Debug)]
pub(super) struct Lost {
    mark: PathBuf,
}

impl Lost {
    /// Whether the catalog is lost. What there is of one that had only begun to come back goes.
    pub(super) fn find(paths: &GatewayDir, was_member: bool) -> Result<Option<Self>, FileError> {
        let (mark, catalog) = (paths.file("reseed"), paths.catalog());
        if mark.exists() {
            match std::fs::remove_dir_all(&catalog) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::io(&catalog)(error));
                }
                _ => return Ok(Some(Self { mark })),
            }
        }
        if !was_member || !is_empty(&catalog)? {
            return Ok(None);
        }
        let why = "This gateway has lost its catalog and is being sent another.\n";
        files::write(&mark, why.as_bytes())?;
        Ok(Some(Self { mark }))
    }

    fn forget(self) {
        if let Err(error) = std::fs::remove_file(&self.mark) {
            tracing::error!(%error, file = %self.mark.display(), "remove this file before the next start");
        }
    }
}

fn is_empty(dir: &Path) -> Result<bool, FileError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(FileError::io(dir)(error)),
    }
}

/// Stands before a gateway's answers to the others.
pub(super) struct Gate {
    service: RaftService,
    open: AtomicBool,
}

impl Gate {
    pub(super) fn new(service: RaftService, open: bool) -> Self {
        Self { service, open: AtomicBool::new(open) }
    }
}

#[async_trait]
impl PeerService for Gate {
    async fn handle(&self, request: PeerRequest) -> PeerResponse {
        if self.open.load(Ordering::Acquire) {
            self.service.handle(request).await
        } else {
            PeerResponse::Refused("this gateway has lost its catalog and is not back yet".into())
        }
    }
}

/// A gateway on its way back.
pub(super) struct Rejoin {
    pub(super) lost: Lost,
    pub(super) link: Arc<dyn PeerLink>,
    pub(super) gate: Arc<Gate>,
    pub(super) id: GatewayId,
    pub(super) own: Peer,
}

impl Rejoin {
    /// Tries until this gateway is back.
    pub(super) async fn run(self, known: &mut Known) {
        tracing::warn!("the catalog of this gateway is lost; asking the others for theirs");
        let mut last = String::new();
        while let Err(why) = self.attempt(known).await {
            if why != last {
                tracing::warn!(why, "not back yet");
                last = why;
            }
            tokio::time::sleep(PAUSE).await;
        }
        tracing::info!("the catalog of this gateway is back");
        self.lost.forget();
    }

    async fn attempt(&self, known: &mut Known) -> Result<(), String> {
        let (leader, members) = self.leader(known).await?;
        if !self.gate.open.load(Ordering::Acquire) {
            if members.contains_key(&self.id) {
                self.change(&leader, MemberChange::Remove(self.id)).await?;
            }
            self.gate.open.store(true, Ordering::Release);
        }
        known.save(with(members, self.id, &self.own)).map_err(|e| e.to_string())?;
        self.change(&leader, MemberChange::Add(self.id, self.own.clone())).await
    }

    /// The leader, and all members.
    async fn leader(&self, known: &Known) -> Result<Found, String> {
        let mut why = "no other gateway is known; see members.json".to_owned();
        for (id, peer) in known.others(self.id) {
            match self.link.call(id, &peer, PeerRequest::ListMembers, ANSWER).await {
                Ok(PeerResponse::Members(members)) => {
                    let members = members.into_iter().map(|m| (m.id, m.peer)).collect();
                    return Ok(((id, peer), members));
                }
                Ok(_) => why = "none of the others leads; a majority of them must be up".into(),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    async fn change(&self, leader: &(GatewayId, Peer), wanted: MemberChange) -> Result<(), String> {
        let (id, peer) = leader;
        match self.link.call(*id, peer, PeerRequest::Members(wanted), CHANGE).await {
            Ok(PeerResponse::Changed) => Ok(()),
            Ok(PeerResponse::Refused(why) | PeerResponse::Unknown(why)) => Err(why),
            Ok(_) => Err(format!("gateway {} does not lead any more", peer.name)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The leader, and who all the members are.
type Found = ((GatewayId, Peer), BTreeMap<GatewayId, Peer>);

/// The members with one more.
fn with(
    mut members: BTreeMap<GatewayId, Peer>,
    id: GatewayId,
    peer: &Peer,
) -> BTreeMap<GatewayId, Peer> {
    members.insert(id, peer.clone());
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dir: &Path, was_member: bool) -> Option<Lost> {
        Lost::find(&GatewayDir::new(dir), was_member).unwrap()
    }

    #[test]
    fn a_member_without_a_catalog_has_lost_it_until_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = dir.path().join("catalog");
        assert!(found(dir.path(), false).is_none(), "it never had one");
        std::fs::create_dir(&catalog).unwrap();
        std::fs::write(catalog.join("db"), "rows").unwrap();
        assert!(found(dir.path(), true).is_none(), "it has one");
        std::fs::remove_file(catalog.join("db")).unwrap();
        assert!(found(dir.path(), true).is_some(), "an empty directory is none");
        // Killed on the way back: what had come is not to be relied on.
        std::fs::write(catalog.join("db"), "some rows").unwrap();
        let lost = found(dir.path(), true).unwrap();
        assert!(!catalog.exists());
        std::fs::create_dir(&catalog).unwrap();
        std::fs::write(catalog.join("db"), "all rows").unwrap();
        lost.forget();
        assert!(found(dir.path(), true).is_none());
        assert!(catalog.join("db").exists());
    }
}

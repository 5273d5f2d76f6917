//! Reads of what is current, on any gateway.
//!
//! A read asks the leader up to where the log is committed, and waits until that much is applied
//! here (the read index of Ongaro's dissertation, "Consensus: bridging theory and practice", 2014,
//! section 6.4). Reads that come while a round is on its way share the next one. A gateway that is
//! the only voter knows without asking.

use super::leader::{Leader, Place};
use super::network::{PeerRequest, PeerResponse};
use super::types::{LogId, Metrics, Types};
use coffer_core::catalog::CatalogError;
use openraft::error::{CheckIsLeaderError, RaftError};
use openraft::{LogIdOptionExt, Raft, ServerState};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Reads that may wait for a round; beyond it, callers wait.
const QUEUE: usize = 4096;
/// How long the leader's answer is waited for before it is asked again.
const ROUND: Duration = Duration::from_secs(1);
/// The pause before it is asked again.
const PAUSE: Duration = Duration::from_millis(20);

type Index = Result<Option<LogId>, CatalogError>;

/// Tells when a read may begin; clones share it.
#[derive(Clone)]
pub struct Reads {
    metrics: watch::Receiver<Metrics>,
    progress: watch::Receiver<Option<LogId>>,
    rounds: mpsc::Sender<oneshot::Sender<Index>>,
    patience: Duration,
}

impl Reads {
    /// Reads of the state of `raft` that `progress` follows. They fail after `patience`.
    pub fn new(
        raft: Raft<Types>,
        leader: Leader,
        progress: watch::Receiver<Option<LogId>>,
        patience: Duration,
    ) -> Self {
        let (rounds, queue) = mpsc::channel(QUEUE);
        let metrics = raft.metrics();
        tokio::spawn(serve(queue, raft, leader, patience));
        Self { metrics, progress, rounds, patience }
    }

    /// Waits until what has been committed so far is applied here.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when there is no leader, or this gateway is too far behind;
    /// [`CatalogError::Stopped`] when its catalog has stopped.
    pub async fn current(&self) -> Result<(), CatalogError> {
        if alone(&self.metrics.borrow())? {
            return Ok(());
        }
        let deadline = Instant::now() + self.patience;
        let (reply, answer) = oneshot::channel();
        let stopped = || CatalogError::Stopped("the gateway is stopping".into());
        self.rounds.send(reply).await.map_err(|_| stopped())?;
        let index = answer.await.map_err(|_| stopped())??;
        let mut progress = self.progress.clone();
        let behind = "this gateway has not caught up with the others yet";
        timeout_at(deadline, progress.wait_for(|applied| applied.index() >= index.index()))
            .await
            .map_err(|_| CatalogError::Unavailable(behind.into()))?
            .map_err(|_| stopped())?;
        Ok(())
    }
}

/// Whether this gateway leads and has nobody to ask: it is the only voter, and has applied an entry
/// of its own term, and so all that was committed in earlier ones.
fn alone(metrics: &Metrics) -> Result<bool, CatalogError> {
    if let Err(fatal) = &metrics.running_state {
        return Err(CatalogError::Stopped(fatal.to_string()));
    }
    let members = metrics.membership_config.membership();
    Ok(metrics.state == ServerState::Leader
        && members.get_joint_config().iter().all(|c| c.len() == 1 && c.contains(&metrics.id))
        && metrics.last_applied.is_some_and(|id| id.leader_id.term == metrics.current_term))
}

async fn serve(
    mut queue: mpsc::Receiver<oneshot::Sender<Index>>,
    raft: Raft<Types>,
    leader: Leader,
    patience: Duration,
) {
    while let Some(first) = queue.recv().await {
        let mut waiting = vec![first];
        while let Ok(next) = queue.try_recv() {
            waiting.push(next);
        }
        let index = round(&raft, &leader, Instant::now() + patience).await;
        for reply in waiting {
            let _ = reply.send(index.clone());
        }
    }
}

/// Asks the leader, whoever that is, until it answers.
async fn round(raft: &Raft<Types>, leader: &Leader, deadline: Instant) -> Index {
    loop {
        let asked = match leader.find(deadline).await? {
            Place::Here => here(raft).await?,
            Place::There(id, peer) => {
                match leader.link().call(id, &peer, PeerRequest::ReadIndex, ROUND).await {
                    Ok(PeerResponse::ReadIndex(index)) => Some(index),
                    _ => None,
                }
            }
        };
        if let Some(index) = asked {
            return Ok(index);
        }
        if Instant::now() + PAUSE > deadline {
            let why = "the gateway that leads it does not answer";
            return Err(CatalogError::Unavailable(why.into()));
        }
        sleep(PAUSE).await;
    }
}

/// Asks this gateway's member whether it still leads; `None` if it can't tell.
async fn here(raft: &Raft<Types>) -> Result<Option<Option<LogId>>, CatalogError> {
    match timeout(ROUND, raft.get_read_log_id()).await {
        Ok(Ok((index, _))) => Ok(Some(index)),
        Ok(Err(RaftError::Fatal(fatal))) => Err(CatalogError::Stopped(fatal.to_string())),
        Ok(Err(RaftError::APIError(
            CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
        )))
        | Err(_) => Ok(None),
    }
}

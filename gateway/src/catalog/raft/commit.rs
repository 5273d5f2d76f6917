//! Commands gather to groups, and groups are committed.
//!
//! While a group is on its way, the next one gathers: one sync of the log serves all of it. What a
//! gateway that does not lead sends to the leader gathers twice, here and there. A group waits a moment
//! for commands that were announced ([`Expected`]).

use super::gate::Gate;
use super::network::PeerResponse;
use super::types::{Answers, Encoded, GatewayId, Group, Types};
use crate::expected::Expected;
use coffer_core::catalog::{CatalogError, Outcome};
use futures::future::BoxFuture;
use openraft::{Raft, ServerState};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// Requests that may wait; beyond it, callers wait.
const QUEUE: usize = 1024;
/// Commands, and their bytes, in one group at most.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 4 << 20;
/// How long the outcome of a group is waited for.
pub const ANSWER: Duration = Duration::from_secs(10);

/// Why there is no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undone {
    /// Nothing was done: another gateway leads, or none.
    #[error("this gateway does not lead the catalog")]
    NotLeader(Option<GatewayId>),
    /// Nothing was done.
    #[error("{0}")]
    NotSent(String),
    /// It was tried, and may have been done or may yet be.
    #[error("{0}")]
    Unknown(String),
}

impl From<Result<Answers, Undone>> for PeerResponse {
    fn from(outcome: Result<Answers, Undone>) -> Self {
        match outcome {
            Ok(answers) => Self::Proposed(answers),
            Err(Undone::NotLeader(leader)) => Self::NotLeader { leader },
            Err(Undone::NotSent(why)) => Self::Refused(why),
            Err(Undone::Unknown(why)) => Self::Unknown(why),
        }
    }
}

/// Commands of one caller.
struct Waiting {
    commands: Group,
    deadline: Instant,
    /// Whether it may be one of those that were announced here.
    expected: bool,
    reply: oneshot::Sender<Result<Answers, Undone>>,
}

/// What was committed, and where in this gateway's log it is.
#[derive(Debug)]
pub struct Committed {
    /// What the commands did.
    pub answers: Answers,
    /// The entry; `None` if another gateway has committed it.
    pub index: Option<u64>,
}

/// Where commands gather; clones share it. It ends with the last of them.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Waiting>,
}

impl Committer {
    /// Commits through this gateway's member of the raft, if that leads. Answers pass the gate.
    pub fn local(raft: Raft<Types>, gate: Gate, expected: Expected) -> Self {
        let propose = move |group| -> BoxFuture<'static, _> {
            let raft = raft.clone();
            Box::pin(async move { propose(&raft, group).await })
        };
        Self::new(propose, gate, expected)
    }

    /// Commits by `send`, one group at a time.
    pub fn new(
        send: impl Fn(Group) -> BoxFuture<'static, Result<Committed, Undone>> + Send + Sync + 'static,
        gate: Gate,
        expected: Expected,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(gather(waiting, send, gate, expected));
        Self { queue }
    }

    async fn commit_by(
        &self,
        commands: Group,
        deadline: Instant,
        expected: bool,
    ) -> Result<Answers, Undone> {
        let stopped = || Undone::NotSent("the gateway is stopping".into());
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { commands, deadline, expected, reply };
        match timeout_at(deadline, self.queue.send(waiting)).await {
            Ok(sent) => sent.map_err(|_| stopped())?,
            Err(_) => return Err(Undone::NotSent("too many commands are waiting".into())),
        }
        answer.await.unwrap_or_else(|_| Err(Undone::Unknown("the gateway is stopping".into())))
    }

    /// Commits some commands of another gateway, which are sent within [`ANSWER`] or not at all.
    ///
    /// # Errors
    /// [`Undone`].
    pub async fn commit(&self, commands: Group) -> Result<Answers, Undone> {
        self.commit_by(commands, Instant::now() + ANSWER, false).await
    }

    /// Commits one command of this gateway. It is sent by `deadline`, or not at all.
    ///
    /// # Errors
    /// [`Undone`].
    pub async fn commit_one(
        &self,
        command: Encoded,
        deadline: Instant,
    ) -> Result<Result<Outcome, CatalogError>, Undone> {
        let mut answers = self.commit_by(Group(vec![command]), deadline, true).await?;
        answers.0.pop().ok_or_else(|| Undone::Unknown("an answer is missing".into()))
    }
}

async fn gather(
    mut queue: mpsc::Receiver<Waiting>,
    send: impl Fn(Group) -> BoxFuture<'static, Result<Committed, Undone>>,
    gate: Gate,
    expected: Expected,
) {
    let mut next: Option<Waiting> = None;
    loop {
        let Some(first) = (match next.take() {
            Some(waiting) => Some(waiting),
            None => queue.recv().await,
        }) else {
            return;
        };
        // Those that were answered together by the nodes are about to be here.
        tokio::task::yield_now().await;
        let mut group = Group::default();
        let mut replies = Vec::new();
        let mut bytes = 0;
        let mut candidate = Some(first);
        while let Some(waiting) = candidate {
            if waiting.expected {
                expected.came();
            }
            if waiting.deadline <= Instant::now() {
                let late = "it waited too long for those before it";
                let _ = waiting.reply.send(Err(Undone::NotSent(late.into())));
            } else if group.0.is_empty()
                || (group.0.len() + waiting.commands.0.len() <= GROUP
                    && bytes + waiting.commands.size() <= GROUP_BYTES)
            {
                bytes += waiting.commands.size();
                replies.push((waiting.commands.0.len(), waiting.reply));
                group.0.extend(waiting.commands.0);
            } else {
                next = Some(Waiting { expected: false, ..waiting });
                break;
            }
            candidate = match (queue.try_recv(), expected.awaited()) {
                (Err(_), Some(until)) => timeout_at(until, queue.recv()).await.ok().flatten(),
                (waiting, _) => waiting.ok(),
            };
        }
        if !group.0.is_empty() {
            match send(group).await {
                Ok(Committed { answers, index: Some(index) }) if gate.holds_up(index) => {
                    // The next group need not wait.
                    let gate = gate.clone();
                    tokio::spawn(async move {
                        gate.pass(index).await;
                        share(Ok(answers), replies);
                    });
                }
                outcome => share(outcome.map(|committed| committed.answers), replies),
            }
        }
    }
}

/// Gives each caller its part of the answers.
fn share(
    outcome: Result<Answers, Undone>,
    replies: Vec<(usize, oneshot::Sender<Result<Answers, Undone>>)>,
) {
    let mut answers = outcome.map(|answers| answers.0.into_iter());
    for (count, reply) in replies {
        // Whoever asked may have gone; it is done all the same.
        let _ = reply.send(match &mut answers {
            Ok(answers) => Ok(Answers(answers.by_ref().take(count).collect())),
            Err(undone) => Err(undone.clone()),
        });
    }
}

/// A group that may have been appended is never proposed again: it could be applied twice.
async fn propose(raft: &Raft<Types>, group: Group) -> Result<Committed, Undone> {
    let (state, leader) = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow();
        (metrics.state, metrics.current_leader)
    };
    if state != ServerState::Leader {
        return Err(Undone::NotLeader(leader));
    }
    match timeout(ANSWER, raft.client_write(group)).await {
        Ok(Ok(response)) => {
            Ok(Committed { index: Some(response.log_id.index), answers: response.data })
        }
        // Also what openraft calls "forward to the leader": it says so too where the entry was
        // appended and overwritten here, and a third leader may still commit that entry.
        Ok(Err(error)) => Err(Undone::Unknown(error.to_string())),
        Err(_) => Err(Undone::Unknown(format!("too few gateways answered within {ANSWER:?}"))),
    }
}

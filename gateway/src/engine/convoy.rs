//! Small shards travel together: one request, and one fsync, for all that go to a node.
//!
//! One wave is on its way at a time; what comes meanwhile is the next. So a write that is alone goes
//! at once, and the more there are, the more share a wave. Clients that had their answer together
//! come back one after the other; a wave that left with the first of them would be small, and the
//! others would have to wait for it. Where there was a crowd a moment ago, a wave therefore waits until
//! as many are there, but not longer than a few times what the last one took ([`Crowd`]).
//!
//! All shards of a wave are answered together, and the commands that follow are announced to the
//! catalog ([`Expected`]), so that they are one group there; a node that takes long holds up only those
//! that need it.

use super::nodes::{Kind, NodeSet};
use crate::expected::Expected;
use coffer_core::ids::NodeId;
use coffer_core::shard::{MAX_BATCH, MAX_PUT_ALL, ShardError, ShardPut};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Chunks up to this many bytes of plaintext go with a convoy.
pub(super) const SMALL: u32 = 64 * 1024;
/// Chunks in one wave at most.
const WAVE: usize = 256;
/// So many chunks are a crowd.
const COMPANY: usize = 8;
/// How much longer than the last wave took the next one waits for those who are on their way back:
/// they must have their commit, their answer, and their next request sealed.
const PATIENCE: u32 = 4;
/// The longest that anyone waits for others.
const LATE: Duration = Duration::from_millis(100);

type Outcome = Result<(), ShardError>;

/// What is told of a shard once its node has answered.
pub(super) type Receipt = oneshot::Receiver<Outcome>;

/// The shards of a chunk, each with its node and whom to tell.
struct Cargo {
    shards: Vec<(NodeId, ShardPut, oneshot::Sender<Outcome>)>,
    /// Held until all nodes have answered.
    under_way: TaskTrackerToken,
}

/// Takes the shards of small chunks to their nodes.
#[derive(Debug)]
pub(super) struct Convoy {
    nodes: Arc<NodeSet>,
    within: Duration,
    expected: Expected,
    queue: OnceLock<mpsc::UnboundedSender<Cargo>>,
}

impl Convoy {
    /// A convoy to `nodes`, which answer within `within`. Crowds that have been served are announced.
    pub(super) fn new(nodes: Arc<NodeSet>, within: Duration, expected: Expected) -> Self {
        Self { nodes, within, expected, queue: OnceLock::new() }
    }

    /// Sends the shards of a chunk. Each has been fsynced when its receipt says `Ok`. What waits is
    /// within the memory that writers hold.
    pub(super) fn send(
        &self,
        shards: impl Iterator<Item = (NodeId, ShardPut)>,
        under_way: TaskTrackerToken,
    ) -> Vec<Receipt> {
        let (mut receipts, mut cargo) = (Vec::new(), Vec::new());
        for (node, put) in shards {
            let (reply, receipt) = oneshot::channel();
            cargo.push((node, put, reply));
            receipts.push(receipt);
        }
        let queue = self.queue.get_or_init(|| {
            let (queue, waiting) = mpsc::unbounded_channel();
            tokio::spawn(run(self.nodes.clone(), waiting, self.within, self.expected.clone()));
            queue
        });
        // Where it fails, the receipts tell.
        let _ = queue.send(Cargo { shards: cargo, under_way });
        receipts
    }
}

/// How many there were of late, and how long a wave took.
#[derive(Debug, Default)]
struct Crowd {
    present: usize,
    took: Duration,
}

impl Crowd {
    /// For how many chunks the next wave waits, and how long at most; `None`: it goes at once.
    fn waits_for(&self) -> Option<(usize, Duration)> {
        let patience = (self.took * PATIENCE).min(LATE);
        (self.present >= COMPANY).then_some((self.present.min(WAVE), patience))
    }

    /// A wave of so many chunks has been answered, while so many others came.
    fn note(&mut self, sent: usize, came: usize, took: Duration) {
        *self = Self { present: sent + came, took };
    }
}

async fn run(
    nodes: Arc<NodeSet>,
    mut queue: mpsc::UnboundedReceiver<Cargo>,
    within: Duration,
    expected: Expected,
) {
    let mut crowd = Crowd::default();
    while let Some(first) = queue.recv().await {
        let mut wave = vec![first];
        let wanted = crowd.waits_for();
        let fill = async {
            while wave.len() < wanted.map_or(0, |(count, _)| count) {
                let Some(cargo) = queue.recv().await else { break };
                wave.push(cargo);
            }
        };
        let _ = timeout(wanted.map_or(Duration::ZERO, |(_, patience)| patience), fill).await;
        while wave.len() < WAVE
            && let Ok(cargo) = queue.try_recv()
        {
            wave.push(cargo);
        }
        let (sent, began) = (wave.len(), Instant::now());
        carry(&nodes, wave, within, &expected).await;
        crowd.note(sent, queue.len(), began.elapsed());
    }
}

/// Takes a wave to its nodes; returns when all is answered, or it is late and somebody else sees to
/// the rest.
async fn carry(nodes: &Arc<NodeSet>, wave: Vec<Cargo>, within: Duration, expected: &Expected) {
    let (chunks, began) = (wave.len(), Instant::now());
    let mut loads: HashMap<NodeId, Vec<Load>> = HashMap::new();
    let mut under_way = Vec::with_capacity(wave.len());
    for cargo in wave {
        under_way.push(cargo.under_way);
        for (node, put, reply) in cargo.shards {
            let loads = loads.entry(node).or_default();
            match loads.last_mut() {
                Some(load) if load.has_room_for(&put) => load.add(put, reply),
                _ => loads.push(Load::of(put, reply)),
            }
        }
    }
    let loads =
        loads.into_iter().flat_map(|(node, loads)| loads.into_iter().map(move |l| (node, l)));
    let mut answers: FuturesUnordered<_> = loads
        .map(|(node, Load { puts, replies, .. })| {
            let nodes = nodes.clone();
            let ask = move |store: Arc<dyn coffer_core::shard::ShardStore>| async move {
                store.put_all(puts).await
            };
            async move { (nodes.call(node, Kind::Write, within, ask).await, replies) }
        })
        .collect();
    let mut answered = Vec::new();
    let all = async {
        while let Some(answer) = answers.next().await {
            answered.push(answer);
        }
    };
    let late = timeout(LATE, all).await.is_err();
    if !late && chunks >= COMPANY {
        expected.announce(chunks, began.elapsed());
    }
    for answer in answered {
        tell(answer);
    }
    if late {
        tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                tell(answer);
            }
            drop(under_way);
        });
    }
}

fn tell((outcome, replies): (Outcome, Vec<oneshot::Sender<Outcome>>)) {
    for reply in replies {
        // Whoever asked may have gone.
        let _ = reply.send(outcome.clone());
    }
}

/// What goes to one node in one request.
struct Load {
    puts: Vec<ShardPut>,
    replies: Vec<oneshot::Sender<Outcome>>,
    bytes: usize,
}

impl Load {
    fn of(put: ShardPut, reply: oneshot::Sender<Outcome>) -> Self {
        Self { bytes: put.payload.len(), puts: vec![put], replies: vec![reply] }
    }

    fn has_room_for(&self, put: &ShardPut) -> bool {
        self.puts.len() < MAX_BATCH && self.bytes + put.payload.len() <= MAX_PUT_ALL
    }

    fn add(&mut self, put: ShardPut, reply: oneshot::Sender<Outcome>) {
        self.bytes += put.payload.len();
        self.puts.push(put);
        self.replies.push(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_never_wait_and_a_crowd_waits_for_those_who_were_there() {
        let mut crowd = Crowd::default();
        assert_eq!(crowd.waits_for(), None);
        let ms = Duration::from_millis;
        crowd.note(1, COMPANY - 2, ms(5));
        assert_eq!(crowd.waits_for(), None);
        crowd.note(20, 44, ms(5));
        assert_eq!(crowd.waits_for(), Some((64, ms(5) * PATIENCE)));
        crowd.note(200, 300, ms(5000));
        assert_eq!(crowd.waits_for(), Some((WAVE, LATE)));
    }
}

//! Waiting until redundancy is whole again.

use super::world::World;
use coffer_client::admin::{FsckOptions, FsckRecord, FsckSummary, Risk};
use coffer_client::{Client, Http3};
use coffer_core::shard::ShardStore;
use std::time::{Duration, Instant};

/// How long it may take: longer than anything but a hang.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a gateway or a node may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

impl World {
    /// Waits until all members serve, the nodes whose bytes have changed have verified all of them,
    /// and a comparison of catalog and nodes finds every shard sound.
    pub(crate) async fn until_whole(&mut self) -> Duration {
        let began = Instant::now();
        let mut goals: Option<Vec<u64>> = None;
        for gateway in (0..self.means().gateways).cycle() {
            let held = self.lengths();
            let seen = match self.rounds().await {
                None => "a node does not answer".to_owned(),
                Some(rounds) => {
                    // The round that is under way may be past the bytes that have changed.
                    let goals = goals
                        .get_or_insert_with(|| rounds.iter().map(|rounds| rounds + 2).collect());
                    if self.rotten.iter().all(|node| rounds[*node] >= goals[*node]) {
                        match self.compare(gateway).await {
                            Ok(()) => {
                                self.settled = held;
                                self.rotten.clear();
                                return began.elapsed();
                            }
                            Err(why) => why,
                        }
                    } else {
                        format!("rounds of scrubbing: {rounds:?}, to be {goals:?}")
                    }
                }
            };
            assert!(began.elapsed() < PATIENCE, "not whole: {seen} {}", self.cluster.logs());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        began.elapsed()
    }

    /// How many rounds of scrubbing each node has ended.
    async fn rounds(&self) -> Option<Vec<u64>> {
        let stats = self.nodes.iter().map(|node| async {
            Some(tokio::time::timeout(ANSWER, node.stat()).await.ok()?.ok()?.scrub.rounds)
        });
        futures::future::join_all(stats).await.into_iter().collect()
    }

    /// Compares catalog and nodes, which tells repair what is to be done. Says what is not as it
    /// should be.
    async fn compare(&self, gateway: usize) -> Result<(), String> {
        let client = self.cluster.client_of(gateway, Http3::Never);
        let gateways = client.gateways().await.map_err(|e| e.to_string())?;
        if let Some(away) = gateways.iter().find(|gateway| !gateway.reachable) {
            return Err(format!("{} can't be reached", away.name));
        }
        let checked = tokio::time::timeout(ANSWER, fsck(&client)).await;
        let (summary, told) = checked.map_err(|_| "the comparison takes too long".to_owned())??;
        let all_sound = summary.ailing.values().all(|count| *count == 0);
        if summary.worst() == Risk::Whole && summary.silent_nodes == 0 && all_sound {
            return Ok(());
        }
        Err(format!("{summary:?} {told}"))
    }
}

/// The summary of a comparison, and what it tells of parts that are not whole.
async fn fsck(client: &Client) -> Result<(FsckSummary, String), String> {
    let options = FsckOptions { bucket: None, repair: true };
    let mut fsck = client.fsck(&options).await.map_err(|e| e.to_string())?;
    let mut told = String::new();
    loop {
        match fsck.next().await.map_err(|e| e.to_string())? {
            Some(FsckRecord::Summary(summary)) => return Ok((summary, told)),
            Some(FsckRecord::Progress(_) | FsckRecord::Orphan(_)) => {}
            Some(record) => told += &format!("\n{record:?}"),
            None => return Err("there is no summary".into()),
        }
    }
}

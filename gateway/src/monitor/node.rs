//! One node, as it was seen poll after poll.

use super::event::News;
use coffer_core::health::{
    DamageNews, DamageWatch, Health, History, MeanLatency, Patience, Sample, Space, Steady,
    Verdict, assess, assess_disk,
};
use coffer_core::shard::NodeStat;
use std::collections::BTreeMap;

/// What is remembered of a node.
#[derive(Debug)]
pub(super) struct NodeWatch {
    patience: Patience,
    history: History,
    silent: Steady<bool>,
    slow: Steady<bool>,
    /// How full it was at the last poll.
    fill: Space,
    space: Steady<Space>,
    damage: DamageWatch,
    verdict: Steady<Verdict>,
    /// Points off each disk's score.
    disks: BTreeMap<String, Steady<u8>>,
    /// The judgement of the last poll that it answered.
    health: Health,
    /// For how many polls in a row it has answered and was found failing.
    failing_polls: u32,
}

impl NodeWatch {
    pub(super) fn new(patience: Patience) -> Self {
        let soon = Patience { better: 1, ..patience };
        Self {
            patience,
            history: History::default(),
            silent: Steady::new(false, soon),
            slow: Steady::new(false, patience),
            fill: Space::Room,
            space: Steady::new(Space::Room, soon),
            damage: DamageWatch::default(),
            verdict: Steady::new(Verdict::Healthy, patience),
            disks: BTreeMap::new(),
            health: Health { score: 100, verdict: Verdict::Healthy, reasons: Vec::new() },
            failing_polls: 0,
        }
    }

    /// Takes in what a poll gave: `None` if the node did not answer.
    pub(super) fn see(&mut self, name: &str, at_ms: u64, stat: Option<&NodeStat>) -> Vec<News> {
        let node = || name.to_owned();
        let mut news = Vec::new();
        if self.silent.see(stat.is_none()).is_some() {
            let silent = self.silent.get();
            let told = if silent {
                News::NodeSilent { node: node() }
            } else {
                News::NodeBack { node: node() }
            };
            news.push(told);
        }
        let Some(stat) = stat else {
            // Nothing more is known of it than before.
            self.failing_polls = 0;
            return news;
        };
        self.history.push(Sample { at_ms, stat: stat.clone() });
        self.fill = Space::of(stat, self.fill);
        if let Some(from) = self.space.see(self.fill) {
            let (free_bytes, total_bytes) = (stat.free_bytes, stat.total_bytes);
            news.push(News::NodeSpace {
                node: node(),
                from,
                to: self.space.get(),
                free_bytes,
                total_bytes,
            });
        }
        news.extend(self.damage.see(stat, self.patience.better).map(|damage| match damage {
            DamageNews::Found(shards) => News::DamageFound { node: node(), shards },
            DamageNews::Mended(shards) => News::DamageMended { node: node(), shards },
        }));
        news.extend(self.see_disks(name, stat));
        news
    }

    fn see_disks(&mut self, name: &str, stat: &NodeStat) -> Vec<News> {
        let mut news = Vec::new();
        // A node that was just started has not asked its disks yet.
        if !stat.disks.is_empty() {
            self.disks.retain(|device, _| stat.disks.iter().any(|disk| disk.device == *device));
        }
        for disk in &stat.disks {
            let Health { score, reasons, .. } = assess_disk(disk);
            let first = || Steady::new(0, self.patience);
            let off = self.disks.entry(disk.device.clone()).or_insert_with(first);
            let (node, device) = (name.to_owned(), disk.device.clone());
            match off.see(100u8.saturating_sub(score)) {
                Some(before) if off.get() > before => {
                    news.push(News::DiskWarning { node, device, score, reasons });
                }
                Some(_) => news.push(News::DiskBetter { node, device, score }),
                None => {}
            }
        }
        news
    }

    /// Judges it by all that was seen of it, beside its peers, after a poll that it `answered` or
    /// not. `is_slow` is what this gateway finds when it uses the node.
    pub(super) fn judge(
        &mut self,
        name: &str,
        peers: &[MeanLatency],
        answered: bool,
        is_slow: bool,
    ) -> Vec<News> {
        let mut news = Vec::new();
        if !answered {
            return news;
        }
        self.health = assess(self.history.samples(), peers);
        let node = name.to_owned();
        if self.slow.see(is_slow).is_some() {
            let node = node.clone();
            let slow = self.slow.get();
            news.push(if slow { News::NodeSlow { node } } else { News::NodeNormal { node } });
        }
        if let Some(from) = self.verdict.see(self.health.verdict) {
            let Health { score, reasons, .. } = self.health.clone();
            news.push(News::NodeHealth { node, from, to: self.verdict.get(), score, reasons });
        }
        let failing = self.verdict() == Verdict::Failing && self.health.verdict == Verdict::Failing;
        self.failing_polls = if failing { self.failing_polls.saturating_add(1) } else { 0 };
        news
    }

    /// What was told of it last.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.get()
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.get()
    }

    pub(super) fn space(&self) -> Space {
        self.space.get()
    }

    pub(super) fn failing_polls(&self) -> u32 {
        self.failing_polls
    }

    pub(super) fn last(&self) -> Option<&NodeStat> {
        self.history.last().map(|sample| &sample.stat)
    }

    pub(super) fn latency(&self) -> MeanLatency {
        MeanLatency::of(self.history.samples())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::ids::NodeId;
    use coffer_core::shard::DiskReport;

    fn watch() -> NodeWatch {
        NodeWatch::new(Patience { worse: 2, better: 3 })
    }

    fn stat() -> NodeStat {
        NodeStat {
            free_bytes: 500,
            total_bytes: 1000,
            ..NodeStat::idle(NodeId::from_bytes([1; 16]))
        }
    }

    /// Polls with the same answer again and again; the kinds of what is told.
    fn polls(watch: &mut NodeWatch, times: u64, stat: Option<&NodeStat>) -> Vec<&'static str> {
        let mut told = Vec::new();
        for n in 0..times {
            let mut news = watch.see("a", n * 10_000, stat);
            news.extend(watch.judge("a", &[], stat.is_some(), false));
            told.extend(news.iter().map(News::kind));
        }
        told
    }

    #[test]
    fn each_change_is_told_once_and_a_hiccup_is_not() {
        let mut watch = watch();
        assert!(polls(&mut watch, 5, Some(&stat())).is_empty());
        assert!(polls(&mut watch, 1, None).is_empty());
        assert!(polls(&mut watch, 5, Some(&stat())).is_empty());
        assert_eq!(polls(&mut watch, 9, None), ["node_silent"]);
        assert_eq!(polls(&mut watch, 9, Some(&stat())), ["node_back"]);
        let full = NodeStat { writable: false, ..stat() };
        assert_eq!(polls(&mut watch, 9, Some(&full)), ["node_space", "node_health"]);
        assert_eq!(polls(&mut watch, 9, Some(&stat())), ["node_space", "node_health"]);
    }

    #[test]
    fn a_disk_that_warns_is_told_before_the_node_fails() {
        let mut watch = watch();
        let disk = |sectors| {
            let pending_sectors = Some(sectors);
            let disk =
                DiskReport { device: "sda".into(), pending_sectors, ..DiskReport::default() };
            NodeStat { disks: vec![disk], ..stat() }
        };
        assert!(polls(&mut watch, 9, Some(&disk(0))).is_empty());
        assert_eq!(polls(&mut watch, 9, Some(&disk(1))), ["disk_warning", "node_health"]);
        assert_eq!(watch.verdict(), Verdict::Watch);
        assert_eq!(polls(&mut watch, 9, Some(&disk(200))), ["disk_warning", "node_health"]);
        assert_eq!(watch.verdict(), Verdict::Failing);
        assert!(watch.failing_polls() > 6);
        // A restart of the node, which has to ask its disks first, is no reason to tell it again.
        assert!(polls(&mut watch, 1, Some(&stat())).is_empty());
        assert!(polls(&mut watch, 9, Some(&disk(200))).is_empty());
        assert_eq!(polls(&mut watch, 2, None), ["node_silent"]);
        assert_eq!((watch.verdict(), watch.failing_polls()), (Verdict::Failing, 0));
    }
}

//! The events that are remembered, each with a number and a time.

use super::event::{News, Severity};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most events that are remembered; older ones are forgotten.
const REMEMBERED: usize = 4096;

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number; grows by one from event to event of a run, from 1 on.
    pub id: u64,
    /// When it was noticed, in Unix milliseconds.
    pub at_ms: u64,
    /// How much it matters.
    pub severity: Severity,
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(flatten)]
    pub news: News,
}

/// Some events, in order.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    /// When the gateway was started, in Unix milliseconds: the numbers of each run begin at 1.
    pub run: u64,
    /// The number of the last event that has happened; 0 before there is one.
    pub last: u64,
    /// Whether some of those that were asked for are forgotten.
    pub forgotten: bool,
    /// Them.
    pub events: Vec<Event>,
}

/// What has happened, the oldest first.
#[derive(Debug)]
pub struct Events {
    run: u64,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    events: VecDeque<Event>,
    counts: BTreeMap<&'static str, u64>,
}

impl Events {
    /// None yet, in a run that began then.
    pub fn new(run: u64) -> Self {
        Self { run, ring: Mutex::default() }
    }

    /// Remembers, counts and logs something.
    pub fn tell(&self, at_ms: u64, news: News) {
        let (kind, severity, message) = (news.kind(), news.severity(), news.to_string());
        let mut ring = self.ring();
        ring.last += 1;
        let id = ring.last;
        *ring.counts.entry(kind).or_default() += 1;
        match severity {
            Severity::Info => tracing::info!(event = id, kind, "{message}"),
            Severity::Warning | Severity::Critical => {
                tracing::warn!(event = id, kind, %severity, "{message}");
            }
        }
        if ring.events.len() == REMEMBERED {
            ring.events.pop_front();
        }
        ring.events.push_back(Event { id, at_ms, severity, message, news });
    }

    /// Those with numbers over `after`, at most `limit`.
    pub fn since(&self, after: u64, limit: usize) -> Page {
        let ring = self.ring();
        let first = ring.events.front().map_or(1, |event| event.id);
        let wanted = ring.events.iter().filter(|event| event.id > after);
        Page {
            run: self.run,
            last: ring.last,
            forgotten: after.saturating_add(1) < first,
            events: wanted.take(limit).cloned().collect(),
        }
    }

    /// How many of each kind have happened.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.ring().counts.clone()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::raft::types::GatewayId;

    /// Refuses a field that is there twice.
    #[derive(serde::Deserialize)]
    struct Seen {
        id: u64,
        at_ms: u64,
        severity: String,
        message: String,
        kind: String,
        #[serde(flatten)]
        more: BTreeMap<String, serde_json::Value>,
    }

    #[test]
    fn what_an_event_says_has_no_name_that_all_events_use() {
        use coffer_core::health::{Space, Verdict};
        let (node, device) = (String::from("node-1"), String::from("sda"));
        let (gateway, gateway_id) = (String::from("gateway-1"), GatewayId(1));
        let (from, to, reasons) = (Verdict::Healthy, Verdict::Watch, Vec::new());
        let (free_bytes, total_bytes) = (1, 2);
        let all = [
            News::NodeHealth { node: node.clone(), from, to, score: 9, reasons: reasons.clone() },
            News::NodeSilent { node: node.clone() },
            News::NodeSpace {
                node: node.clone(),
                from: Space::Room,
                to: Space::Full,
                free_bytes,
                total_bytes,
            },
            News::DamageFound { node: node.clone(), shards: 1 },
            News::DiskWarning {
                node: node.clone(),
                device: device.clone(),
                score: 9,
                reasons: reasons.clone(),
            },
            News::DiskBetter { node: node.clone(), device, score: 9 },
            News::RedundancyDegraded { owed_blobs: 1, damaged_shards: 2, waiting_blobs: 3 },
            News::JournalBehind { entries: 1, error: Some("x".into()) },
            News::GatewaySilent { gateway: gateway.clone(), gateway_id },
            News::GatewayBack { gateway, gateway_id },
            News::LeaderChanged { from: None, to: gateway_id },
            News::DrainBegun { node: node.clone(), score: 9, reasons },
            News::DrainHeldBack { node, why: "x".into() },
        ];
        let events = Events::new(7);
        all.iter().for_each(|news| events.tell(3, news.clone()));
        for (event, news) in events.since(0, usize::MAX).events.iter().zip(&all) {
            let json = serde_json::to_string(event).unwrap();
            let seen: Seen = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
            assert_eq!((seen.id, seen.at_ms, &*seen.kind), (event.id, 3, news.kind()));
            assert_eq!(
                (seen.severity, &seen.message),
                (event.severity.to_string(), &event.message)
            );
            assert!(!seen.more.is_empty(), "{json}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten_and_that_is_said() {
        let events = Events::new(7);
        assert_eq!((events.since(0, 10).last, events.since(0, 10).forgotten), (0, false));
        let all = REMEMBERED as u64 + 5;
        (0..all).for_each(|at| events.tell(at, News::RedundancyWhole));
        let page = events.since(0, 10);
        assert_eq!((page.run, page.last, page.forgotten, page.events.len()), (7, all, true, 10));
        assert_eq!(page.events[0].id, 6);
        let page = events.since(5, usize::MAX);
        assert_eq!((page.forgotten, page.events.len()), (false, REMEMBERED));
        assert!(events.since(all, 10).events.is_empty());
        assert!(events.since(u64::MAX, 10).events.is_empty());
        assert_eq!(events.counts()["redundancy_whole"], all);
    }
}

//! The repair planner: plans converge, move nothing twice, and move only what placement says.

#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

use coffer_core::catalog::records::BlobOwner;
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName, NodeId, ObjectKey, VersionId};
use coffer_core::layout::ChunkShape;
use coffer_core::manifest::{Checksums, Chunk, Content, Move, Part};
use coffer_core::placement::{ClusterMap, NodeEntry, NodeState};
use coffer_core::repair::{ChunkPlan, Situation, Standing, Step, Urgency, Verdict, judge};
use coffer_core::shard::ShardKey;
use proptest::prelude::*;
use std::collections::HashMap;

fn id(n: usize) -> NodeId {
    NodeId::from_bytes([n as u8; 16])
}

fn map(domains: &[&str]) -> ClusterMap {
    let nodes = domains.iter().enumerate().map(|(i, domain)| NodeEntry {
        id: id(i),
        name: format!("node-{i}"),
        address: String::new(),
        domain: (*domain).to_owned(),
        weight: 1.0 + i as f64 / 7.0,
        state: NodeState::Active,
    });
    ClusterMap { version: 1, nodes: nodes.collect() }
}

/// A part of one chunk of 4+2 on the given nodes.
fn part(blob: u64, holders: &[Option<NodeId>]) -> Part {
    let shape = ChunkShape::new(1_000_000, Code::DEFAULT).unwrap();
    let mut nodes: Vec<NodeId> = holders.iter().flatten().copied().collect();
    nodes.sort();
    nodes.dedup();
    let slot = |h: &NodeId| nodes.iter().position(|n| n == h).map(|at| at as u16);
    let placed = holders.iter().map(|h| h.as_ref().and_then(slot)).collect();
    Part {
        blob: BlobId::from_bytes((u128::from(blob) << 64).to_be_bytes()),
        wrapped_key: vec![],
        size: 1_000_000,
        md5: [0; 16],
        checksums: Checksums::new(),
        content: Content::Sharded {
            nodes: nodes.clone(),
            chunks: vec![Chunk { shape, placed, generations: vec![] }],
        },
    }
}

/// A part that was written when all nodes of the map were up.
fn written(blob: u64, map: &ClusterMap) -> Part {
    let id = part(blob, &[]).blob;
    let placed = map.place(id, 0, Code::DEFAULT, 1, |_| true).unwrap();
    part(blob, &placed.into_iter().map(Some).collect::<Vec<_>>())
}

fn holders(part: &Part) -> Vec<Option<NodeId>> {
    let chunk = part.chunk(0).unwrap();
    (0..chunk.shards()).map(|i| chunk.node_of(i)).collect()
}

fn sorted(part: &Part) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = holders(part).into_iter().flatten().collect();
    nodes.sort();
    nodes
}

fn plan(part: &Part, map: &ClusterMap, standing: &dyn Fn(NodeId) -> Standing) -> Option<ChunkPlan> {
    let situation = Situation { map, standing, is_bad: &|_, _| false };
    assert_eq!(part.check(), Ok(()));
    situation.plan(part.chunk(0).unwrap())
}

fn up(_: NodeId) -> Standing {
    Standing::Up
}

/// Takes all steps of a plan.
fn take(part: &mut Part, plan: &ChunkPlan) {
    let moves: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Rebuild(step) | Step::Copy(step) => Some(*step),
            Step::Rewrite { .. } => None,
        })
        .collect();
    part.relocate(&moves).unwrap();
}

fn most_on_a_node(part: &Part) -> usize {
    let mut counts = HashMap::new();
    holders(part).into_iter().flatten().for_each(|n| *counts.entry(n).or_insert(0) += 1);
    counts.into_values().max().unwrap_or(0)
}

const DOMAINS: [&str; 5] = ["", "a", "a/1", "b/1/x", "b/2"];

fn standings() -> impl Strategy<Value = Vec<Standing>> {
    let one = prop_oneof![
        4 => Just(Standing::Up),
        1 => Just(Standing::Slow),
        1 => Just(Standing::Full),
        1 => Just(Standing::Away),
        1 => Just(Standing::Lost),
    ];
    prop::collection::vec(one, 14)
}

fn states() -> impl Strategy<Value = Vec<NodeState>> {
    let one = prop_oneof![
        6 => Just(NodeState::Active),
        1 => Just(NodeState::Draining),
        1 => Just(NodeState::Gone),
    ];
    prop::collection::vec(one, 14)
}

proptest! {
    /// Whatever has happened: one round of all steps is enough, nothing moves twice, no node gets
    /// more than m shards from us, and shards that are not owed never crowd together more.
    #[test]
    fn plans_converge_and_move_nothing_twice(
        blob: u64,
        domains in prop::collection::vec(prop::sample::select(&DOMAINS[..]), 1..12),
        mut states in states(),
        standings in standings(),
        first in prop::collection::vec(prop::option::weighted(0.9, 0usize..14), 6),
    ) {
        let mut map = map(&domains);
        states[0] = NodeState::Active;
        map.nodes.iter_mut().zip(&states).for_each(|(node, state)| node.state = *state);
        let standing = |node: NodeId| standings[usize::from(node.as_bytes()[0])];
        let mut part = part(blob, &first.iter().map(|n| n.map(id)).collect::<Vec<_>>());
        let before = part.clone();
        if let Some(plan) = plan(&part, &map, &standing) {
            for step in &plan.steps {
                if let Step::Rebuild(m) | Step::Copy(m) = step {
                    prop_assert!(standing(m.to).takes_shards());
                    prop_assert_eq!(map.get(m.to).unwrap().state, NodeState::Active);
                    prop_assert_ne!(m.from, Some(m.to));
                }
                if let Step::Copy(m) = step {
                    prop_assert!(standing(m.from.unwrap()).answers());
                }
            }
            take(&mut part, &plan);
            let drains = |n: &NodeId| map.get(*n).is_some_and(|n| n.state == NodeState::Draining);
            let copies = plan.steps.iter().any(|s| matches!(s, Step::Copy(_)));
            let all_copies = plan.steps.iter().all(|s| matches!(s, Step::Copy(_)));
            if copies && all_copies && !holders(&before).iter().flatten().any(drains) {
                prop_assert!(map.crowding(&holders(&part)) <= map.crowding(&holders(&before)));
            }
            prop_assert!(most_on_a_node(&part) <= most_on_a_node(&before).max(2));
        }
        let after = plan(&part, &map, &standing);
        prop_assert!(after.as_ref().is_none_or(|p| p.steps.is_empty()), "{after:?}");
    }

    #[test]
    fn what_was_written_with_all_nodes_up_needs_nothing(
        blob: u64, domains in prop::collection::vec(prop::sample::select(&DOMAINS[..]), 3..14),
    ) {
        let map = map(&domains);
        prop_assert_eq!(plan(&written(blob, &map), &map, &up), None);
    }

    #[test]
    fn a_new_node_gets_only_what_it_wins(blob: u64, nodes in 6usize..13) {
        let (old, new) = (map(&vec![""; nodes]), map(&vec![""; nodes + 1]));
        let mut part = written(blob, &old);
        if let Some(plan) = plan(&part, &new, &up) {
            prop_assert_eq!(plan.urgency, Urgency::Misplaced);
            prop_assert_eq!(plan.steps.len(), 1);
            let Step::Copy(step) = plan.steps[0] else { panic!("{plan:?}") };
            prop_assert_eq!(step.to, id(nodes));
            take(&mut part, &plan);
        }
        prop_assert_eq!(sorted(&part), sorted(&written(blob, &new)));
    }

    #[test]
    fn with_a_node_gone_only_its_shards_are_rebuilt(blob: u64, nodes in 7usize..13, lost in 0usize..7) {
        let old = map(&vec![""; nodes]);
        let mut new = old.clone();
        new.nodes[lost].state = NodeState::Gone;
        let mut part = written(blob, &old);
        if let Some(plan) = plan(&part, &new, &up) {
            prop_assert_eq!(plan.urgency, Urgency::Missing { spare: 1 });
            prop_assert_eq!(plan.steps.len(), 1);
            let Step::Rebuild(step) = plan.steps[0] else { panic!("{plan:?}") };
            prop_assert_eq!(step.from, Some(id(lost)));
            take(&mut part, &plan);
        }
        prop_assert_eq!(sorted(&part), sorted(&written(blob, &new)));
    }

    #[test]
    fn a_drained_node_is_left_and_the_same_as_after_its_loss(blob: u64, nodes in 4usize..13) {
        let old = map(&vec![""; nodes]);
        let mut new = old.clone();
        new.nodes[0].state = NodeState::Draining;
        let mut part = written(blob, &old);
        if let Some(plan) = plan(&part, &new, &up) {
            prop_assert!(plan.steps.iter().all(|s| matches!(s, Step::Copy(_))));
            take(&mut part, &plan);
        }
        prop_assert!(!sorted(&part).contains(&id(0)));
        prop_assert!(most_on_a_node(&part) <= 2);
    }

    #[test]
    fn shards_doubled_up_in_an_outage_go_home_and_no_others(blob: u64, down in 0usize..6) {
        let map = map(&[""; 6]);
        let target = part(blob, &[]).blob;
        let placed = map.place(target, 0, Code::DEFAULT, 1, |n| n != id(down)).unwrap();
        let mut part = part(blob, &placed.into_iter().map(Some).collect::<Vec<_>>());
        prop_assert_eq!(most_on_a_node(&part), 2);
        let away = |n| if n == id(down) { Standing::Away } else { Standing::Up };
        prop_assert_eq!(plan(&part, &map, &away), None);
        let plan = plan(&part, &map, &up).unwrap();
        prop_assert_eq!(plan.steps.len(), 1);
        take(&mut part, &plan);
        prop_assert_eq!(most_on_a_node(&part), 1);
    }
}

#[test]
fn a_chunk_one_loss_away_from_being_unreadable_comes_first() {
    let map = map(&[""; 8]);
    let whole = written(1, &map);
    let lost = |n: usize| {
        let gone: Vec<NodeId> = sorted(&whole)[..n].to_vec();
        let standing = move |id| if gone.contains(&id) { Standing::Lost } else { Standing::Up };
        plan(&whole, &map, &standing).unwrap()
    };
    assert_eq!(lost(2).urgency, Urgency::Missing { spare: 0 });
    assert_eq!(lost(1).urgency, Urgency::Missing { spare: 1 });
    assert!(lost(2).urgency < lost(1).urgency && lost(1).urgency < Urgency::Misplaced);
    let hopeless = lost(3);
    assert!(!hopeless.is_readable() && hopeless.available == 3);
}

#[test]
fn a_damaged_shard_is_written_again_where_it_is() {
    let map = map(&[""; 6]);
    let part = written(1, &map);
    let chunk = part.chunk(0).unwrap();
    let bad = (chunk.node_of(2).unwrap(), chunk.key(2));
    let plan_with = |standing: &dyn Fn(NodeId) -> Standing| {
        let is_bad = |node, key| (node, key) == bad;
        let situation = Situation { map: &map, standing, is_bad: &is_bad };
        assert!(!situation.sources(chunk).contains(&2));
        situation.plan(chunk).unwrap()
    };
    let plan = plan_with(&up);
    assert_eq!(plan.steps, vec![Step::Rewrite { index: 2, node: bad.0 }]);
    assert_eq!(plan.urgency, Urgency::Missing { spare: 1 });
    // If its disk is full as well, another node has to take it.
    let plan = plan_with(&|n| if n == bad.0 { Standing::Full } else { Standing::Up });
    assert!(matches!(plan.steps[..], [Step::Rebuild(m)] if m.from == Some(bad.0)), "{plan:?}");
}

#[test]
fn a_found_shard_is_dead_only_if_its_name_was_left_for_good() {
    let map = map(&[""; 7]);
    let mut part = written(1, &map);
    let owner = BlobOwner::Version {
        bucket: BucketName::new("bucket").unwrap(),
        key: ObjectKey::new("key").unwrap(),
        version: VersionId::from_bytes([1; 16]),
    };
    let (old, node) = (part.chunk(0).unwrap().key(3), part.chunk(0).unwrap().node_of(3).unwrap());
    let to = map.nodes.iter().map(|n| n.id).find(|n| !sorted(&part).contains(n)).unwrap();
    let new = ShardKey { generation: 1, ..old };
    let step = Move { chunk: 0, index: 3, from: Some(node), generation: 0, to };
    let live = |node, key, part: &Part| judge(node, key, Some(&owner), Some(part));
    assert_eq!(live(node, old, &part), Verdict::Needed);
    assert_eq!(live(to, old, &part), Verdict::Dead, "a put that was given up arrived late");
    assert_eq!(live(to, new, &part), Verdict::Ahead, "a repair may be about to commit it");
    part.relocate(&[step]).unwrap();
    assert_eq!(live(to, new, &part), Verdict::Needed);
    assert_eq!(live(node, old, &part), Verdict::Dead);
    assert_eq!(live(node, new, &part), Verdict::Dead, "another repair had chosen this node");
    let condemned = BlobOwner::Condemned { at_ms: 1 };
    assert_eq!(judge(to, new, Some(&condemned), None), Verdict::Condemned);
    assert_eq!(judge(to, new, None, None), Verdict::Unclaimed);
}

//! Which records make the catalog: the newest snapshot, and the groups after it without a gap.

use super::Record;
use crate::shard::{ShardInfo, ShardKey};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is known of a record by the names of its parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    /// The parts' lengths by their numbers.
    parts: BTreeMap<u32, u32>,
}

impl Found {
    /// Whether no part is missing before the last that was found.
    fn has_no_hole(&self) -> bool {
        self.parts.keys().next_back().is_some_and(|last| self.parts.len() == *last as usize + 1)
    }
}

/// The names of all parts that nodes hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    records: BTreeMap<Record, Found>,
    copies: Option<usize>,
}

/// How a catalog is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Begin with this snapshot, or else with nothing.
    pub snapshot: Option<Record>,
    /// Then take these records. They may overlap: take what is new in each.
    pub groups: Vec<Record>,
    /// The first index that is not covered.
    pub end: u64,
    /// What is known to be missing after it.
    pub gap: Option<Gap>,
}

/// Part of the log was written to the journal and can't be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Gap {
    /// The first index that is missing.
    pub from: u64,
    /// The last one, at least.
    pub until: u64,
    /// Records that would be needed, and are there in part.
    pub damaged: Vec<Record>,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entries {} to {} of the log are missing in the journal", self.from, self.until)?;
        for (i, record) in self.damaged.iter().enumerate() {
            write!(f, "{}{record}", if i == 0 { "; not whole: " } else { ", " })?;
        }
        Ok(())
    }
}

impl Names {
    /// Takes a name that a node lists. Returns whether it is one of the journal's.
    pub fn add(&mut self, key: &ShardKey, info: &ShardInfo) -> bool {
        let Some((record, part)) = Record::of(key) else { return false };
        self.records.entry(record).or_default().parts.insert(part, info.len);
        let copies = info.code.n();
        self.copies = Some(self.copies.map_or(copies, |least| least.min(copies)));
        true
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// On how many nodes each record was stored, at least.
    pub fn copies(&self) -> Option<usize> {
        self.copies
    }

    /// The parts of a record that were found.
    pub fn parts(&self, record: Record) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.records.get(&record).into_iter().flat_map(|found| found.parts.keys().copied())
    }

    /// The length of a record in bytes, as stored.
    pub fn bytes(&self, record: Record) -> u64 {
        let found = self.records.get(&record);
        found.map_or(0, |found| found.parts.values().map(|len| u64::from(*len)).sum())
    }

    /// The greatest index that any record covers, whole or not.
    pub fn newest(&self) -> Option<u64> {
        self.records.keys().map(|record| record.until()).max()
    }

    /// What is needed no more once `snapshot` is complete.
    pub fn obsolete(&self, snapshot: Record) -> impl Iterator<Item = Record> + '_ {
        let done = move |record: &Record| match record {
            Record::Groups { until, .. } => *until <= snapshot.until(),
            Record::Snapshot { index, .. } => *index <= snapshot.until() && *record != snapshot,
        };
        self.records.keys().copied().filter(done)
    }

    /// Plans with all records but those that turned out not to be whole. A plan never skips a gap:
    /// it ends there, and tells of it.
    pub fn plan(&self, unusable: &BTreeSet<Record>) -> Plan {
        let usable = |record: &Record| {
            !unusable.contains(record) && self.records.get(record).is_some_and(Found::has_no_hole)
        };
        let is_snapshot = |record: &&Record| matches!(record, Record::Snapshot { .. });
        let snapshot = self.records.keys().filter(is_snapshot).filter(|r| usable(r)).max().copied();
        let mut end = snapshot.map_or(0, |record| record.until() + 1);

        // In the order of their first indices, the one that reaches furthest is taken each time.
        let mut groups = Vec::new();
        let mut best: Option<Record> = None;
        for record in self.records.keys().filter(|r| usable(r)) {
            let Record::Groups { from, until } = *record else { continue };
            if from > end
                && let Some(next) = best.take()
            {
                end = next.until() + 1;
                groups.push(next);
            }
            if from > end {
                break;
            }
            if until >= best.map_or(end, |b| b.until() + 1) {
                best = Some(*record);
            }
        }
        if let Some(last) = best {
            end = last.until() + 1;
            groups.push(last);
        }
        Plan { snapshot, groups, end, gap: self.gap(end, usable) }
    }

    /// What is known to have been written from `end` on.
    fn gap(&self, end: u64, usable: impl Fn(&Record) -> bool) -> Option<Gap> {
        let beyond = || self.records.keys().filter(|record| record.until() >= end);
        let missing_until = |record: &Record| match record {
            Record::Groups { from, .. } if *from > end => from - 1,
            // A snapshot is begun when the journal has come as far.
            record => record.until(),
        };
        let until = beyond().map(missing_until).min()?;
        let damaged = beyond().filter(|record| !usable(record)).take(8).copied().collect();
        Some(Gap { from: end, until, damaged })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::part::shard_info;
    use proptest::prelude::*;

    fn names(records: &[Record]) -> Names {
        let mut names = Names::default();
        for record in records {
            assert!(names.add(&record.key(0, 1), &shard_info(100, 3)));
        }
        names
    }

    fn groups(from: u64, until: u64) -> Record {
        Record::Groups { from, until }
    }

    fn snapshot(index: u64) -> Record {
        Record::Snapshot { index, attempt: 3 }
    }

    #[test]
    fn nothing_makes_an_empty_plan() {
        let plan = Names::default().plan(&BTreeSet::new());
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn a_snapshot_takes_the_place_of_what_was_before() {
        let all = [groups(0, 4), groups(5, 9), snapshot(7), groups(10, 12), snapshot(3)];
        let names = names(&all);
        let plan = names.plan(&BTreeSet::new());
        assert_eq!(plan.snapshot, Some(snapshot(7)));
        assert_eq!(plan.groups, vec![groups(5, 9), groups(10, 12)]);
        assert_eq!((plan.end, plan.gap), (13, None));
        let gone: BTreeSet<_> = names.obsolete(snapshot(7)).collect();
        assert_eq!(gone, BTreeSet::from([groups(0, 4), snapshot(3)]));

        // If it is not whole, the older one serves as long as the groups reach.
        let plan = names.plan(&BTreeSet::from([snapshot(7)]));
        assert_eq!(plan.snapshot, Some(snapshot(3)));
        assert_eq!((plan.end, plan.gap), (13, None));
    }

    #[test]
    fn a_snapshot_that_is_not_whole_tells_of_groups_that_must_have_been() {
        let names = names(&[groups(0, 4), snapshot(7)]);
        let plan = names.plan(&BTreeSet::from([snapshot(7)]));
        assert_eq!(plan.end, 5);
        assert_eq!(plan.gap, Some(Gap { from: 5, until: 7, damaged: vec![snapshot(7)] }));
    }

    #[test]
    fn a_part_that_is_missing_makes_a_record_unusable() {
        let mut names = names(&[groups(0, 4), groups(5, 9)]);
        names.add(&groups(5, 9).key(2, 0), &shard_info(100, 3));
        let plan = names.plan(&BTreeSet::new());
        assert_eq!((plan.end, plan.groups), (5, vec![groups(0, 4)]));
        let text = plan.gap.unwrap().to_string();
        assert!(text.contains("entries 5 to 9") && text.contains("groups 5 to 9"), "{text}");
    }

    #[test]
    fn what_a_lost_catalog_left_behind_does_not_mix_with_a_rebuilt_one() {
        let after = super::super::LINEAGE + 20;
        let all = [groups(0, 9), groups(10, 12), snapshot(after), groups(after + 1, after + 3)];
        let plan = names(&all).plan(&BTreeSet::new());
        assert_eq!((plan.snapshot, plan.groups), (Some(snapshot(after)), vec![all[3]]));
        // Without the snapshot there is a gap, whatever else there is.
        let plan = names(&[all[0], all[1], all[3]]).plan(&BTreeSet::new());
        assert_eq!(plan.gap.map(|g| (g.from, g.until)), Some((13, after)));
    }

    proptest! {
        #[test]
        fn a_plan_covers_what_can_be_covered_and_names_what_is_missing(
            cuts in prop::collection::vec((0..200u64, 0..30u64), 0..30),
            snapshots in prop::collection::vec(0..150u64, 0..3),
        ) {
            let mut all: Vec<Record> = cuts.iter().map(|(from, n)| groups(*from, from + n)).collect();
            all.extend(snapshots.iter().map(|s| snapshot(*s)));
            let plan = names(&all).plan(&BTreeSet::new());
            let covered = |index: u64| all.iter().any(|r| match r {
                Record::Groups { from, until } => (*from..=*until).contains(&index),
                Record::Snapshot { index: s, .. } => index <= *s,
            });
            // It begins with the newest snapshot and ends at the first hole after it.
            prop_assert_eq!(plan.snapshot.map(|s| s.until()), snapshots.iter().max().copied());
            let begin = plan.snapshot.map_or(0, |s| s.until() + 1);
            let hole = (begin..).find(|i| !covered(*i)).unwrap();
            prop_assert_eq!(plan.end, hole);
            // Each record goes on where the one before has ended.
            let mut next = begin;
            for record in &plan.groups {
                let Record::Groups { from, until } = record else { unreachable!() };
                prop_assert!(*from <= next && *until >= next);
                next = until + 1;
            }
            prop_assert_eq!(next, plan.end);
            // There is a gap just if something comes after it.
            let after = all.iter().filter_map(|r| match r {
                Record::Groups { from, .. } if *from > hole => Some(from - 1),
                _ => None,
            }).min();
            prop_assert_eq!(plan.gap.map(|g| (g.from, g.until)), after.map(|a| (hole, a)));
        }
    }
}

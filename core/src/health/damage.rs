//! What a node finds damaged, told once and again only when it becomes much more.

use crate::shard::NodeStat;

/// Follows what a node finds damaged. An episode begins with the first damaged shard and ends when
/// none is open and none has been found for a while.
#[derive(Debug, Clone, Default)]
pub struct DamageWatch {
    /// The node's run and its counter, when it was last seen.
    last: Option<(u64, u64)>,
    /// Shards found damaged in this episode.
    found: u64,
    /// How many of them have been told.
    told: u64,
    /// How often in a row nothing was found and nothing was open.
    quiet: u32,
}

/// News of damage on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageNews {
    /// So many shards have been found damaged in this episode: the first, or twice as many as were
    /// told before.
    Found(u64),
    /// All of so many are sound again, or not needed any more.
    Mended(u64),
}

impl DamageWatch {
    /// Takes in what a node says. An episode ends after `calm` times without anything.
    pub fn see(&mut self, stat: &NodeStat, calm: u32) -> Option<DamageNews> {
        let gained = match self.last.replace((stat.started, stat.corrupt)) {
            // What it found before it was first seen is told by what is still open.
            None => 0,
            Some((run, before)) if run == stat.started => stat.corrupt.saturating_sub(before),
            Some(_) => stat.corrupt,
        };
        self.found = self.found.saturating_add(gained).max(stat.findings);
        let is_quiet = gained == 0 && stat.findings == 0;
        self.quiet = if is_quiet { self.quiet.saturating_add(1) } else { 0 };
        if self.told > 0 && self.quiet >= calm.max(1) {
            let found = self.found;
            (self.found, self.told) = (0, 0);
            Some(DamageNews::Mended(found))
        } else if self.found > 0 && self.found >= self.told.saturating_mul(2) {
            self.told = self.found;
            Some(DamageNews::Found(self.found))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;
    use proptest::prelude::*;

    fn stat(started: u64, corrupt: u64, findings: u64) -> NodeStat {
        NodeStat { started, corrupt, findings, ..NodeStat::idle(NodeId::from_bytes([1; 16])) }
    }

    #[test]
    fn damage_that_is_mended_between_two_looks_is_told_all_the_same() {
        let mut watch = DamageWatch::default();
        assert_eq!(watch.see(&stat(1, 7, 0), 2), None, "long ago");
        assert_eq!(watch.see(&stat(1, 8, 0), 2), Some(DamageNews::Found(1)));
        assert_eq!(watch.see(&stat(1, 8, 0), 2), None);
        assert_eq!(watch.see(&stat(1, 8, 0), 2), Some(DamageNews::Mended(1)));
        assert_eq!(watch.see(&stat(1, 8, 0), 2), None);
        assert_eq!(watch.see(&stat(2, 1, 1), 2), Some(DamageNews::Found(1)), "after a restart");
    }

    #[test]
    fn what_is_open_at_the_first_look_is_told() {
        assert_eq!(DamageWatch::default().see(&stat(1, 0, 3), 2), Some(DamageNews::Found(3)));
    }

    proptest! {
        #[test]
        fn a_disk_that_crumbles_is_told_of_a_few_times(steps in prop::collection::vec(0u64..5, 1..400)) {
            let (mut watch, mut corrupt, mut told) = (DamageWatch::default(), 0, vec![]);
            for step in steps {
                corrupt += step;
                if let Some(DamageNews::Found(n)) = watch.see(&stat(1, corrupt, corrupt), 3) {
                    told.push(n);
                }
            }
            prop_assert!(told.windows(2).all(|pair| pair[1] >= 2 * pair[0]));
            prop_assert!(corrupt == 0 || 2 * told.last().unwrap() > corrupt, "{told:?} of {corrupt}");
        }
    }
}

//! A state that does not flap.

/// What has been told of a state that is looked at again and again: it changes only once the state
/// was seen to be worse, or better, a number of times in a row. Greater is worse.
#[derive(Debug, Clone)]
pub struct Steady<T> {
    told: T,
    patience: Patience,
    /// What was seen in a row on one side of what was told: the one that is nearest to it, and how
    /// often.
    run: Option<(T, u32)>,
}

/// How often in a row a change must be seen before it is told. 0 is as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A change for the worse.
    pub worse: u32,
    /// A change for the better.
    pub better: u32,
}

impl<T: Ord + Copy> Steady<T> {
    /// Begins with what is taken for usual.
    pub fn new(told: T, patience: Patience) -> Self {
        Self { told, patience, run: None }
    }

    /// What was told last.
    pub fn get(&self) -> T {
        self.told
    }

    /// Takes in what is seen now. If that changes what is told, returns what was told before.
    pub fn see(&mut self, now: T) -> Option<T> {
        if now == self.told {
            self.run = None;
            return None;
        }
        let is_worse = now > self.told;
        let (nearest, times) = match self.run {
            Some((run, times)) if (run > self.told) == is_worse => {
                (if is_worse { run.min(now) } else { run.max(now) }, times.saturating_add(1))
            }
            _ => (now, 1),
        };
        let needed = if is_worse { self.patience.worse } else { self.patience.better };
        if times < needed {
            self.run = Some((nearest, times));
            return None;
        }
        // What was still worse, or still better, in part of the run has to be seen again.
        self.run = None;
        Some(std::mem::replace(&mut self.told, nearest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patience() -> impl Strategy<Value = Patience> {
        (1u32..6, 1u32..6).prop_map(|(worse, better)| Patience { worse, better })
    }

    proptest! {
        #[test]
        fn it_changes_only_after_a_run_that_agrees(
            patience in patience(), seen in prop::collection::vec(0u8..4, 1..100)
        ) {
            let mut state = Steady::new(0, patience);
            for (n, now) in seen.iter().enumerate() {
                let Some(before) = state.see(*now) else { continue };
                let told = state.get();
                let needed = if told > before { patience.worse } else { patience.better } as usize;
                prop_assert!(n + 1 >= needed);
                let run = &seen[n + 1 - needed..=n];
                prop_assert!(run.contains(&told), "only what was seen is told");
                prop_assert!(run.iter().all(|s| (*s > before) == (told > before) && *s != before));
                let as_far = |s: &u8| if told > before { *s >= told } else { *s <= told };
                prop_assert!(run.iter().all(as_far));
            }
        }

        #[test]
        fn what_lasts_is_told(patience in patience(), seen in prop::collection::vec(0u8..4, 0..50), at_last in 0u8..4) {
            let mut state = Steady::new(0, patience);
            seen.iter().for_each(|s| { state.see(*s); });
            let changes = (0..40).filter(|_| state.see(at_last).is_some()).count();
            prop_assert_eq!(state.get(), at_last);
            prop_assert!(changes <= 2, "there is no way round to it");
        }

        #[test]
        fn what_goes_to_and_fro_is_never_told(worse in 2u32..6, better in 2u32..6, n in 0usize..100) {
            let mut state = Steady::new(false, Patience { worse, better });
            prop_assert!((0..n).all(|i| state.see(i % 2 == 0).is_none()));
        }
    }
}

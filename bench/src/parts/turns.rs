//! Works measured in turns, so that whatever else the machine does meets all of them alike.

use super::clock::{Moment, Span};
use super::report::{Clock, Line, Unit};
use std::time::Duration;

/// How long is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Turns of each work; the median counts.
    pub rounds: usize,
    /// How long a turn is at least. With zero, each work is done once a turn.
    pub slice: Duration,
}

/// Something that can be done again and again.
type Work<'a> = Box<dyn FnMut() -> anyhow::Result<()> + 'a>;

/// Works that are to be measured side by side.
pub(super) struct Turns<'a> {
    effort: Effort,
    works: Vec<(f64, Work<'a>)>,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id(usize);

/// What was measured: for each work, each round's span and how much was done in it.
pub(super) struct Taken(Vec<Vec<(f64, Span)>>);

/// A rate for each round.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rates(pub(super) Vec<f64>);

impl<'a> Turns<'a> {
    pub(super) fn new(effort: Effort) -> Self {
        Self { effort, works: Vec::new() }
    }

    /// Adds a work; doing it once counts for `amount`: of bytes, of operations.
    pub(super) fn add(
        &mut self,
        amount: usize,
        work: impl FnMut() -> anyhow::Result<()> + 'a,
    ) -> Id {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        self.works.push((amount as f64, Box::new(work)));
        Id(self.works.len() - 1)
    }

    /// Measures all, in turns.
    pub(super) fn take(mut self) -> anyhow::Result<Taken> {
        let slice = self.effort.slice;
        let mut times = Vec::new();
        for (_, work) in &mut self.works {
            times.push(times_that_fill(slice, work)?);
        }
        let mut taken = vec![Vec::new(); self.works.len()];
        for _ in 0..self.effort.rounds.max(1) {
            for ((amount, work), (times, taken)) in
                self.works.iter_mut().zip(times.iter().zip(&mut taken))
            {
                let begun = Moment::now();
                for _ in 0..*times {
                    work()?;
                }
                taken.push((*amount * f64::from(*times), begun.elapsed()));
            }
        }
        Ok(Taken(taken))
    }
}

/// How often a work is to be done in a turn. It is warm afterwards.
fn times_that_fill(slice: Duration, work: &mut Work<'_>) -> anyhow::Result<u32> {
    if slice.is_zero() {
        return Ok(1);
    }
    work()?;
    let mut times = 1;
    loop {
        let begun = Moment::now();
        for _ in 0..times {
            work()?;
        }
        let took = begun.elapsed().wall;
        if took * 4 >= slice || times >= 1 << 24 {
            let more = slice.as_secs_f64() / took.as_secs_f64().max(1e-9);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped"
            )]
            return Ok((f64::from(times) * more).ceil().clamp(1.0, f64::from(1 << 26)) as u32);
        }
        times *= 4;
    }
}

impl Taken {
    /// A work's rates per second of a clock. Where the kernel does not tell processor time, the
    /// clock on the wall must do.
    pub(super) fn rates(&self, work: Id, clock: Clock) -> Rates {
        let rate = |(amount, span): &(f64, Span)| {
            let time = match clock {
                Clock::Wall => Some(span.wall),
                Clock::Own => span.here,
                Clock::Server => span.elsewhere,
            };
            amount / time.unwrap_or(span.wall).as_secs_f64().max(1e-9)
        };
        Rates(self.0[work.0].iter().map(rate).collect())
    }

    /// A line of the table: a work beside another that is its limit.
    pub(super) fn line(
        &self,
        part: impl Into<String>,
        (unit, clock): (Unit, Clock),
        work: Id,
        (name, limit): (&str, Id),
    ) -> Line {
        let limit = self.rates(limit, clock);
        self.rates(work, clock).beside(part, (unit, clock), (name, &limit))
    }
}

impl Rates {
    /// What can be reached if all of these are done one after the other, each at its own rate.
    pub(super) fn harmonic(all: &[Self]) -> Self {
        let rounds = all.iter().map(|rates| rates.0.len()).min().unwrap_or(0);
        let rate = |round: usize| 1.0 / all.iter().map(|rates| 1.0 / rates.0[round]).sum::<f64>();
        Self((0..rounds).map(rate).collect())
    }

    /// A line of the table: these beside a limit, round by round.
    pub(super) fn beside(
        &self,
        part: impl Into<String>,
        (unit, clock): (Unit, Clock),
        (name, limit): (&str, &Self),
    ) -> Line {
        let ratios = self.0.iter().zip(&limit.0).map(|(own, most)| own / most);
        let ratios = sorted(ratios.collect());
        Line {
            part: part.into(),
            unit,
            clock,
            figure: median(&sorted(self.0.clone())) / unit.size(),
            limit: name.to_owned(),
            limit_figure: median(&sorted(limit.0.clone())) / unit.size(),
            ratio: median(&ratios),
            least_ratio: ratios.first().copied().unwrap_or(0.0),
            greatest_ratio: ratios.last().copied().unwrap_or(0.0),
        }
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const ONCE: Effort = Effort { rounds: 3, slice: Duration::ZERO };

    #[test]
    fn works_take_turns_and_all_of_them_is_counted() {
        let log = RefCell::new(String::new());
        let mut turns = Turns::new(ONCE);
        let note = |c: char| {
            log.borrow_mut().push(c);
            Ok(())
        };
        let a = turns.add(10, || note('a'));
        turns.add(20, || note('b'));
        let taken = turns.take().unwrap();
        assert_eq!(*log.borrow(), "ababab");
        assert_eq!(taken.0[a.0].len(), 3);
        assert!(
            taken.0.iter().zip([10.0, 20.0]).all(|(t, n)| t.iter().all(|(done, _)| *done == n))
        );
    }

    #[test]
    fn a_turn_is_as_long_as_was_asked() {
        let done = RefCell::new(0.0);
        let mut turns = Turns::new(Effort { rounds: 2, slice: Duration::from_millis(5) });
        let work = turns.add(1, || {
            *done.borrow_mut() += 1.0;
            Ok(())
        });
        let taken = turns.take().unwrap();
        let counted: f64 = taken.0[work.0].iter().map(|(done, _)| done).sum();
        // The rest was done to find out how often it has to be done.
        assert!(counted > 2.0 && counted < *done.borrow(), "{counted} of {}", done.borrow());
    }

    #[test]
    fn a_failure_ends_it() {
        let mut turns = Turns::new(ONCE);
        turns.add(1, || anyhow::bail!("broken"));
        assert!(turns.take().is_err());
    }

    #[test]
    fn limits_are_compared_round_by_round() {
        let own = Rates(vec![1.0, 8.0, 3.0]);
        let limit = Rates(vec![2.0, 10.0, 4.0]);
        let line = own.beside("x", (Unit::Operations, Clock::Wall), ("y", &limit));
        assert_eq!((line.figure, line.limit_figure), (3.0, 4.0));
        assert_eq!((line.least_ratio, line.ratio, line.greatest_ratio), (0.5, 0.75, 0.8));
    }

    #[test]
    fn one_after_the_other_is_the_harmonic_sum() {
        let both = Rates::harmonic(&[Rates(vec![2.0, 4.0]), Rates(vec![2.0, 12.0])]);
        assert_eq!(both, Rates(vec![1.0, 3.0]));
    }
}

//! How fast training is.

use std::collections::VecDeque;

/// Seconds of training that rates are taken over.
const WINDOW_SECONDS: f64 = 10.0;

/// What training has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) steps: u64,
    pub(super) samples: u64,
    /// Seconds that it took.
    pub(super) seconds: f64,
    /// Seconds of these that it waited for data.
    pub(super) waited: f64,
}

impl Totals {
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            samples: self.samples + other.samples,
            seconds: self.seconds + other.seconds,
            waited: self.waited + other.waited,
        }
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            steps: self.steps.saturating_sub(earlier.steps),
            samples: self.samples.saturating_sub(earlier.samples),
            seconds: (self.seconds - earlier.seconds).max(0.0),
            waited: (self.waited - earlier.waited).max(0.0),
        }
    }
}

/// How fast training has been of late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Samples learned from, per second of training.
    pub samples_per_second: f64,
    /// Steps per second of training.
    pub steps_per_second: f64,
    /// Share of the time that training waited for data.
    pub wait_share: f64,
}

/// The newest totals: those of the last [`WINDOW_SECONDS`] of training, and the one before them.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Totals>);

impl Window {
    pub(super) fn push(&mut self, totals: Totals) {
        if self.0.is_empty() {
            self.0.push_back(Totals::default());
        }
        self.0.push_back(totals);
        let begin = totals.seconds - WINDOW_SECONDS;
        while self.0.get(1).is_some_and(|next| next.seconds <= begin) {
            self.0.pop_front();
        }
    }

    pub(super) fn rates(&self) -> Option<Rates> {
        let more = self.0.back()?.since(self.0.front()?);
        (more.seconds > 0.0).then(|| Rates {
            samples_per_second: more.samples as f64 / more.seconds,
            steps_per_second: more.steps as f64 / more.seconds,
            wait_share: (more.waited / more.seconds).min(1.0),
        })
    }
}

//! What an epoch's learning takes: time and energy.

use std::time::{Duration, Instant};

use super::record::Timing;
use crate::checkpoint::Partial;
use crate::energy::{Energy, EnergyMeter};
use crate::stream::Loader;

/// Measures what an epoch's learning takes.
pub(super) struct Stopwatch<'a> {
    start: Instant,
    /// What former attempts took.
    former: Timing,
    /// For how long learning had stood still, of what counts for this epoch, when it began.
    stalled: Duration,
    waited: Duration,
    meter: Option<&'a EnergyMeter>,
    /// What is to be added to the meter's figures.
    energy: Energy,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn start(
        partial: &Partial,
        stalled: Duration,
        meter: Option<&'a EnergyMeter>,
    ) -> Self {
        let (former, waited) = (partial.timing, Duration::ZERO);
        let before = meter.map_or(Energy::default(), EnergyMeter::read);
        let spent = if partial.is_empty() { Energy::ZERO } else { former.energy };
        let energy = spent.since(&before);
        Self { start: Instant::now(), former, stalled, waited, meter, energy }
    }

    /// What it took up to now; of this, learning stood still for `stalled`.
    pub(super) fn read(&mut self, loader: &mut Loader, stalled: Duration) -> Timing {
        self.waited += loader.take_waited();
        let learned = self.start.elapsed().saturating_sub(stalled.saturating_sub(self.stalled));
        Timing {
            train_seconds: self.former.train_seconds + learned.as_secs_f64(),
            wait_seconds: self.former.wait_seconds + self.waited.as_secs_f64(),
            test_seconds: 0.0,
            stall_seconds: self.former.stall_seconds + stalled.as_secs_f64(),
            energy: self.meter.map_or(Energy::default(), EnergyMeter::read).plus(&self.energy),
        }
    }
}

//! How far the training of an epoch is.

use super::record::Losses;

/// What one pass over the samples has done so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Steps so far.
    pub steps: u64,
    /// Samples so far.
    pub samples: usize,
    /// Mean losses of these samples.
    pub losses: Losses,
    /// Mean loss of the samples since the last such report.
    pub recent: f64,
    /// Seconds so far.
    pub seconds: f64,
    /// Seconds of these that it waited for data.
    pub waited: f64,
}

//! What clients asked and were told, and when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// One operation of one client. Times are ticks of one clock that all clients share; an operation
/// that returned at a tick before another's `invoked` came before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// Whose it was; only for the reader.
    pub client: u32,
    /// When it was asked.
    pub invoked: u64,
    /// What was asked.
    pub input: I,
    /// What came of it.
    pub outcome: Outcome<O>,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<O> {
    /// It was answered.
    Returned {
        /// When.
        at: u64,
        /// With what.
        output: O,
    },
    /// No answer came: it may have happened, at any time after it was asked, or never.
    Unknown,
}

/// Gathers the operations of clients that run side by side.
#[derive(Debug)]
pub struct Recorder<I, O> {
    ticks: AtomicU64,
    operations: Mutex<Vec<Operation<I, O>>>,
}

impl<I, O> Default for Recorder<I, O> {
    fn default() -> Self {
        Self { ticks: AtomicU64::new(0), operations: Mutex::default() }
    }
}

impl<I, O> Recorder<I, O> {
    /// The next tick of the clock: later than all before. Take one right before an operation is
    /// asked, and one right after it was answered.
    pub fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Adds an operation that has ended.
    pub fn add(&self, operation: Operation<I, O>) {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    /// The history, in the order in which the operations were asked.
    pub fn finish(self) -> Vec<Operation<I, O>> {
        let mut all = self.operations.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.sort_by_key(|operation| operation.invoked);
        all
    }
}

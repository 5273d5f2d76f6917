//! A workload on a target: what there is to read, what was stored, and how operations are carried out.

use super::choose::{One, Ready};
use super::driver::Load;
use super::make::Objects;
use super::mix::Mix;
use crate::data::{Content, Dice, Epochs, Population, Sizes};
use crate::measure::{Done, Failure, Moved, Operation};
use crate::s3::{Exchange, Target};
use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// What is done.
#[derive(Debug, Clone)]
pub enum Workload {
    /// New objects are stored.
    Put,
    /// Objects are read.
    Get,
    /// Pieces of these lengths are read from anywhere in objects.
    Range(Sizes),
    /// Objects are asked after.
    Stat,
    /// Pages of so many names are listed, from anywhere on.
    List(u32),
    /// Objects are deleted, each once.
    Delete,
    /// All of that at random; pieces have these lengths, pages so many names.
    Mixed(Mix, Sizes, u32),
    /// New objects are stored in parts of so many bytes, so many at a time.
    Multipart(u64, usize),
    /// So many new objects are stored at once, so many at a time: a checkpoint.
    Burst(u64, usize),
    /// Tar shards are read whole, in another order each epoch.
    Shards,
    /// The samples of tar shards are read one by one, in another order each epoch.
    Samples,
}

/// A workload on a target.
#[derive(Debug)]
pub struct Work {
    pub(super) target: Arc<Target>,
    pub(super) workload: Workload,
    /// What was there before the run.
    pub(super) base: Objects,
    /// What the run stores.
    pub(super) fresh: Population,
    pub(super) next_fresh: AtomicU64,
    /// Fresh objects that were stored and not deleted.
    pub(super) stored: Mutex<VecDeque<u64>>,
    pub(super) next_deleted: AtomicU64,
    /// Shards, or samples, or objects, in their order.
    pub(super) epochs: Epochs,
    pub(super) position: AtomicU64,
    /// The shards, where shards are read.
    pub(super) shards: Vec<Content>,
    /// Their samples, where these are read: shard, offset, length.
    pub(super) samples: Vec<(usize, u64, u64)>,
    pub(super) check: bool,
    pub(super) retries: usize,
}

impl Work {
    /// Puts a workload together. `fresh` names what the run stores.
    pub fn new(
        target: Arc<Target>,
        workload: Workload,
        base: Objects,
        fresh: Population,
        (check, retries, seed): (bool, usize, u64),
    ) -> Self {
        let shards: Vec<Content> = match workload {
            Workload::Shards | Workload::Samples => {
                (0..base.count).map(|shard| base.population.content(shard)).collect()
            }
            _ => Vec::new(),
        };
        let pieces = |(shard, content): (usize, &Content)| {
            content.samples().iter().map(|s| (shard, s.offset, s.len)).collect::<Vec<_>>()
        };
        let samples: Vec<_> = match workload {
            Workload::Samples => shards.iter().enumerate().flat_map(pieces).collect(),
            _ => Vec::new(),
        };
        Self {
            epochs: Epochs::new(seed, samples.len().max(shards.len())),
            shards,
            position: AtomicU64::new(0),
            next_fresh: AtomicU64::new(0),
            next_deleted: AtomicU64::new(0),
            stored: Mutex::default(),
            target,
            workload,
            base,
            fresh,
            samples,
            check,
            retries,
        }
    }

    async fn perform_one(&self, one: One) -> Done {
        let One { operation, request, reader, size, stores, creates } = one;
        let exchange = Exchange::run(&self.target, request, reader, self.retries).await;
        let result = exchange.result.and_then(|answer| {
            let told = answer.headers.get(http::header::CONTENT_LENGTH);
            let told = told.and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
            if size.is_some() && size != told {
                return Err(Failure::Corrupt);
            }
            Ok(match operation {
                Operation::Put => Moved { bytes: stores, first_byte: None },
                _ => answer.moved,
            })
        });
        if let (Ok(_), Some(number)) = (&result, creates) {
            self.stored.lock().unwrap_or_else(PoisonError::into_inner).push_back(number);
        }
        Done { operation, result, retried: exchange.retried, parts: vec![] }
    }
}

impl Load for Work {
    type Ready = Ready;

    async fn prepare(&self, dice: &mut Dice) -> Option<Ready> {
        self.next(dice).await
    }

    async fn perform(&self, ready: Ready) -> Done {
        match ready {
            Ready::One(one) => self.perform_one(*one).await,
            Ready::Multipart { key, parts, at_once } => self.upload(&key, parts, at_once).await,
            Ready::Burst { first, count, at_once } => self.burst(first, count, at_once).await,
            Ready::Unmakeable(operation) => {
                Done { operation, result: Err(Failure::Request), retried: vec![], parts: vec![] }
            }
        }
    }
}

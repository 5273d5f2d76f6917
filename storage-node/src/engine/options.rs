//! A node's bounds.

use super::{CompactOptions, ScrubOptions};
use crate::clock::{Clock, SystemClock};
use std::sync::Arc;
use std::time::Duration;

/// A node's bounds.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Bytes after which a new volume is begun.
    pub volume_size: u64,
    /// Bytes of the file system that are left free.
    pub reserve_bytes: u64,
    /// Requests that may wait for the writer.
    pub queue: usize,
    /// Bytes of payload that may wait for the writer.
    pub queue_bytes: usize,
    /// How long a write waits for its place in the queue before it is answered `Busy`.
    pub queue_patience: Duration,
    /// Reads at a time.
    pub reads: usize,
    /// How fast all that is stored is verified.
    pub scrub: ScrubOptions,
    /// When and how fast volumes are compacted.
    pub compact: CompactOptions,
    /// How often the disks are asked for their SMART figures; zero is never. Only a node that is
    /// opened in a directory has disks to ask.
    pub smart_every: Duration,
    /// The clock of what runs in the background.
    pub clock: Arc<dyn Clock>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            volume_size: 1 << 30,
            reserve_bytes: 64 << 20,
            queue: 1024,
            queue_bytes: 64 << 20,
            queue_patience: Duration::from_secs(5),
            reads: 64,
            scrub: ScrubOptions::default(),
            compact: CompactOptions::default(),
            smart_every: Duration::from_secs(3600),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

impl NodeOptions {
    /// Bytes that compaction leaves free: it may use half of the reserve, since it needs some space
    /// to make more.
    pub(super) fn reserve_for_moves(&self) -> u64 {
        self.reserve_bytes / 2
    }
}

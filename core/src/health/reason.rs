//! Why a node is not without fault, and how much each reason weighs.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done to the files of a node's volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Reading for a request.
    Read,
    /// Reading to verify.
    Scrub,
    /// Writing.
    Write,
    /// Making what was written durable.
    Sync,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Scrub, Self::Write, Self::Sync];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Scrub => "scrub read",
            Self::Write => "write",
            Self::Sync => "fsync",
        })
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are what their names say; `device` is the disk's name
pub enum Reason {
    /// The disk's own assessment is that it fails.
    SmartFailing { device: String },
    /// Sectors were replaced by spare ones.
    ReallocatedSectors { device: String, sectors: u64 },
    /// Sectors could not be read.
    PendingSectors { device: String, sectors: u64 },
    /// Sectors, or reads, could not be corrected.
    UncorrectableSectors { device: String, sectors: u64 },
    /// The medium had errors that could not be corrected.
    MediaErrors { device: String, errors: u64 },
    /// The disk warns, by these bits of NVMe's critical warning.
    CriticalWarning { device: String, bits: u64 },
    /// So many percent of the rated writes are used up.
    WornOut { device: String, percent: u64 },
    /// The disk is hot.
    Hot { device: String, celsius: u64 },
    /// Operations failed.
    ErrorRate { operation: Operation, errors: u64, operations: u64 },
    /// Operations are under way, and none has ended for a while.
    Stalled { operation: Operation, seconds: u64 },
    /// Shards were found damaged.
    CorruptShards { shards: u64 },
    /// Operations lately take so many times as long as they did before.
    LatencyDrift { operation: Operation, times: u64 },
    /// Operations lately take so many times as long as on the median of the peers.
    SlowerThanPeers { operation: Operation, times: u64 },
    /// The node takes no writes for lack of space.
    DiskFull,
    /// At the rate of late the disk will be full in so many hours.
    DiskFullSoon { hours: u64 },
}

/// NVMe's critical warning: the spare is used up (bit 0), the device is degraded (2), or it can only
/// be read (3). The others are warmth (1) and the backup of volatile memory (4).
const GRAVE_WARNINGS: u64 = 0b1101;

impl Reason {
    /// Points off the score. Grows with what is counted.
    pub fn penalty(&self) -> u32 {
        match self {
            Self::SmartFailing { .. } => 100,
            Self::ReallocatedSectors { sectors: n, .. } => step(*n, [(1, 15), (10, 30), (100, 60)]),
            Self::PendingSectors { sectors: n, .. } | Self::MediaErrors { errors: n, .. } => {
                step(*n, [(1, 25), (10, 45), (100, 70)])
            }
            Self::UncorrectableSectors { sectors: n, .. } => {
                step(*n, [(1, 30), (10, 65), (100, 80)])
            }
            Self::CriticalWarning { bits, .. } if bits & GRAVE_WARNINGS != 0 => 80,
            Self::CriticalWarning { .. } => 30,
            Self::WornOut { percent, .. } => step(*percent, [(90, 10), (100, 25), (150, 65)]),
            Self::Hot { celsius, .. } => step(*celsius, [(60, 10), (70, 25), (80, 40)]),
            Self::ErrorRate { errors, operations, .. } => {
                let per_million = u128::from(*errors) * 1_000_000 / u128::from(*operations).max(1);
                let per_million = u64::try_from(per_million).unwrap_or(u64::MAX);
                25.max(step(per_million, [(100, 45), (1_000, 65), (10_000, 80)]))
            }
            Self::Stalled { .. } => 80,
            Self::CorruptShards { shards } => step(*shards, [(1, 20), (10, 45), (100, 70)]),
            Self::LatencyDrift { times, .. } => step(*times, [(3, 10), (10, 25), (30, 35)]),
            Self::SlowerThanPeers { times, .. } => step(*times, [(3, 10), (10, 50), (30, 65)]),
            Self::DiskFull => 40,
            Self::DiskFullSoon { hours } => match hours {
                0..4 => 35,
                4..24 => 25,
                _ => 10,
            },
        }
    }

    /// Whether it is about how full the node is, not about how well: draining it for that would only
    /// fill the others.
    pub fn is_about_space(&self) -> bool {
        matches!(self, Self::DiskFull | Self::DiskFullSoon { .. })
    }
}

/// The penalty of the highest step that `n` reaches; 0 below the first.
fn step(n: u64, steps: [(u64, u32); 3]) -> u32 {
    steps.iter().rev().find(|(from, _)| n >= *from).map_or(0, |(_, penalty)| *penalty)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmartFailing { device } => write!(f, "disk {device} says that it is failing"),
            Self::ReallocatedSectors { device, sectors } => {
                write!(f, "disk {device} has replaced {sectors} sectors")
            }
            Self::PendingSectors { device, sectors } => {
                write!(f, "disk {device} can't read {sectors} sectors")
            }
            Self::UncorrectableSectors { device, sectors } => {
                write!(f, "disk {device} could not correct {sectors} sectors")
            }
            Self::MediaErrors { device, errors } => {
                write!(f, "disk {device} had {errors} errors of its medium")
            }
            Self::CriticalWarning { device, bits } => {
                write!(f, "disk {device} gives the critical warning {bits:#x}")
            }
            Self::WornOut { device, percent } => {
                write!(f, "disk {device} has used up {percent} % of its rated writes")
            }
            Self::Hot { device, celsius } => write!(f, "disk {device} is at {celsius} °C"),
            Self::ErrorRate { operation, errors, operations } => {
                write!(f, "{errors} of {operations} {operation}s failed")
            }
            Self::Stalled { operation, seconds } => {
                write!(f, "no {operation} has ended for {seconds} s, though some are under way")
            }
            Self::CorruptShards { shards } => write!(f, "{shards} shards were found damaged"),
            Self::LatencyDrift { operation, times } => {
                write!(f, "{operation}s take {times} times as long as before")
            }
            Self::SlowerThanPeers { operation, times } => {
                write!(f, "{operation}s take {times} times as long as on other nodes")
            }
            Self::DiskFull => f.write_str("the disk is full"),
            Self::DiskFullSoon { hours } => write!(f, "the disk will be full in {hours} hours"),
        }
    }
}

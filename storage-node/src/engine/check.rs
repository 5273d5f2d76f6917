//! Verifying all that is stored, without the index.

use super::OpenError;
use crate::disk::Disk;
use crate::volume::record::{Kind, Place};
use crate::volume::{Found, HEADER_LEN, HeaderState, Scanner, VolumeNo, examine, read_header};
use coffer_core::ids::NodeId;
use coffer_core::shard::ShardKey;
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// What a check found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Volumes read.
    pub volumes: u64,
    /// Live shards.
    pub shards: u64,
    /// Bytes of their payloads.
    pub live_bytes: u64,
    /// Live shards whose payload is damaged.
    pub corrupt_shards: u64,
    /// Stretches of bytes where no record can be read; what is torn at the very end counts too.
    pub damaged_stretches: u64,
}

impl CheckReport {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.corrupt_shards == 0 && self.damaged_stretches == 0
    }
}

/// Reads every byte of every volume and verifies it.
///
/// # Errors
/// [`OpenError`] when a volume can't be read or is another node's.
pub fn check(node: NodeId, disk: &dyn Disk) -> Result<CheckReport, OpenError> {
    let mut report = CheckReport::default();
    let mut live: HashMap<ShardKey, (u64, bool)> = HashMap::new();
    let names = disk.list().map_err(OpenError::io(Path::new("volumes")))?;
    let mut numbers: Vec<VolumeNo> = names.iter().filter_map(|n| VolumeNo::parse(n)).collect();
    numbers.sort_unstable();
    for no in numbers {
        let name = no.file_name();
        let path = Path::new(&name);
        let file = disk.open(&name).map_err(OpenError::io(path))?;
        let header = read_header(&*file, node, no).map_err(OpenError::io(path))??;
        report.volumes += 1;
        report.damaged_stretches += u64::from(header == HeaderState::Damaged);
        let mut scanner =
            Scanner::new(&*file, node, no, HEADER_LEN).map_err(OpenError::io(path))?;
        while let Some(found) = scanner.next().map_err(OpenError::io(path))? {
            match found {
                Found::Bad { .. } => report.damaged_stretches += 1,
                Found::Record { offset, record } => match record.kind {
                    Kind::Shard { key, info } => {
                        let place = Place { node, volume: no, offset };
                        let flaw =
                            examine(&*file, &place, &record.kind).map_err(OpenError::io(path))?;
                        live.insert(key, (u64::from(info.len), flaw.is_some()));
                    }
                    Kind::Tombstone { key, .. } => drop(live.remove(&key)),
                    Kind::Mark => {}
                },
            }
        }
    }
    for (bytes, corrupt) in live.into_values() {
        report.shards += 1;
        report.live_bytes += bytes;
        report.corrupt_shards += u64::from(corrupt);
    }
    Ok(report)
}

//! What a disk says of itself.

use serde::{Deserialize, Serialize};

/// What a disk says of itself, by SMART. Raw figures; [`crate::health`] judges them. `None` where the
/// disk has no such figure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskReport {
    /// The device's name on the node, such as `sda`.
    pub device: String,
    /// The maker's name for it.
    pub model: String,
    /// Whether the disk's own assessment is good.
    pub passed: Option<bool>,
    /// Sectors that were replaced by spare ones.
    pub reallocated_sectors: Option<u64>,
    /// Sectors that could not be read and wait to be written again.
    pub pending_sectors: Option<u64>,
    /// Sectors, or reads, that could not be corrected.
    pub uncorrectable_sectors: Option<u64>,
    /// Errors of the medium that could not be corrected (NVMe, SAS).
    pub media_errors: Option<u64>,
    /// The bits of NVMe's critical warning.
    pub critical_warning: Option<u64>,
    /// How much of the rated writes is used up, in percent; may go beyond 100 (NVMe).
    pub percentage_used: Option<u64>,
    /// Temperature in degrees Celsius.
    pub temperature_celsius: Option<u64>,
    /// Hours that it has run.
    pub power_on_hours: Option<u64>,
}

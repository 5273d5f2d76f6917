//! What the disks under a node's volumes say of themselves, read from time to time.
//!
//! * [`device`]: which disks are under a directory
//! * [`smartctl`]: asking them, by smartmontools' `smartctl` where it is installed
//! * [`smart`]: what its answer means
//!
//! Only raw figures are gathered here; [`coffer_core::health`] judges them.

mod device;
pub mod smart;
mod smartctl;

use crate::clock::{Clock, Stop};
use coffer_core::shard::DiskReport;
use smartctl::AskError;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Disks that are asked at most; more are hardly ever under one directory.
const MAX_DISKS: usize = 16;

/// The last report of each disk.
#[derive(Debug, Default)]
pub(crate) struct Disks(Mutex<Vec<DiskReport>>);

impl Disks {
    pub(crate) fn reports(&self) -> Vec<DiskReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, reports: Vec<DiskReport>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reports;
    }
}

/// Asks the disks under `dir` now and then every `every`, until `stop` is raised.
pub(crate) fn watch(dir: &Path, every: Duration, clock: &dyn Clock, stop: &Stop, disks: &Disks) {
    let mut told = false;
    while !stop.is_raised() {
        let names = device::disks_under(dir, Path::new("/sys")).unwrap_or_else(|error| {
            tracing::debug!(%error, dir = %dir.display(), "its disks are not known");
            Vec::new()
        });
        let mut reports = Vec::new();
        for name in names.iter().take(MAX_DISKS) {
            match smartctl::ask("smartctl".as_ref(), name, stop) {
                Ok(answer) => reports.extend(smart::parse(name, &answer)),
                // Said once: it is the usual case in containers.
                Err(AskError::NotInstalled) if !told => {
                    told = true;
                    tracing::info!("smartctl is not installed: disks are judged without SMART");
                }
                Err(AskError::NotInstalled) => {}
                Err(error) => {
                    tracing::warn!(disk = %name, %error, "its SMART figures were not read")
                }
            }
        }
        // A disk that sleeps gives no figures: its last ones stay.
        let last = disks.reports().into_iter();
        let kept = last.filter(|old| names.contains(&old.device));
        let kept: Vec<_> =
            kept.filter(|old| reports.iter().all(|r| r.device != old.device)).collect();
        reports.extend(kept);
        disks.set(reports);
        clock.wait(every, stop);
    }
}

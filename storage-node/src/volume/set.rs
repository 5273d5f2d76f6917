//! The open volumes of a node.

use super::VolumeNo;
use crate::disk::DiskFile;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// All volumes, open for reading; the writer adds to it.
#[derive(Debug, Default)]
pub(crate) struct VolumeSet(RwLock<Set>);

#[derive(Debug, Default)]
struct Set {
    files: BTreeMap<VolumeNo, Arc<dyn DiskFile>>,
    /// Volumes that may hold records that were never acknowledged and that the index does not know:
    /// those that no mark ends.
    doubtful: BTreeSet<VolumeNo>,
}

impl VolumeSet {
    fn read(&self) -> RwLockReadGuard<'_, Set> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Set> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, no: VolumeNo, file: Arc<dyn DiskFile>) {
        self.write().files.insert(no, file);
    }

    pub(crate) fn get(&self, no: VolumeNo) -> Option<Arc<dyn DiskFile>> {
        self.read().files.get(&no).cloned()
    }

    /// Whether there is, or after a crash may be again, such a volume.
    pub(crate) fn exists(&self, no: VolumeNo) -> bool {
        self.read().files.contains_key(&no)
    }

    /// Whether there is any volume before `no`.
    pub(crate) fn any_before(&self, no: VolumeNo) -> bool {
        self.read().files.range(..no).next().is_some()
    }

    /// Forgets a volume that is gone for good. Whoever is reading it may go on.
    pub(crate) fn remove(&self, no: VolumeNo) {
        let mut set = self.write();
        set.files.remove(&no);
        set.doubtful.remove(&no);
    }

    /// All volumes in order of their numbers.
    pub(crate) fn all(&self) -> Vec<(VolumeNo, Arc<dyn DiskFile>)> {
        self.read().files.iter().map(|(no, file)| (*no, file.clone())).collect()
    }

    /// Notes that a volume may hold records that were never acknowledged.
    pub(crate) fn doubt(&self, no: VolumeNo) {
        self.write().doubtful.insert(no);
    }

    /// Whether `no` may hold such records.
    pub(crate) fn is_doubtful(&self, no: VolumeNo) -> bool {
        self.read().doubtful.contains(&no)
    }

    /// Whether any volume but `no` may hold such records.
    pub(crate) fn doubts_beside(&self, no: Option<VolumeNo>) -> bool {
        self.read().doubtful.iter().any(|doubtful| Some(*doubtful) != no)
    }

    /// Bytes that all volumes take on the medium.
    pub(crate) fn allocated(&self) -> io::Result<u64> {
        self.all().iter().map(|(_, file)| file.allocated()).sum()
    }
}

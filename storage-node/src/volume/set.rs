//! The open volumes of a node.

use super::VolumeNo;
use crate::disk::DiskFile;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

/// All volumes, open for reading; the writer adds to it.
#[derive(Debug, Default)]
pub(crate) struct VolumeSet(RwLock<BTreeMap<VolumeNo, Arc<dyn DiskFile>>>);

impl VolumeSet {
    pub(crate) fn insert(&self, no: VolumeNo, file: Arc<dyn DiskFile>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(no, file);
    }

    pub(crate) fn get(&self, no: VolumeNo) -> Option<Arc<dyn DiskFile>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&no).cloned()
    }

    /// All volumes in order of their numbers.
    pub(crate) fn all(&self) -> Vec<(VolumeNo, Arc<dyn DiskFile>)> {
        let set = self.0.read().unwrap_or_else(PoisonError::into_inner);
        set.iter().map(|(no, file)| (*no, file.clone())).collect()
    }

    /// Bytes that all volumes take on the medium.
    pub(crate) fn allocated(&self) -> io::Result<u64> {
        self.all().iter().map(|(_, file)| file.allocated()).sum()
    }
}

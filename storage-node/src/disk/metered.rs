//! [`Disk`] that counts and times what another one does.

use super::{Disk, DiskFile, is_full};
use coffer_core::shard::{IoStat, Latencies, OpStat};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// Counters that all files of a disk share.
#[derive(Debug, Default)]
pub struct IoMeter {
    reads: Meter,
    scrub_reads: Meter,
    writes: Meter,
    syncs: Meter,
}

#[derive(Debug, Default)]
struct Meter {
    counts: [AtomicU64; Latencies::BUCKETS],
    total_us: AtomicU64,
    errors: AtomicU64,
    in_flight: AtomicU32,
}

impl IoMeter {
    /// Whether the disk has something to do for others than the scrub.
    pub fn is_busy(&self) -> bool {
        [&self.reads, &self.writes, &self.syncs]
            .iter()
            .any(|meter| meter.in_flight.load(Ordering::Relaxed) > 0)
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> IoStat {
        IoStat {
            reads: self.reads.snapshot(),
            scrub_reads: self.scrub_reads.snapshot(),
            writes: self.writes.snapshot(),
            syncs: self.syncs.snapshot(),
        }
    }
}

impl Meter {
    fn time<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let outcome = operation();
        let us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.counts[Latencies::bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
        if outcome.as_ref().is_err_and(|e| !is_full(e)) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn snapshot(&self) -> OpStat {
        let mut counts = [0; Latencies::BUCKETS];
        for (count, counter) in counts.iter_mut().zip(&self.counts) {
            *count = counter.load(Ordering::Relaxed);
        }
        OpStat {
            latencies: Latencies { counts, total_us: self.total_us.load(Ordering::Relaxed) },
            errors: self.errors.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }
}

/// For whom a disk reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Requests,
    Scrub,
}

/// A disk whose reads, writes and syncs are metered.
#[derive(Debug)]
pub struct MeteredDisk {
    disk: Arc<dyn Disk>,
    meter: Arc<IoMeter>,
    reader: Reader,
}

impl MeteredDisk {
    /// Meters `disk` from now on.
    pub fn new(disk: Arc<dyn Disk>, meter: Arc<IoMeter>) -> Self {
        Self { disk, meter, reader: Reader::Requests }
    }

    /// The same, with reads counted as the scrub's: they are longer, and would hide how long
    /// requests take.
    pub fn for_scrub(disk: Arc<dyn Disk>, meter: Arc<IoMeter>) -> Self {
        Self { disk, meter, reader: Reader::Scrub }
    }

    fn metered(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(MeteredFile { file, meter: self.meter.clone(), reader: self.reader })
    }
}

impl Disk for MeteredDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name).map(|file| self.metered(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.metered(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_space(&self) -> io::Result<u64> {
        self.disk.free_space()
    }

    fn total_space(&self) -> io::Result<u64> {
        self.disk.total_space()
    }
}

#[derive(Debug)]
struct MeteredFile {
    file: Arc<dyn DiskFile>,
    meter: Arc<IoMeter>,
    reader: Reader,
}

impl MeteredFile {
    fn reads(&self) -> &Meter {
        match self.reader {
            Reader::Requests => &self.meter.reads,
            Reader::Scrub => &self.meter.scrub_reads,
        }
    }
}

impl DiskFile for MeteredFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads().time(|| self.file.read_at(buf, offset))
    }

    fn read_new(&self, len: usize, offset: u64) -> io::Result<Vec<u8>> {
        self.reads().time(|| self.file.read_new(len, offset))
    }

    fn is_at_hand(&self, len: usize, offset: u64) -> bool {
        self.file.is_at_hand(len, offset)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.meter.writes.time(|| self.file.write_at(parts, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.meter.syncs.time(|| self.file.sync_data())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.punch_hole(offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FaultyDisk;

    #[test]
    fn operations_and_failures_are_counted_and_a_full_disk_is_no_failure() {
        let (faulty, meter) = (FaultyDisk::new(), Arc::new(IoMeter::default()));
        let disk = MeteredDisk::new(Arc::new(faulty.clone()), meter.clone());
        let file = disk.create("a").unwrap();
        file.write_at(&[b"1234"], 0).unwrap();
        file.sync_data().unwrap();
        faulty.fail_syncs(1, 0);
        assert!(file.sync_data().is_err());
        faulty.set_capacity(Some(4));
        assert!(file.write_at(&[b"5678"], 4).is_err());
        file.read_at(&mut [0; 4], 0).unwrap();
        faulty.fail_reads("a", true);
        assert!(file.read_at(&mut [0; 4], 0).is_err());
        let stat = meter.snapshot();
        let seen = |op: &OpStat| (op.latencies.count(), op.errors, op.in_flight);
        assert_eq!(seen(&stat.writes), (2, 0, 0));
        assert_eq!(seen(&stat.syncs), (2, 1, 0));
        assert_eq!(seen(&stat.reads), (2, 1, 0));
        let scrub = MeteredDisk::for_scrub(Arc::new(faulty), meter.clone());
        assert!(scrub.open("a").unwrap().read_at(&mut [0; 4], 0).is_err());
        assert_eq!(seen(&meter.snapshot().scrub_reads), (1, 1, 0));
        assert_eq!(meter.snapshot().reads, stat.reads);
    }
}

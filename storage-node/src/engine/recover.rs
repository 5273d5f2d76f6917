//! Opening: the volumes are checked and what the index lacks is replayed into it.

use super::Active;
use super::ledger::{Ledger, Totals};
use crate::disk::{Disk, DiskFile};
use crate::index::{Index, IndexError, Watermark};
use crate::volume::record::{self, HEAD_LEN, Kind, Place, Record};
use crate::volume::{
    Found, HEADER_LEN, HeaderError, HeaderState, Scanner, VolumeNo, VolumeSet, encode_header,
    examine, read_header,
};
use coffer_core::ids::NodeId;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is written again at a time, in bytes.
const PAGE: usize = 4096;

/// Entries that are put into the index at a time.
const BATCH: usize = 4096;

/// Why a node can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another process; stop it, or use another directory", .0.display())]
    InUse(PathBuf),
    /// A file can't be used.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A volume is another node's, or of another release.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Not even a new index can be made.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl OpenError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// What opening found.
pub(super) struct Recovered {
    pub(super) totals: Totals,
    pub(super) active: Active,
    /// Stretches of damaged bytes where durable records were.
    pub(super) damaged_stretches: u64,
}

/// Opens all volumes, replays them into the index, and finds or makes the one to write to.
pub(super) fn recover(
    node: NodeId,
    disk: &dyn Disk,
    volumes: &VolumeSet,
    index: &dyn Index,
) -> Result<Recovered, OpenError> {
    let whole = Path::new("volumes");
    let mut numbers: Vec<VolumeNo> = disk
        .list()
        .map_err(OpenError::io(whole))?
        .iter()
        .filter_map(|name| VolumeNo::parse(name))
        .collect();
    numbers.sort_unstable();
    // What is gone must not come back once that was relied on.
    disk.sync_dir().map_err(OpenError::io(whole))?;
    let mut headers_sound = true;
    for no in &numbers {
        let name = no.file_name();
        let file = disk.open(&name).map_err(OpenError::io(Path::new(&name)))?;
        let state = read_header(&*file, node, *no).map_err(OpenError::io(Path::new(&name)))??;
        headers_sound = state == HeaderState::Valid;
        if !headers_sound {
            tracing::warn!(volume = %no, "the volume's header is damaged; its records are read all the same");
        }
        volumes.insert(*no, file);
    }
    let mut replay = Replay::new(node, volumes, index)?;
    let mut tail = Tail::Clean { end: HEADER_LEN };
    for no in &numbers {
        let Some(file) = volumes.get(*no) else { continue };
        tail = replay.volume(*no, &*file).map_err(OpenError::io(Path::new(&no.file_name())))?;
    }
    let active = match (numbers.last(), tail) {
        (Some(no), Tail::Clean { end }) if headers_sound => {
            let name = no.file_name();
            let file = volumes.get(*no).ok_or_else(|| OpenError::Io {
                path: name.clone().into(),
                source: io::ErrorKind::NotFound.into(),
            })?;
            // What follows the last record was never acknowledged.
            let settle = || -> io::Result<()> {
                if file.size()? > end {
                    file.set_len(end)?;
                }
                file.sync_data()
            };
            settle().map_err(OpenError::io(Path::new(&name)))?;
            Active { no: *no, file, end }
        }
        (last, _) => {
            let no = last.map_or(VolumeNo(1), |no| no.next());
            new_volume(node, disk, volumes, no).map_err(OpenError::io(whole))?
        }
    };
    replay.finish(active.no, active.end)?;
    for no in numbers.iter().filter(|no| **no != active.no) {
        let ended = volumes.get(*no).map(|file| ends_with_mark(&*file, node, *no));
        if !ended.transpose().map_err(OpenError::io(whole))?.unwrap_or_default() {
            volumes.doubt(*no);
        }
    }
    Ok(Recovered { totals: replay.totals, active, damaged_stretches: replay.damaged_stretches })
}

/// Makes a volume that is durable, name and all, before it takes records. `no` is new: a file of
/// that name can only be what an attempt that failed has left.
pub(super) fn new_volume(
    node: NodeId,
    disk: &dyn Disk,
    volumes: &VolumeSet,
    no: VolumeNo,
) -> io::Result<Active> {
    let file = match disk.create(&no.file_name()) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => disk.open(&no.file_name())?,
        created => created?,
    };
    if file.size()? > HEADER_LEN {
        return Err(io::Error::other(format!("{} holds data already", no.file_name())));
    }
    file.write_at(&[&encode_header(node, no)], 0)?;
    file.sync_data()?;
    disk.sync_dir()?;
    volumes.insert(no, file.clone());
    Ok(Active { no, file, end: HEADER_LEN })
}

/// Makes what is there from `from` on durable: it is served from now on. A sync alone would not do:
/// where one has failed in an earlier run, reads show what never reached the medium, and later syncs
/// pass it over. Pages of zeros are left out, so that holes take no space.
fn write_again(file: &dyn DiskFile, from: u64) -> io::Result<()> {
    let end = file.size()?;
    let mut at = from;
    let mut page = [0; PAGE];
    while at < end {
        let wanted = PAGE - usize::try_from(at % PAGE as u64).unwrap_or(0);
        let n = file.read_at(&mut page[..wanted], at)?;
        if n == 0 {
            break;
        }
        if page[..n].iter().any(|byte| *byte != 0) {
            file.write_at(&[&page[..n]], at)?;
        }
        at += n as u64;
    }
    file.sync_data()
}

/// Whether the index has to know of it.
fn says_something(found: &Found) -> bool {
    matches!(found, Found::Record { record, .. } if record.kind != Kind::Mark)
}

/// Whether a volume was ended in good order, by a mark that vouches for all before it.
fn ends_with_mark(file: &dyn DiskFile, node: NodeId, volume: VolumeNo) -> io::Result<bool> {
    let Some(offset) = file.size()?.checked_sub(HEAD_LEN as u64) else { return Ok(false) };
    let mut head = [0; HEAD_LEN];
    let n = file.read_at(&mut head, offset)?;
    let found = record::verify(&head[..n], &Place { node, volume, offset });
    Ok(found.is_ok_and(|(record, _)| record.kind == Kind::Mark && record.synced == offset))
}

/// The end of a volume.
enum Tail {
    /// Records can be added at `end`.
    Clean { end: u64 },
    /// Torn bytes lie among valid records.
    Torn,
}

/// A volume that is being replayed.
struct Walk<'a> {
    no: VolumeNo,
    file: &'a dyn DiskFile,
    /// All before this was durable, as the records read so far tell.
    durable: u64,
    /// Where the last record ends.
    end: u64,
    /// Whether torn bytes follow it.
    torn: bool,
}

struct Replay<'a> {
    node: NodeId,
    index: &'a dyn Index,
    volumes: &'a VolumeSet,
    totals: Totals,
    ledger: Ledger<'a>,
    damaged_stretches: u64,
}

impl<'a> Replay<'a> {
    /// Goes on where the index ends, or begins anew if the index does not fit the volumes.
    fn new(node: NodeId, volumes: &'a VolumeSet, index: &'a dyn Index) -> Result<Self, OpenError> {
        let fits = |w: &Watermark| {
            let file: Option<Arc<dyn DiskFile>> = volumes.get(VolumeNo(w.volume));
            file.and_then(|f| f.size().ok()).is_some_and(|size| size >= w.offset)
        };
        let watermark = match index.watermark() {
            Ok(Some(watermark)) if fits(&watermark) => watermark,
            other => {
                if other != Ok(None) {
                    tracing::warn!(found = ?other, "the index does not fit the volumes and is built anew");
                }
                index.clear()?;
                Watermark::default()
            }
        };
        let totals = Totals::new(watermark, index.usage()?, volumes);
        let ledger = Ledger::new(index, volumes, watermark);
        Ok(Self { node, index, volumes, totals, ledger, damaged_stretches: 0 })
    }

    fn volume(&mut self, no: VolumeNo, file: &dyn DiskFile) -> io::Result<Tail> {
        let watermark = self.ledger.watermark;
        if no.0 < watermark.volume {
            return Ok(Tail::Clean { end: file.size()? });
        }
        let from = if no.0 == watermark.volume { watermark.offset } else { HEADER_LEN };
        let mut scanner = Scanner::new(file, self.node, no, from)?;
        let mut walk = Walk { no, file, durable: from, end: from.max(HEADER_LEN), torn: false };
        let mut torn_before_end = false;
        // What no later record has vouched for yet: about as much as shared one fsync.
        let mut waiting = VecDeque::new();
        loop {
            let next = scanner.next()?;
            if let Some(Found::Record { record, .. }) = next {
                walk.durable = walk.durable.max(record.synced);
            }
            let ended = next.is_none();
            waiting.extend(next);
            if ended && waiting.iter().any(says_something) {
                write_again(file, walk.durable)?;
            }
            while let Some(found) = waiting.pop_front_if(|f| ended || f.start() < walk.durable) {
                torn_before_end |= self.found(&mut walk, found)?;
            }
            if ended {
                break;
            }
        }
        let Walk { end, torn, .. } = walk;
        if torn {
            tracing::info!(volume = %no, end, "what was being written at a crash or failure is left out");
        }
        Ok(if torn_before_end { Tail::Torn } else { Tail::Clean { end } })
    }

    /// Replays what was found; true for a record that follows torn bytes.
    fn found(&mut self, walk: &mut Walk<'_>, found: Found) -> io::Result<bool> {
        let vouched = found.start() < walk.durable;
        match found {
            Found::Record { offset, record } => {
                let place = Place { node: self.node, volume: walk.no, offset };
                // The payload of a record that was durable is for scrub to verify.
                if !vouched && examine(walk.file, &place, &record.kind)?.is_some() {
                    walk.torn = true;
                    return Ok(false);
                }
                self.record(&place, record)?;
                walk.end = offset + record.total_len();
                Ok(std::mem::take(&mut walk.torn))
            }
            Found::Bad { start, end } if vouched => {
                self.damaged_stretches += 1;
                tracing::error!(volume = %walk.no, start, end, "damaged bytes where records were");
                walk.end = end.next_multiple_of(crate::volume::record::ALIGN);
                Ok(false)
            }
            Found::Bad { .. } => {
                walk.torn = true;
                Ok(false)
            }
        }
    }

    fn record(&mut self, place: &Place, record: Record) -> io::Result<()> {
        let ledger = &mut self.ledger;
        match record.kind {
            Kind::Shard { key, info } => ledger.put(key, place.volume, place.offset, info),
            Kind::Tombstone { key, .. } => ledger.delete(key, place.volume),
            Kind::Mark => Ok(()),
        }
        .map_err(io::Error::other)?;
        ledger.watermark.volume = place.volume.0;
        ledger.watermark.offset = place.offset + record.total_len();
        ledger.watermark.next_seq = ledger.watermark.next_seq.max(record.seq.saturating_add(1));
        if ledger.len() >= BATCH {
            self.apply().map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn apply(&mut self) -> Result<(), IndexError> {
        let next = Ledger::new(self.index, self.volumes, self.ledger.watermark);
        std::mem::replace(&mut self.ledger, next).apply(&self.totals)?;
        Ok(())
    }

    fn finish(&mut self, no: VolumeNo, end: u64) -> Result<(), IndexError> {
        self.ledger.watermark.volume = no.0;
        self.ledger.watermark.offset = end;
        self.apply()
    }
}

//! Opening: the volumes are checked and what the index lacks is replayed into it.

use super::Active;
use crate::disk::{Disk, DiskFile};
use crate::index::{Change, Index, IndexError, Location, Watermark};
use crate::volume::record::{Kind, Place, Record};
use crate::volume::{
    Found, HEADER_LEN, HeaderError, HeaderState, Scanner, VolumeNo, VolumeSet, encode_header,
    examine, read_header,
};
use coffer_core::ids::NodeId;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    pub(super) watermark: Watermark,
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
            // What was found is served from now on: it must not be lost any more. What follows the
            // last record was never acknowledged.
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
            if let Some(file) = last.and_then(|no| volumes.get(*no)) {
                file.sync_data().map_err(OpenError::io(whole))?;
            }
            let no = last.map_or(VolumeNo(1), |no| no.next());
            new_volume(node, disk, volumes, no).map_err(OpenError::io(whole))?
        }
    };
    replay.finish(active.no, active.end)?;
    Ok(Recovered {
        watermark: replay.watermark,
        active,
        damaged_stretches: replay.damaged_stretches,
    })
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
    watermark: Watermark,
    changes: Vec<Change>,
    damaged_stretches: u64,
}

impl<'a> Replay<'a> {
    /// Goes on where the index ends, or begins anew if the index does not fit the volumes.
    fn new(node: NodeId, volumes: &VolumeSet, index: &'a dyn Index) -> Result<Self, OpenError> {
        let fits = |w: &Watermark| {
            let file: Option<Arc<dyn DiskFile>> = volumes.get(VolumeNo(w.volume));
            file.and_then(|f| f.size().ok()).is_some_and(|size| size >= w.offset)
        };
        let watermark = match index.watermark() {
            Ok(Some(watermark)) if fits(&watermark) => watermark,
            Ok(None) => Watermark::default(),
            other => {
                tracing::warn!(found = ?other, "the index does not fit the volumes and is built anew");
                index.clear()?;
                Watermark::default()
            }
        };
        Ok(Self { node, index, watermark, changes: Vec::new(), damaged_stretches: 0 })
    }

    fn volume(&mut self, no: VolumeNo, file: &dyn DiskFile) -> io::Result<Tail> {
        if no.0 < self.watermark.volume {
            return Ok(Tail::Clean { end: file.size()? });
        }
        let from = if no.0 == self.watermark.volume { self.watermark.offset } else { HEADER_LEN };
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
        let change = match record.kind {
            Kind::Shard { key, info } => {
                let location = Location { volume: place.volume.0, offset: place.offset, info };
                Some((key, Some(location)))
            }
            Kind::Tombstone { key } => Some((key, None)),
            Kind::Mark => None,
        };
        self.changes.extend(change);
        self.watermark.volume = place.volume.0;
        self.watermark.offset = place.offset + record.total_len();
        self.watermark.next_seq = self.watermark.next_seq.max(record.seq.saturating_add(1));
        if self.changes.len() >= BATCH {
            self.apply().map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn apply(&mut self) -> Result<(), IndexError> {
        let changes = std::mem::take(&mut self.changes);
        self.watermark = count(self.index, &changes, self.watermark)?;
        self.index.apply(&changes, self.watermark)
    }

    fn finish(&mut self, no: VolumeNo, end: u64) -> Result<(), IndexError> {
        self.watermark.volume = no.0;
        self.watermark.offset = end;
        self.apply()
    }
}

/// The totals after `changes`, which may name a key several times.
pub(super) fn count(
    index: &dyn Index,
    changes: &[Change],
    mut watermark: Watermark,
) -> Result<Watermark, IndexError> {
    let mut now = std::collections::HashMap::new();
    for (key, location) in changes {
        let before = match now.insert(*key, *location) {
            Some(before) => before,
            None => index.get(*key)?,
        };
        if let Some(before) = before {
            watermark.shards = watermark.shards.saturating_sub(1);
            watermark.live_bytes = watermark.live_bytes.saturating_sub(before.info.len.into());
        }
        if let Some(after) = location {
            watermark.shards += 1;
            watermark.live_bytes += u64::from(after.info.len);
        }
    }
    Ok(watermark)
}

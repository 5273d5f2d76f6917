//! What a crash has left of fjall's journal.
//!
//! fjall drops an end of the journal that was cut off. It refuses to open one whose last batches have
//! holes, as a power failure leaves them where pages reach the disk in any order; and it drops, without a
//! word, all that follows a hole at the start of a batch. The first would keep a sound gateway from
//! starting, the second would lose what others were told is safe. So the journal is read before fjall
//! opens it, and what is not whole is told apart by the [`Mark`] that each batch carries:
//!
//! * **Torn**: nothing behind it says that it had been synced. No one was told that it is safe: it is cut
//!   off, and fjall starts from what is whole.
//! * **Damaged**: a batch behind it was written when it had already been synced. What is missing was
//!   acknowledged; the gateway refuses to start. Damage to the last few batches that were synced can't be
//!   told from torn ones.
//!
//! # Format
//! fjall 3's, integers in little-endian. A journal is named `<number>.jnl`; the one with the highest
//! number is written to, the others were fsynced before their successor was made. It is a sequence of
//! batches, then zeros, since its space is taken in advance:
//!
//! | bytes | what |
//! |---|---|
//! | `01`, u32, u64 | start: items that follow, sequence number |
//! | `02`, u8, u8, u64, u16, u32, u32, key, value | item: kind, compression (0: none), keyspace, length of the key, of the value, of the value as it is here |
//! | `04`, u64 | in an item's place: a keyspace was emptied |
//! | `03`, u64, `FJL\x03` | end: XXH3 of all items as they are here |
//!
//! The checksum does not cover the sequence number, which decides what is newer: it must grow from batch
//! to batch.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Ends a batch, so that a checksum is known to be whole.
const TRAILER: &[u8] = b"FJL\x03";
const START_LEN: usize = 13;
/// No store gets so far.
const MAX_SEQUENCE: u64 = 1 << 62;

/// A row that each batch sets: which batch it is, and how far the journal had been synced before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Grows by one from batch to batch of a journal.
    pub number: u64,
    /// All batches up to this number had been synced.
    pub synced: u64,
}

impl Mark {
    /// The key of the row: that of no table.
    pub const KEY: [u8; 1] = [0];

    /// The row's value.
    pub fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..].copy_from_slice(&self.synced.to_le_bytes());
        bytes
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (number, synced) = value.split_first_chunk()?;
        Some(Self {
            number: u64::from_le_bytes(*number),
            synced: u64::from_le_bytes(synced.try_into().ok()?),
        })
    }
}

/// Why a journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk, or the directory.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// What had been synced is gone.
    #[error(
        "{} is damaged at byte {at}, in what had been on disk before: check the disk. If other \
         gateways run, start this one without its catalog, and it is sent theirs; if not, have \
         `coffer-gateway rebuild-catalog --replace` make it anew from the journal on the storage \
         nodes",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first batch begins that is not whole.
        at: usize,
    },
}

impl JournalError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// The journal that is written to.
///
/// # Errors
/// When the directory can't be read, or there is none.
pub fn newest(dir: &Path) -> io::Result<PathBuf> {
    all(dir)?.pop().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no journal is left"))
}

/// Syncs the journal that is written to: one that was ended meanwhile has been synced by fjall before the
/// next was begun.
///
/// # Errors
/// What the disk says.
pub fn sync(dir: &Path) -> io::Result<()> {
    loop {
        match File::open(newest(dir)?) {
            // Ended, merged into files that are on disk, and removed since it was looked for.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            journal => return journal?.sync_data(),
        }
    }
}

/// All journals, oldest first.
fn all(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl"));
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            journals.push((number, path));
        }
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// Reads all journals in `dir`, cuts off what is torn, and returns the last batch's mark, as far as all is
/// on disk now.
///
/// # Errors
/// [`JournalError`] when one can't be read, or is damaged.
pub fn check(dir: &Path) -> Result<Mark, JournalError> {
    let journals = all(dir).map_err(JournalError::io(dir))?;
    let mut last = Mark::default();
    let mut blank = true;
    for (n, path) in journals.iter().enumerate() {
        let bytes = fs::read(path).map_err(JournalError::io(path))?;
        let found = survey(&bytes);
        blank &= found.whole == 0;
        last = found.last.unwrap_or(last);
        let Some(torn) = found.torn else { continue };
        if torn.synced || n + 1 < journals.len() {
            return Err(JournalError::Damaged { path: path.clone(), at: found.whole });
        }
        tracing::warn!(
            journal = %path.display(),
            at = found.whole,
            "the catalog's journal ends in what a crash kept from being written whole; nobody was \
             told that it is safe, and it is cut off"
        );
        cut(path, found.whole).map_err(JournalError::io(path))?;
    }
    if blank && !made(dir) {
        clear(dir, &journals).map_err(JournalError::io(dir))?;
    }
    // fjall fsyncs the journal when it opens.
    Ok(Mark { number: last.number, synced: last.number })
}

/// Whether the making of the store has come to its end: the file with its version is the last.
fn made(dir: &Path) -> bool {
    fs::metadata(dir.join("version")).is_ok_and(|version| version.len() > 0)
}

/// Removes what a crash has left of a store that was being made: fjall stumbles over it.
fn clear(dir: &Path, journals: &[PathBuf]) -> io::Result<()> {
    let gone = |outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    journals.iter().try_for_each(|path| gone(fs::remove_file(path)))?;
    gone(fs::remove_dir_all(dir.join("keyspaces")))?;
    gone(fs::remove_file(dir.join("version")))
}

fn cut(path: &Path, len: usize) -> io::Result<()> {
    let file: File = OpenOptions::new().write(true).open(path)?;
    file.set_len(len as u64)?;
    file.sync_all()
}

/// What is in a journal.
#[derive(Debug, PartialEq, Eq)]
struct Survey {
    /// Bytes of batches that are whole, from its start.
    whole: usize,
    /// The mark of the last of these.
    last: Option<Mark>,
    /// What follows, if it is not only zeros.
    torn: Option<Torn>,
}

#[derive(Debug, PartialEq, Eq)]
struct Torn {
    /// Whether a later batch proves that it had been synced.
    synced: bool,
}

fn survey(bytes: &[u8]) -> Survey {
    let (mut whole, mut last, mut newest) = (0, None, None);
    while let Some(batch) = batch(&bytes[whole..])
        && newest < Some(batch.sequence)
    {
        whole += batch.len;
        last = batch.mark.or(last);
        newest = Some(batch.sequence);
    }
    let rest = &bytes[whole..];
    if rest.iter().all(|byte| *byte == 0) {
        return Survey { whole, last, torn: None };
    }
    let next = last.map_or(0, |mark: Mark| mark.number) + 1;
    let starts = (0..rest.len()).filter(|at| rest[*at] == 1);
    let later = starts.filter_map(|at| batch(&rest[at..])?.mark);
    let synced = later.map(|mark| mark.synced).any(|synced| synced >= next);
    Survey { whole, last, torn: Some(Torn { synced }) }
}

/// A batch that is whole.
struct Whole {
    len: usize,
    sequence: u64,
    mark: Option<Mark>,
}

/// The batch that `bytes` begin with, if it is whole.
fn batch(bytes: &[u8]) -> Option<Whole> {
    let mut rest = bytes;
    let start: [u8; START_LEN] = take(&mut rest)?;
    if start[0] != 1 {
        return None;
    }
    let items = rest;
    let mut mark = None;
    for _ in 0..u32::from_le_bytes(start[1..5].try_into().ok()?) {
        mark = item(&mut rest)?.or(mark);
    }
    let items = &items[..items.len() - rest.len()];
    let [3] = take(&mut rest)? else { return None };
    let checksum = u64::from_le_bytes(take(&mut rest)?);
    rest = rest.strip_prefix(TRAILER)?;
    let sequence = u64::from_le_bytes(start[5..].try_into().ok()?);
    let is_whole = checksum == xxh3_64(items) && sequence < MAX_SEQUENCE;
    is_whole.then_some(Whole { len: bytes.len() - rest.len(), sequence, mark })
}

/// Passes an item, and gives the mark if it is one.
fn item(rest: &mut &[u8]) -> Option<Option<Mark>> {
    match take(rest)? {
        [2] => {
            let [_kind, _compression]: [u8; 2] = take(rest)?;
            let _keyspace: [u8; 8] = take(rest)?;
            let key = usize::from(u16::from_le_bytes(take(rest)?));
            let _len: [u8; 4] = take(rest)?;
            let value = u32::from_le_bytes(take(rest)?) as usize;
            let (key, behind) = rest.split_at_checked(key)?;
            let (value, behind) = behind.split_at_checked(value)?;
            *rest = behind;
            Some((key == Mark::KEY).then(|| Mark::decode(value)).flatten())
        }
        [4] => take::<8>(rest).map(|_keyspace| None),
        _ => None,
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*bytes)
}

#[cfg(test)]
mod tests;

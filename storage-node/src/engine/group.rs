//! A group: the records that are written and fsynced together, and what they change.

use super::ledger::Ledger;
use super::work::{Moved, Work};
use super::{Active, Shared};
use crate::index::IndexError;
use crate::volume::VolumeNo;
use crate::volume::record::{self, Kind, Place, Record};
use bytes::Bytes;
use coffer_core::shard::{ShardKey, ShardPut};

/// Up to seven zeros align the next record to [`record::ALIGN`].
const PADDING: [u8; 8] = [0; 8];
const _: () = assert!(PADDING.len() as u64 == record::ALIGN);

/// A record that is about to be written.
struct Staged {
    head: Vec<u8>,
    payload: Bytes,
    padding: usize,
}

/// Records that go to the end of a volume.
pub(super) struct Group<'a> {
    shared: &'a Shared,
    volume: VolumeNo,
    /// Where the group begins; all before it is durable.
    begin: u64,
    end: u64,
    staged: Vec<Staged>,
    ledger: Ledger<'a>,
}

impl<'a> Group<'a> {
    pub(super) fn new(shared: &'a Shared, active: &Active) -> Self {
        let Shared { index, volumes, totals, .. } = shared;
        Self {
            shared,
            volume: active.no,
            begin: active.end,
            end: active.end,
            staged: Vec::new(),
            ledger: Ledger::new(&**index, volumes, totals.watermark()),
        }
    }

    /// Adds the records of some work, on top of what is in the group already.
    pub(super) fn add(&mut self, work: &Work) -> Result<(), IndexError> {
        match work {
            Work::Put(puts) => {
                for ShardPut { key, info, payload } in puts {
                    let table = record::checksums(payload, info.block_size);
                    self.ledger.put(*key, self.volume, self.end, *info)?;
                    self.stage(Kind::Shard { key: *key, info: *info }, &table, payload);
                }
            }
            Work::Delete { keys } => {
                for key in keys {
                    self.delete(*key)?;
                }
            }
            Work::Move { records } => {
                for moved in records {
                    self.move_here(moved)?;
                }
            }
        }
        Ok(())
    }

    fn move_here(&mut self, moved: &Moved) -> Result<(), IndexError> {
        match moved {
            Moved::Shard { key, from, table, payload } => {
                if self.ledger.get(*key)?.is_some_and(|now| now.is_at(from)) {
                    self.ledger.put(*key, self.volume, self.end, from.info)?;
                    self.stage(Kind::Shard { key: *key, info: from.info }, table, payload);
                }
            }
            Moved::Tombstone { key, kills } => match self.ledger.get(*key)? {
                None => {
                    self.ledger.delete(*key, self.volume)?;
                    self.stage(Kind::Tombstone { key: *key, kills: *kills }, &[], &Bytes::new());
                }
                Some(live) => self.ledger.drop_tombstone(*key, live),
            },
        }
        Ok(())
    }

    fn delete(&mut self, key: ShardKey) -> Result<(), IndexError> {
        let volumes = &self.shared.volumes;
        let before = self.ledger.get(key)?;
        if before.is_none() && !volumes.doubts_beside(None) {
            // All records of it are dead already, by tombstones that are durable.
            return Ok(());
        }
        let only = before.and_then(|location| location.only_volume(|no| volumes.exists(no)));
        let kills = only.filter(|only| !volumes.doubts_beside(Some(*only)));
        self.ledger.delete(key, self.volume)?;
        self.stage(Kind::Tombstone { key, kills }, &[], &Bytes::new());
        Ok(())
    }

    /// Adds a mark, which says that all before the group is durable.
    pub(super) fn mark(&mut self) {
        self.stage(Kind::Mark, &[], &Bytes::new());
    }

    fn stage(&mut self, kind: Kind, table: &[u8], payload: &Bytes) {
        let seq = self.ledger.watermark.next_seq;
        let place = Place { node: self.shared.node, volume: self.volume, offset: self.end };
        // What this group adds is not yet durable.
        let record = Record { kind, seq, synced: self.begin };
        self.ledger.watermark.next_seq += 1;
        self.end += record.total_len();
        let head = record::encode(&record, &place, table);
        let used = head.len() + payload.len();
        let padding = used.next_multiple_of(PADDING.len()) - used;
        self.staged.push(Staged { head, payload: payload.clone(), padding });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.ledger.len() == 0
    }

    /// Bytes that will be written.
    pub(super) fn len(&self) -> u64 {
        self.end - self.begin
    }

    /// What is to be written from the group's begin on.
    pub(super) fn parts(&self) -> Vec<&[u8]> {
        let parts = self.staged.iter().map(|s| [&s.head[..], &s.payload, &PADDING[..s.padding]]);
        parts.flatten().collect()
    }

    /// The volume's end with the group, and what the group changes.
    pub(super) fn into_ledger(mut self) -> (u64, Ledger<'a>) {
        self.ledger.watermark.volume = self.volume.0;
        self.ledger.watermark.offset = self.end;
        (self.end, self.ledger)
    }
}

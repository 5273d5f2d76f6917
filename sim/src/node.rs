//! A storage node as its callers see it: shards under names, durable when it says so.

use coffer_core::ids::NodeId;
use coffer_core::shard::{BlockRange, ShardError, ShardInfo, ShardKey};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A shard on a disk.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What is recorded beside it.
    pub info: ShardInfo,
    /// The payload as the disk has it.
    pub bytes: Rc<[u8]>,
    /// The payload's checksum, from when it was stored.
    pub sum: [u8; 32],
    /// The disk said that it is durable, and it is not: a crash loses it.
    pub lied: bool,
}

impl Stored {
    /// Whether the disk gives what was stored.
    pub fn is_sound(&self) -> bool {
        *blake3::hash(&self.bytes).as_bytes() == self.sum
    }
}

/// Why shards are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A write did not come about.
    GivenUp,
    /// The garbage table says so.
    Garbage,
    /// A sweep found what nobody needs.
    Sweep,
}

/// What a node can be asked.
#[derive(Debug, Clone)]
pub enum Request {
    /// Store a shard.
    Put(ShardKey, ShardInfo, Rc<[u8]>),
    /// Read blocks of a shard.
    Get(ShardKey, BlockRange),
    /// Delete shards.
    Delete(Vec<ShardKey>, Why),
    /// List all shards, those that are damaged marked so.
    List,
}

/// What a node answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It is done, and durable.
    Done,
    /// The blocks.
    Bytes(Vec<u8>),
    /// The names of all shards, and whether each is sound; and whether the disk is full.
    Names(Vec<(ShardKey, bool)>, bool),
    /// It can't be done, or it is not known whether it was.
    Failed(ShardError),
}

/// A storage node.
#[derive(Debug)]
pub struct Node {
    /// Its name for life.
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// Whether its process runs.
    pub up: bool,
    /// Its disk is lost for good.
    pub lost: bool,
    /// Grows with every crash: what was under way before it is gone.
    pub epoch: u64,
    /// Its disk is full.
    pub full: bool,
    /// Its disk says that things are durable which are not.
    pub lies: bool,
    /// How many times slower than others it is.
    pub slowness: u64,
    /// Its disk.
    pub disk: BTreeMap<ShardKey, Stored>,
    /// Deleted shards that a crash brings back.
    pub undead: BTreeMap<ShardKey, Stored>,
}

impl Node {
    /// An empty node.
    pub fn new(number: u8) -> Self {
        Self {
            id: NodeId::from_bytes([number; 16]),
            name: format!("node-{number}"),
            up: true,
            lost: false,
            epoch: 0,
            full: false,
            lies: false,
            slowness: 1,
            disk: BTreeMap::new(),
            undead: BTreeMap::new(),
        }
    }

    /// Whether it has a shard as it was stored.
    pub fn has_sound(&self, key: &ShardKey) -> bool {
        !self.lost && self.disk.get(key).is_some_and(Stored::is_sound)
    }

    /// Whether it will have the shard after a crash.
    pub fn has_durable(&self, key: &ShardKey) -> bool {
        !self.lost && self.disk.get(key).is_some_and(|s| !s.lied && s.is_sound())
    }

    /// Does what is asked. Effects are durable when this returns, unless the disk lies.
    pub fn serve(&mut self, request: Request) -> Answer {
        match request {
            Request::Put(..) if self.full => Answer::Failed(ShardError::Full),
            Request::Put(key, info, bytes) => {
                let sum = *blake3::hash(&bytes).as_bytes();
                // A record that is durable stays so when the same one is stored again.
                let lied = self.lies && !self.has_durable(&key);
                self.disk.insert(key, Stored { info, bytes, sum, lied });
                self.undead.remove(&key);
                Answer::Done
            }
            Request::Get(key, blocks) => self.get(key, blocks),
            Request::Delete(keys, _) => {
                for key in keys {
                    let Some(stored) = self.disk.remove(&key) else { continue };
                    if self.lies {
                        self.undead.insert(key, stored);
                    }
                }
                Answer::Done
            }
            Request::List => {
                let names = self.disk.iter().map(|(k, s)| (*k, s.is_sound()));
                Answer::Names(names.collect(), self.full)
            }
        }
    }

    fn get(&self, key: ShardKey, blocks: BlockRange) -> Answer {
        let Some(stored) = self.disk.get(&key) else { return Answer::Failed(ShardError::NotFound) };
        if !stored.is_sound() {
            return Answer::Failed(ShardError::Corrupt { block: blocks.first });
        }
        match blocks.bytes_in(&stored.info) {
            Ok(range) => {
                Answer::Bytes(stored.bytes[range.start as usize..range.end as usize].to_vec())
            }
            Err(error) => Answer::Failed(error),
        }
    }

    /// The process ends at once. What the disk had not really stored is gone; what it had not really
    /// deleted is back.
    pub fn crash(&mut self) {
        self.up = false;
        self.epoch += 1;
        self.disk.retain(|_, s| !s.lied);
        self.disk.append(&mut self.undead);
    }

    /// The disk has caught up with what it had said.
    pub fn flush(&mut self) {
        self.lies = false;
        self.disk.values_mut().for_each(|s| s.lied = false);
        self.undead.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::erasure::Code;
    use coffer_core::ids::BlobId;

    fn key(n: u8) -> ShardKey {
        ShardKey { blob: BlobId::from_bytes([n; 16]), chunk: 0, index: 0, generation: 0 }
    }

    fn put(node: &mut Node, n: u8) {
        let info = ShardInfo { code: Code::DEFAULT, block_size: 17, len: 17 };
        let answer = node.serve(Request::Put(key(n), info, Rc::from([n; 17])));
        assert!(matches!(answer, Answer::Done));
    }

    #[test]
    fn what_a_disk_lied_about_is_undone_by_a_crash_and_by_nothing_else() {
        let mut node = Node::new(1);
        put(&mut node, 1);
        put(&mut node, 2);
        node.lies = true;
        put(&mut node, 3);
        node.serve(Request::Delete(vec![key(1)], Why::Sweep));
        assert!(!node.has_sound(&key(1)) && node.has_sound(&key(3)) && !node.has_durable(&key(3)));
        node.crash();
        assert!(node.has_durable(&key(1)), "the delete was forgotten");
        assert!(node.has_durable(&key(2)), "it was durable before");
        assert!(!node.has_sound(&key(3)), "the put was forgotten");
    }
}

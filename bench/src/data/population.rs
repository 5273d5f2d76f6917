//! A population of objects: names, sizes and contents by number.

use super::content::Content;
use super::dice::{Dice, mix};
use super::shard::Shard;
use super::size::Sizes;
use std::sync::Arc;

/// Objects under one prefix, by number.
#[derive(Debug, Clone)]
pub struct Population {
    prefix: String,
    seed: u64,
    spread: u64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Objects(Sizes),
    /// Tar shards of about this length, with samples of these sizes.
    Shards(u64, Sizes),
}

impl Population {
    /// Objects of the given sizes under `prefix` (which ends with a slash), in `spread` folders.
    pub fn new(prefix: String, seed: u64, spread: u64, sizes: Sizes) -> Self {
        // What is stored under another name has another content.
        let seed = prefix.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)));
        Self { prefix, seed, spread: spread.max(1), what: What::Objects(sizes) }
    }

    /// Tar shards of about `len` bytes.
    pub fn shards(prefix: String, seed: u64, len: u64, samples: Sizes) -> Self {
        let what = What::Shards(len, samples.clone());
        Self { what, ..Self::new(prefix, seed, 1, samples) }
    }

    /// What all names begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn seed_of(&self, number: u64) -> u64 {
        mix(self.seed ^ mix(number))
    }

    /// The folder of an object, as part of its name. Neighbours in number are spread over all
    /// folders.
    pub fn folder(&self, number: u64) -> String {
        match (&self.what, self.spread) {
            (What::Objects(_), 2..) => {
                format!("{}{:04x}/", self.prefix, self.seed_of(number) % self.spread)
            }
            _ => self.prefix.clone(),
        }
    }

    /// An object's name.
    pub fn key(&self, number: u64) -> String {
        let ending = match self.what {
            What::Objects(_) => "",
            What::Shards(..) => ".tar",
        };
        format!("{}{number:010}{ending}", self.folder(number))
    }

    /// An object's length in bytes.
    pub fn size(&self, number: u64) -> u64 {
        match &self.what {
            What::Objects(sizes) => sizes.draw(&mut Dice::new(self.seed_of(number))),
            What::Shards(..) => self.content(number).len(),
        }
    }

    /// What an object holds.
    pub fn content(&self, number: u64) -> Content {
        let seed = self.seed_of(number);
        match &self.what {
            What::Objects(_) => Content::random(seed, self.size(number)),
            What::Shards(len, samples) => {
                Content::shard(seed, Arc::new(Shard::plan(seed, *len, samples)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn population(seed: u64, spread: u64) -> Population {
        Population::new("a/".into(), seed, spread, "1KiB..64KiB".parse().unwrap())
    }

    #[test]
    fn names_are_spread_and_all_follows_from_the_seed() {
        let objects = population(1, 16);
        let folders: BTreeSet<_> = (0..400).map(|n| objects.folder(n)).collect();
        assert_eq!(folders.len(), 16);
        let keys: BTreeSet<_> = (0..400).map(|n| objects.key(n)).collect();
        assert_eq!(keys.len(), 400);
        for number in 0..50 {
            let (one, same) = (objects.content(number), population(1, 16).content(number));
            assert_eq!(one.len(), objects.size(number));
            assert_eq!(one.bytes(0, one.len()), same.bytes(0, same.len()));
            let other = population(2, 16).content(number).bytes(0, 64);
            assert_ne!(one.bytes(0, 64), other);
        }
        assert_eq!(population(1, 1).key(3), "a/0000000003");
    }
}

//! The deterministic heart of Coffer.
//!
//! Everything here is a pure function of its inputs: no disk, no socket, no clock. Effects come in
//! through the traits [`shard::ShardStore`] and [`catalog::Kv`], randomness through
//! [`random::Random`], and time as plain numbers. That is what lets the property tests, and later a
//! simulator, drive this code through millions of cases.
//!
//! | module | what it answers |
//! |---|---|
//! | [`ids`] | what things are called, and which names are legal |
//! | [`seal`] | how plaintext becomes ciphertext, and whose key wraps whose |
//! | [`layout`] | where a byte of an object lives: chunk, segment, shard, block |
//! | [`erasure`] | how k data shards gain m parity shards and are rebuilt |
//! | [`placement`] | which nodes hold a chunk's shards |
//! | [`manifest`] | what is recorded of an object |
//! | [`repair`] | which shards are missing or misplaced, where they are to go, and what comes first |
//! | [`shard`], [`wire`] | what a storage node offers, and how that is said over the network |
//! | [`health`] | how well a node and its disks are, by the figures that it gives |
//! | [`catalog`] | buckets, objects, uploads: a state machine over an ordered key-value store |
//! | [`journal`] | what nodes keep of the catalog, so that it can be rebuilt from them |
//! | [`access`] | who may do what: verbs, scopes, grants |
//! | [`bucket`] | what can be set on a bucket, and what that decides |
//! | `testing` | judges for tests (feature `testing`): is a history linearizable? |

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

pub mod access;
pub mod bucket;
pub mod catalog;
pub mod erasure;
pub mod health;
pub mod ids;
pub mod journal;
pub mod layout;
pub mod manifest;
pub mod md5;
pub mod placement;
pub mod random;
pub mod repair;
pub mod seal;
pub mod shard;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;

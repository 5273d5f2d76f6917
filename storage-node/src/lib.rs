//! A Coffer storage node: append-only volumes of sealed shards, and the service that offers them.
//!
//! A node sees ciphertext only. It never holds a key, and needs none to check, move or rebuild what
//! it stores.
//!
//! | module | what |
//! |---|---|
//! | [`disk`] | the file operations that volumes need, real and faulty |
//! | [`volume`] | the volumes' format, and what is fsynced before what |
//! | [`index`] | where each shard is; a cache that the volumes can rebuild |
//! | [`engine`] | storing, reading, deleting: [`engine::NodeEngine`] |
//! | [`rpc`] | requests between the processes of a cluster: mutual TLS over TCP |
//! | [`health`] | what the disks say of themselves (SMART) |
//! | [`service`] | the engine over the network: [`service::serve`], [`service::NodeClient`] |
//! | [`clock`] | time, for what runs in the background |
//! | [`config`] | a node's directory and configuration |
//! | [`testing`] | a disk that fails on demand |

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

pub mod clock;
pub mod config;
pub mod disk;
pub mod engine;
pub mod health;
pub mod index;
pub mod rpc;
pub mod service;
pub mod testing;
pub mod volume;

pub use engine::{CompactOptions, NodeEngine, NodeOptions, OpenError, ScrubOptions};

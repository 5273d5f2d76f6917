//! The gateway: S3 on the outside; sealing, placement and the catalog on the inside.
//!
//! | module | what |
//! |---|---|
//! | [`http`] | HTTPS (HTTP/1.1 and 2) and HTTP/3 on one port number |
//! | [`auth`] | access keys, access tokens, and what they allow |
//! | [`s3`] | the S3 operations, translated to the engine and the catalog |
//! | [`engine`] | writing and reading parts: chunks, sealing, shards, quorums |
//! | [`expected`] | commands that are about to come, so that they share a commit |
//! | [`catalog`] | the catalog's store on disk and its single writer |
//! | [`journal`] | the catalog's journal on the storage nodes, and a catalog made from it |
//! | [`peer`] | how gateways reach each other |
//! | [`membership`] | this gateway among the others: founding, joining, coming back |
//! | [`lifecycle`] | the worker that does what the buckets' lifecycle rules say |
//! | [`monitor`] | how well nodes, disks and gateways are, and what has changed |
//! | [`setup`] | first start: keys, certificates, configuration |
//! | [`run`] | putting it all together: one gateway, or a whole cluster in one process |

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

pub mod auth;
pub mod catalog;
pub mod engine;
pub mod expected;
pub mod http;
pub mod journal;
pub mod lifecycle;
pub mod membership;
pub mod monitor;
pub mod peer;
pub mod run;
pub mod s3;
pub mod setup;

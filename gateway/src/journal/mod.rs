//! The journal of the catalog on the storage nodes. With all catalogs lost, the nodes and the master
//! key give every committed object back.
//!
//! The gateway that leads the catalog writes all that is applied to more nodes than may be lost, and
//! an answer to a client waits for that ([`Gate`](crate::catalog::raft::gate::Gate)): one small write
//! for each group of commands, to all its nodes side by side. From time to time a snapshot takes the
//! place of what was written before. `coffer_core::journal` has the format.
//!
//! | module | what |
//! |---|---|
//! | [`nodes`] | records are stored on nodes, listed, read and deleted |
//! | [`writer`] | groups are written as they are applied |
//! | [`snapshot`] | snapshots are written |
//! | [`mend`] | copies that nodes have found damaged are written anew |
//! | [`rebuild`] | a catalog is made from the journal |
//! | [`replay`] | the records of the journal, read and applied |
//! | [`command`] | `coffer-gateway rebuild-catalog` |

pub mod command;
pub mod mend;
pub mod nodes;
pub mod rebuild;
pub mod replay;
pub mod snapshot;
pub mod writer;

pub use nodes::{Nodes, View};
pub use writer::{Journal, spawn};

use std::time::Duration;

/// How the journal is written.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// On how many nodes each record is stored, if there are so many.
    pub copies: usize,
    /// How long an answer waits for the journal.
    pub patience: Duration,
    /// A snapshot is made when so many entries of the log have been written since the last one, which
    /// have an eighth of its bytes or more,
    pub snapshot_entries: u64,
    /// or so many bytes, and at least as many as the last one had,
    pub snapshot_bytes: u64,
    /// or after this time.
    pub snapshot_after: Duration,
    /// How fast a snapshot is written, in bytes in a second.
    pub snapshot_rate: u64,
    /// The pause between two looks for copies that nodes have found damaged.
    pub mend_every: Duration,
}

impl JournalConfig {
    /// The defaults, for data that survives the loss of `losses` nodes.
    pub fn surviving(losses: usize) -> Self {
        Self {
            copies: losses + 1,
            patience: Duration::from_secs(2),
            snapshot_entries: 50_000,
            snapshot_bytes: 64 << 20,
            snapshot_after: Duration::from_secs(24 * 3600),
            snapshot_rate: 32 << 20,
            mend_every: Duration::from_secs(60),
        }
    }
}

/// Why the journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Too few nodes take a record.
    #[error(
        "{stored} of {copies} nodes have stored a record of the journal (last error: {last}); start or add storage nodes"
    )]
    TooFewNodes {
        /// How many have.
        stored: usize,
        /// How many must.
        copies: usize,
        /// What the last of the others said.
        last: String,
    },
    /// No node tells what it has.
    #[error("no storage node answers; the journal can't be found")]
    NoNodes,
    /// The catalog is older than what was written of it.
    #[error(
        "the journal on the storage nodes has entry {journal} of the log, this catalog ends at {catalog}: an old copy of the catalog was put back, or another catalog uses these nodes. Use the newest copy, or rebuild: coffer-gateway rebuild-catalog --replace"
    )]
    Ahead {
        /// The last entry of the journal.
        journal: u64,
        /// The last entry of this catalog's log.
        catalog: u64,
    },
    /// The catalog can't be read.
    #[error(transparent)]
    Catalog(#[from] coffer_core::catalog::CatalogError),
    /// The catalog's store failed.
    #[error(transparent)]
    Store(#[from] coffer_core::catalog::KvError),
    /// A record can't be sealed.
    #[error("a record of the journal can't be made: {0}")]
    Record(String),
}

impl From<coffer_core::journal::PartError> for JournalError {
    fn from(error: coffer_core::journal::PartError) -> Self {
        Self::Record(error.to_string())
    }
}

impl From<coffer_core::journal::record::RecordError> for JournalError {
    fn from(error: coffer_core::journal::record::RecordError) -> Self {
        Self::Record(error.to_string())
    }
}

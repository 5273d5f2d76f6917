//! The journal: what storage nodes keep of the catalog, so that it can be made anew from them and
//! the master key alone. Its format, and the plan of reading it back; no IO.
//!
//! The journal is made of *records*, each stored whole on several nodes. There are two kinds:
//!
//! * *groups*: the commands of the replicated log from one index to another. Only what has been
//!   applied is written, so there is one truth for each index, whichever leader wrote it, and
//!   records may overlap;
//! * a *snapshot*: all rows of the catalog as of one index. Groups up to there, and older snapshots,
//!   are then deleted.
//!
//! A record is cut into parts. A part is one shard of a blob whose id is reserved
//! ([`BlobId::is_reserved`](crate::ids::BlobId::is_reserved)); its name tells what it is, so that a
//! plan can be made from names alone:
//!
//! ```text
//! blob        0..8    0xFF
//!             8       kind: 0x01 groups, 0x02 snapshot
//!             9..16   last index that it covers, big-endian
//! chunk               number of the part
//! index               number of the copy; all copies of a part are equal
//! generation          groups: last index - first index; snapshot: drawn by its writer
//! ```
//!
//! A part is sealed in an envelope under a key that derives from the master key, with its name (but
//! for the copy) as context: nodes can't read, forge or swap parts. In it:
//!
//! ```text
//! byte  0        version (1)
//!       1        1 in the last part of a record, else 0
//!       2..34    last part only: BLAKE3 of the whole record
//!      ..        bytes of the record
//! ```
//!
//! So a record that is cut short, or mixed from two, does not pass for whole.
//!
//! A catalog that was rebuilt goes on at an index far beyond the last one ([`LINEAGE`]), and begins
//! with a snapshot. What nodes may still hold of the lost catalog's last moments then lies before
//! that snapshot, or after a gap, and can't mix with what comes later.
//!
//! * [`name`]: names of records and parts
//! * [`part`]: records cut, sealed, opened and joined
//! * [`record`]: what is in a record
//! * [`plan`]: which records make the catalog

pub mod name;
pub mod part;
pub mod plan;
pub mod record;

pub use name::Record;
pub use part::{Cutter, Joiner, PartError};
pub use plan::{Gap, Names, Plan};
pub use record::{Frames, Group, Groups, Position};

use crate::seal::{Envelope, Key};

/// By how much the log's index grows when a catalog is rebuilt: more than may have been written and
/// lost.
pub const LINEAGE: u64 = 1 << 32;

/// What seals the journal of a cluster with this master key.
pub fn envelope(master: &Key) -> Envelope {
    Envelope::new(master.derive("coffer journal v1"))
}

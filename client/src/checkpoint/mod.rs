//! Versioned checkpoints of a run in a store.
//!
//! ```text
//! RUN/checkpoints/index.json                   the root: which checkpoints there are
//! RUN/checkpoints/saves/<save>/manifest.json   one attempt to save a checkpoint
//! RUN/checkpoints/saves/<save>/<blake3>        the chunks that this attempt wrote
//! ```
//!
//! A checkpoint is there if, and only if, the root lists it, and the root is moved by conditional
//! write, after everything else was acknowledged. So a trainer that is killed at any moment leaves
//! the checkpoint before, or the new one, never half of one; and of two trainers on one run, one
//! finds out ([`CheckpointError::Raced`]). Local directories can't compare and swap: there, changes
//! of the root that happen at the same instant may overwrite each other.
//!
//! A checkpoint's parts are cut into chunks, and a chunk that the one before has, too, is referred to
//! instead of written. That is safe with others deleting checkpoints at the same time, because an
//! attempt's folder is named at random and never used twice: a deleted name never comes back, and an
//! attempt whose root has changed meanwhile looks whether what it refers to is still listed.
//!
//! Pure: ids, [`Selector`], [`Root`], [`Manifest`], [`retention`], [`compare`] (but for one function),
//! [`tensors`]. With IO: [`Checkpoints`], [`restore`].

mod attempt;
pub mod compare;
mod cut;
mod error;
mod garbage;
mod id;
mod load;
mod manifest;
mod part;
mod prune;
pub mod restore;
mod resume;
pub mod retention;
mod root;
mod save;
mod selector;
mod store;
pub mod tensors;
mod writer;

pub use cut::{Cut, Snapshot};
pub use error::CheckpointError;
pub use id::{CheckpointId, RunId, SaveId};
pub use load::{Loaded, Problem};
pub use manifest::{
    CHUNK, Chunk, DatasetVersion, Energy, Lineage, Manifest, Metrics, Origin, Parent, Part,
    Position, Program, Revision,
};
pub use part::{PartReader, TensorsError};
pub use prune::{Choice, GRACE, Pruned};
pub use resume::Found;
pub use root::{Entry, Root, Unlisted};
pub use save::{Saved, Saver};
pub use selector::{CheckpointAddress, CheckpointAddressError, Selector, SelectorError};
pub use store::Checkpoints;
pub use writer::{Activity, Retain, Status, Writer, Written};

/// The format of roots and manifests that this code writes and reads.
pub const FORMAT: &str = "coffer-checkpoint/2";

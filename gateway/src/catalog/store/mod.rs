//! Where a gateway keeps its part of the catalog: the replicated log in one tree, the state that
//! the log has made in another.
//!
//! | module | what |
//! |---|---|
//! | [`trees`] | the trees below, and in which threads they are worked on |
//! | [`lsm`] | trees on disk |
//! | [`memory`] | trees in memory, which lose in a crash what was not synced |
//! | [`log`] | the log of commands |
//! | [`state`] | the state, and the switch to that of a snapshot |
//! | [`export`] | reading all rows as of one moment while they go on changing |
//! | [`overlay`] | the changes of an entry, until they are committed together |
//! | [`machine`] | the log's commands applied to the state, each once |
//! | [`seed`] | a catalog made from a snapshot and a log which come from elsewhere |
//!
//! Only the log is synced before a command is answered. The state stores with each entry's changes
//! how far it has come, and is synced before that part of the log goes.

pub mod export;
pub mod log;
pub mod lsm;
pub mod machine;
pub mod memory;
pub mod overlay;
pub mod seed;
pub mod state;
pub mod trees;

pub use log::LogStore;
pub use lsm::LsmTrees;
pub use machine::StateMachine;
pub use memory::MemoryTrees;
pub use seed::Seed;
pub use state::States;
pub use trees::{Trees, Work};

//! Test doubles, public so that the tests of other crates can break a node's disk too.
//!
//! Nothing here is used by the node itself.

mod fake_clock;
mod faulty_disk;

pub use fake_clock::FakeClock;
pub use faulty_disk::FaultyDisk;

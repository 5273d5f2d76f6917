//! Repair and rebalance: what a chunk lacks, what stands in the wrong place, and what comes first.
//!
//! A pure function of the manifest, the cluster map and what is known of the nodes; whoever acts on
//! it reads, writes and tells the catalog (`Relocate`), and asks again.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | the steps that a chunk needs |
//! | [`risk`] | how far a chunk is from being lost |
//! | [`leftover`] | what a repair that was cut off has left behind |
//! | [`verdict`] | whether a shard that is found on a node is needed there |

pub mod leftover;
pub mod plan;
pub mod risk;
pub mod verdict;

pub use leftover::overtake;
pub use plan::{ChunkPlan, Situation, Standing, Step, Urgency};
pub use risk::{Risk, ShardState, Tally};
pub use verdict::{Verdict, judge};

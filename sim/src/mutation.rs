//! Bugs that are planted on demand, to show that the simulator finds such bugs.

use clap::ValueEnum;

/// A bug that someone could write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mutation {
    /// Names of shards have no generation: what moves away and comes back has its old name.
    NoGenerations,
    /// The catalog moves shards without looking whether they are where the caller saw them.
    RelocateUnchecked,
    /// The sweep deletes what the catalog does not know, without condemning it.
    SweepWithoutCondemn,
    /// The sweep takes a condemnation for granted, though a commit may have come first.
    SweepTrustsCondemn,
    /// Garbage collection looks up the places of moved shards in the catalog of today.
    GcByPresentManifest,
    /// A write is acknowledged with one shard less than the quorum.
    QuorumOffByOne,
    /// A writer that hears nothing of its commit deletes its shards.
    DiscardUnknown,
    /// A repair whose relocation was refused deletes what it has written.
    LoserCleansUp,
    /// A repair deletes a shard where it was before the catalog knows that it moved.
    MoveDeletesFirst,
    /// A read looks into its gateway's catalog without asking how far the log is.
    StaleReads,
    /// A command is proposed again when its leader is lost, and the log has it twice.
    ProposedTwice,
    /// Nodes answer a put before it is durable.
    AckBeforeFsync,
}

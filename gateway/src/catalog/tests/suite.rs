//! openraft's own tests of a store.

use crate::catalog::handle::envelope;
use crate::catalog::raft::types::{GatewayId, Types};
use crate::catalog::store::{LogStore, LsmTrees, MemoryTrees, StateMachine, States, Trees, Work};
use coffer_core::random::OsRandom;
use coffer_core::seal::Key;
use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;

/// Stores in memory, or on disk.
struct Stores {
    on_disk: bool,
}

impl StoreBuilder<Types, LogStore, StateMachine, Option<TempDir>> for Stores {
    async fn build(
        &self,
    ) -> Result<(Option<TempDir>, LogStore, StateMachine), StorageError<GatewayId>> {
        let dir = self.on_disk.then(|| tempfile::tempdir().unwrap());
        let (trees, work): (Arc<dyn Trees>, Work) = match &dir {
            Some(dir) => (Arc::new(LsmTrees::open(dir.path()).unwrap()), Work::Blocking),
            None => (Arc::new(MemoryTrees::default()), Work::Inline),
        };
        let envelope = envelope(&Key::from_bytes([7; 32]));
        let states = States::open(trees, envelope, Arc::new(OsRandom), work).unwrap();
        let log = LogStore::open(states.log(), || Ok(()), work).unwrap();
        Ok((dir, log, StateMachine::open(states).unwrap()))
    }
}

#[test]
fn a_store_in_memory_is_as_openraft_wants_it() {
    Suite::test_all(Stores { on_disk: false }).unwrap();
}

#[test]
fn a_store_on_disk_is_as_openraft_wants_it() {
    Suite::test_all(Stores { on_disk: true }).unwrap();
}

//! What a checkpoint of a run consists of; [`coffer_client::checkpoint`] stores it.
//!
//! ```text
//! model.safetensors      weights
//! optimizer.safetensors  what Adam remembers
//! state.json             position, configuration, history, and the epoch that is under way
//! ```

mod state;

pub use coffer_client::checkpoint::{
    Activity, CheckpointAddress, CheckpointError, CheckpointId, Checkpoints, Entry, Revision,
    Selector, Status, Written,
};
pub use state::{Partial, STATE, State};

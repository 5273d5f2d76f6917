//! `checkpoint pin` and `unpin`.

use super::Places;
use crate::exit::Failure;
use coffer_client::Error;
use coffer_client::checkpoint::{CheckpointAddress, Checkpoints};
use serde_json::json;

pub(super) async fn run(
    session: &Places<'_>,
    wanted: &CheckpointAddress,
    pinned: bool,
) -> Result<(), Failure> {
    let place = session.client.open(&wanted.run).await.map_err(Error::from)?;
    let checkpoints = Checkpoints::open(&place);
    let id = checkpoints.find(wanted.checkpoint).await.map_err(Error::from)?.id;
    checkpoints.pin(id, pinned).await.map_err(Error::from)?;
    let address = CheckpointAddress { run: wanted.run.clone(), checkpoint: id.into() };
    let word = if pinned { "pinned" } else { "unpinned" };
    let json = || json!({"checkpoint": id, "address": address.to_string(), "pinned": pinned});
    session.output.done(format_args!("{word}: {address}"), json)
}

//! The checkpoint that a command works with.

use coffer_train::checkpoint::{CheckpointId, Checkpoints, State};
use coffer_train::model::{DevicesChoice, Learner};
use coffer_train::train::ModelConfig;

use super::Session;
use super::args::CheckpointArgs;

/// A model as a checkpoint has it.
pub(super) struct Chosen {
    pub(super) id: CheckpointId,
    pub(super) model: ModelConfig,
    pub(super) learner: Box<dyn Learner>,
}

/// Reads the checkpoint that the command line names.
pub(super) fn chosen(session: &Session, args: &CheckpointArgs) -> anyhow::Result<Chosen> {
    let place = session.runtime.block_on(session.opener.open(&args.run.run))?;
    let checkpoints = Checkpoints::open(&place);
    let found = session.runtime.block_on(checkpoints.choose(args.run.checkpoint))?;
    found.passed_over.iter().for_each(|problem| session.output.warn(problem));
    let config = State::of(&found.loaded)?.config;
    let parts = found.loaded.parts;
    let mut learner = config.learner(DevicesChoice::from(args.device).open()?)?;
    learner.load(&|name| parts.get(name).map(|content| content.to_vec()))?;
    Ok(Chosen { id: found.loaded.entry.id, model: config.model, learner })
}

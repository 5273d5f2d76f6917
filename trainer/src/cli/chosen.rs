//! The checkpoint that a command works with.

use coffer_train::checkpoint::{CheckpointId, Checkpoints, Which};
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
    let place = session.runtime.block_on(session.opener.open(&args.run))?;
    let which = match (args.epoch, args.best) {
        (Some(epoch), _) => Which::Named(CheckpointId(epoch)),
        (None, true) => Which::Best,
        (None, false) => Which::Newest,
    };
    let mut checkpoints = Checkpoints::new(&place);
    let found = session.runtime.block_on(checkpoints.choose(which))?;
    found.passed_over.iter().for_each(|problem| session.output.warn(problem));
    let (config, parts) = (found.checkpoint.state.config, found.checkpoint.parts);
    let mut learner = config.learner(DevicesChoice::from(args.device).open()?)?;
    learner.load(&|name| parts.get(name).map(|content| content.to_vec()))?;
    Ok(Chosen { id: found.id, model: config.model, learner })
}

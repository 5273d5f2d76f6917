//! `coffer-train grid`.

use anyhow::{Context, bail};
use coffer_train::checkpoint::{CheckpointError, CheckpointId, Checkpoints};
use coffer_train::report::{GRID_SIDE, grid};
use coffer_train::seeded::{Purpose, stream};
use serde::Serialize;

use super::Session;
use super::args::Grid;

#[derive(Serialize)]
struct Drawn {
    checkpoint: String,
    picture: String,
}

pub(super) fn run(session: &Session, args: &Grid) -> anyhow::Result<()> {
    let place = session.runtime.block_on(session.opener.open(&args.run))?;
    let mut checkpoints = Checkpoints::new(&place);
    let (id, checkpoint) = session.runtime.block_on(async {
        if let Some(epoch) = args.epoch {
            let id = CheckpointId(epoch);
            return Ok((id, checkpoints.load(id).await?));
        }
        let found = checkpoints.newest().await?;
        let found = found.ok_or_else(|| CheckpointError::Missing(place.address().to_owned()))?;
        found.passed_over.iter().for_each(|problem| session.output.warn(problem));
        Ok::<_, CheckpointError>((found.id, found.checkpoint))
    })?;
    let mut learner = checkpoint.state.config.learner(args.device.open()?);
    learner.load(&|name| checkpoint.parts.get(name).map(|content| content.to_vec()))?;
    let mut rng = stream(args.seed, Purpose::Pictures, &[]);
    let Some(pictures) = learner.pictures(GRID_SIDE * GRID_SIDE, &mut rng)? else {
        bail!("the run's model makes no pictures");
    };
    let path = args.out.display().to_string();
    std::fs::write(&args.out, grid(&pictures)?).with_context(|| format!("can't write {path}"))?;
    let drawn = Drawn { checkpoint: id.to_string(), picture: path };
    let text = format!("{} of {}", drawn.picture, drawn.checkpoint);
    session.output.result(&text, &drawn);
    Ok(())
}

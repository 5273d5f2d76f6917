//! `coffer-train grid`.

use anyhow::{Context, bail};
use coffer_train::report::{GRID_SIDE, grid};
use coffer_train::seeded::Draws;
use serde::Serialize;

use super::Session;
use super::args::Grid;
use super::chosen::{Chosen, chosen};

#[derive(Serialize)]
struct Drawn {
    checkpoint: String,
    picture: String,
}

pub(super) fn run(session: &Session, args: &Grid) -> anyhow::Result<()> {
    let Chosen { id, learner, .. } = chosen(session, &args.checkpoint)?;
    let Some(pictures) = learner.pictures(Draws::pictures(args.seed, GRID_SIDE * GRID_SIDE))?
    else {
        bail!("the run's model makes no pictures");
    };
    let path = args.out.display().to_string();
    std::fs::write(&args.out, grid(&pictures, GRID_SIDE)?)
        .with_context(|| format!("can't write {path}"))?;
    let drawn = Drawn { checkpoint: id.to_string(), picture: path };
    let text = format!("{} of {}", drawn.picture, drawn.checkpoint);
    session.output.result(&text, &drawn);
    Ok(())
}

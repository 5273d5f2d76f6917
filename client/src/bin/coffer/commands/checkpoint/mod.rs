//! `checkpoint`.

mod diff;
mod ls;
mod pin;
mod prune;
mod restore;
mod show;
mod verify;

use crate::args::Checkpoint;
use crate::exit::Failure;
use crate::session::Places;
use coffer_client::Error;
use coffer_client::checkpoint::{
    CheckpointAddress, CheckpointError, Checkpoints, Entry, Manifest, Position, Root, Selector,
};
use coffer_client::place::Address;

pub(crate) async fn run(session: &Places<'_>, command: Checkpoint) -> Result<(), Failure> {
    session.until_signal(serve(session, command)).await
}

async fn serve(session: &Places<'_>, command: Checkpoint) -> Result<(), Failure> {
    match command {
        Checkpoint::Ls { run } => ls::run(session, &run).await,
        Checkpoint::Show { checkpoint, lineage } => show::run(session, &checkpoint, lineage).await,
        Checkpoint::Diff { a, b, values } => {
            let other = b.beside(&a);
            let compared = diff::run(session, &a, &other, values).await;
            compared.map_err(|failure| match failure {
                Failure::Differs => Failure::Differs,
                other => Failure::NotCompared(Box::new(other)),
            })
        }
        Checkpoint::Restore(args) => restore::run(session, &args).await,
        Checkpoint::Prune(args) => prune::run(session, &args).await,
        Checkpoint::Pin { checkpoint } => pin::run(session, &checkpoint, true).await,
        Checkpoint::Unpin { checkpoint } => pin::run(session, &checkpoint, false).await,
        Checkpoint::Verify { checkpoint, all } => verify::run(session, &checkpoint, all).await,
    }
}

/// A run's checkpoints, and which of them there are.
struct Run {
    checkpoints: Checkpoints,
    root: Root,
    /// Whether the root is as it was written.
    sound: bool,
}

/// With the root damaged or missing, the manifests tell which checkpoints there are: what can be
/// read still is, and what is wrong is told.
async fn open(session: &Places<'_>, run: &Address) -> Result<Run, Error> {
    let checkpoints = Checkpoints::open(&session.client.open(run).await?);
    let (root, problems) = checkpoints.recovered_root().await?;
    let sound = problems.is_empty();
    for problem in problems {
        session.output.error("", &problem.into());
    }
    let none = || CheckpointError::NoRun(checkpoints.address().to_owned());
    let root = root.ok_or_else(none)?;
    Ok(Run { checkpoints, root, sound })
}

/// How `root` lists the checkpoint that is wanted.
fn listed(checkpoints: &Checkpoints, root: &Root, wanted: Selector) -> Result<Entry, Error> {
    let missing = || CheckpointError::Missing {
        run: checkpoints.address().to_owned(),
        wanted: wanted.to_string(),
    };
    Ok(wanted.find(root).cloned().ok_or_else(missing)?)
}

/// One checkpoint.
struct Found {
    checkpoints: Checkpoints,
    root: Root,
    entry: Entry,
    manifest: Manifest,
    /// `RUN@step-N`, whichever way it was asked for.
    address: CheckpointAddress,
}

async fn find(session: &Places<'_>, wanted: &CheckpointAddress) -> Result<Found, Error> {
    let Run { checkpoints, root, .. } = open(session, &wanted.run).await?;
    let entry = listed(&checkpoints, &root, wanted.checkpoint)?;
    let manifest = checkpoints.manifest(&entry).await?;
    let address = CheckpointAddress { run: wanted.run.clone(), checkpoint: entry.id.into() };
    Ok(Found { checkpoints, root, entry, manifest, address })
}

/// What sets a checkpoint apart: latest, best, pinned.
fn marks(root: &Root, entry: &Entry) -> Vec<&'static str> {
    let best = root.best().is_some_and(|best| best.id == entry.id);
    let marks =
        [(root.latest().id == entry.id, "latest"), (best, "best"), (entry.pinned, "pinned")];
    marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect()
}

/// A position as in `3`, at the end of an epoch, or `3+9600`, so many samples into the next.
fn short(position: Position) -> String {
    match position {
        Position { epoch, sample: 0 } => epoch.to_string(),
        Position { epoch, sample } => format!("{epoch}+{sample}"),
    }
}

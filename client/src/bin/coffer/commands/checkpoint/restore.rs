//! `checkpoint restore`.

use super::{Places, find};
use crate::args::Restore;
use crate::exit::Failure;
use coffer_client::checkpoint::restore::{State, Target, survey};
use coffer_client::{Error, ErrorKind};
use indicatif::HumanBytes;
use serde_json::json;

pub(super) async fn run(session: &Places<'_>, args: &Restore) -> Result<(), Failure> {
    let found = find(session, &args.checkpoint).await?;
    let parts = &found.manifest.parts;
    if let Some(unknown) = args.part.iter().find(|name| !parts.contains_key(*name)) {
        let known = parts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = format!("{} has no part `{unknown}`; it has {known}", found.address);
        return Err(Failure::Usage(text));
    }
    let wanted = |name: &str| args.part.is_empty() || args.part.iter().any(|part| part == name);
    let targets = survey(&found.manifest, &args.folder, wanted).await?;
    refuse_others(session, args, &targets)?;
    let bar = &session.output.bar;
    for target in targets.iter().filter(|target| target.state != State::Right) {
        bar.found(1, target.part.bytes);
    }
    for target in &targets {
        if target.state != State::Right {
            found.checkpoints.restore(target, bar).await?;
            bar.object_done();
        }
        report(session, target)?;
    }
    bar.finish();
    Ok(())
}

/// Nothing is begun if a file of somebody else's is in the way.
fn refuse_others(
    session: &Places<'_>,
    args: &Restore,
    targets: &[Target<'_>],
) -> Result<(), Failure> {
    let differ = targets.iter().filter(|target| target.state == State::Differs && !args.force);
    let mut failed = 0;
    for target in differ {
        failed += 1;
        let why = "it is there and differs; name another folder, or add --force to replace it";
        let error = Error::File {
            action: "restore",
            path: target.file.clone(),
            source: std::io::Error::new(std::io::ErrorKind::AlreadyExists, why),
        };
        session.output.error("", &error);
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::Partly { failed, kind: Some(ErrorKind::Conflict) }),
    }
}

fn report(session: &Places<'_>, target: &Target<'_>) -> Result<(), Failure> {
    let fetched = target.state != State::Right;
    let word = if fetched { "restored" } else { "there already" };
    let (file, bytes) = (target.file.display(), target.part.bytes);
    let json = || {
        json!({
            "op": "restore",
            "part": target.name,
            "file": file.to_string(),
            "bytes": bytes,
            "blake3": target.part.blake3,
            "fetched": fetched,
        })
    };
    session.output.done(format_args!("{word}: {file} ({})", HumanBytes(bytes)), json)
}

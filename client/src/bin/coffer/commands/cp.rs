//! `cp`.

use super::bare_etag;
use super::tally::Tally;
use crate::args::{Cp, Place};
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::transfer::{Filter, content_type, local_path, walk};
use coffer_client::{Error, S3Url, Transfer, TransferOptions, Transferred};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One object to move.
#[derive(Debug)]
struct Job {
    kind: Kind,
    source: String,
    target: String,
    /// Size if it is known beforehand.
    bytes: Option<u64>,
}

#[derive(Debug)]
enum Kind {
    Upload { file: PathBuf, to: S3Url },
    UploadStream { to: S3Url },
    Download { from: S3Url, file: PathBuf, known: Option<(u64, Option<String>)> },
    DownloadStream { from: S3Url },
    Copy { from: S3Url, to: S3Url },
}

/// A job, or the reason why there is none for the named target.
type Found = Result<Job, (String, Error)>;

pub(crate) async fn run(session: &Session<'_>, args: Cp) -> Result<(), Failure> {
    let options = TransferOptions {
        part_bytes: args.part_size,
        memory_bytes: args.memory,
        ..TransferOptions::default()
    };
    let transfer = Transfer::new(session.client.clone(), options)
        .with_progress(Arc::new(session.output.bar.clone()))
        .with_cancellation(session.cancel.clone());
    let result = if args.recursive {
        many(session, &transfer, &args).await
    } else {
        one(session, &transfer, &args).await
    };
    session.output.bar.finish();
    result
}

async fn one(session: &Session<'_>, transfer: &Transfer, args: &Cp) -> Result<(), Failure> {
    let mut job = single_job(&args.source, &args.target)?;
    let work = async {
        look_up(session, &mut job).await?;
        session.output.bar.found(1, job.bytes.unwrap_or(0));
        execute(transfer, args, &job).await
    };
    let result = work.await;
    match result {
        Ok(done) => report(session, args, &job, &done),
        Err(error) => {
            let remote = if job.source.starts_with("s3:") { &job.source } else { &job.target };
            Err(Failure::at(remote)(error))
        }
    }
}

/// Finds out the size of an object to read, for the progress bar, and which state of it to read.
async fn look_up(session: &Session<'_>, job: &mut Job) -> Result<(), Error> {
    let from = match &job.kind {
        Kind::Upload { .. } | Kind::UploadStream { .. } => return Ok(()),
        Kind::Download { from, .. } | Kind::DownloadStream { from } | Kind::Copy { from, .. } => {
            from
        }
    };
    let info = session.until_signal(session.client.head(from)).await?;
    job.bytes = Some(info.size);
    if let Kind::Download { known, .. } = &mut job.kind {
        *known = Some((info.size, info.etag));
    }
    Ok(())
}

async fn many(session: &Session<'_>, transfer: &Transfer, args: &Cp) -> Result<(), Failure> {
    // Stops the start of further objects; those under way come to their own end, so that uploads
    // are completed or aborted, not left behind.
    let stop = session.cancel.child_token();
    let mut running = jobs(session, args)?
        .take_until(Box::pin(stop.clone().cancelled_owned()))
        .map(|found| async {
            let job = found?;
            session.output.bar.found(1, job.bytes.unwrap_or(0));
            let result = execute(transfer, args, &job).await;
            session.output.bar.object_done();
            match result {
                Ok(done) => Ok((job, done)),
                Err(error) => Err((job.source, error)),
            }
        })
        .buffer_unordered(args.parallel);
    let mut tally = Tally::default();
    while let Some(result) = running.next().await {
        match result {
            Ok((job, done)) => {
                tally.done();
                report(session, args, &job, &done)?;
            }
            Err((target, error)) => tally.failed(session.output, &target, &error),
        }
        if tally.lost() {
            stop.cancel();
        }
    }
    drop(running);
    tally.result()
}

/// The one job of a copy that is not recursive.
fn single_job(source: &Place, target: &Place) -> Result<Job, Failure> {
    let usage = |text: String| Err(Failure::Usage(text));
    let kind = match (source, target) {
        (Place::Local(file), Place::Store(to)) => {
            if file.is_dir() {
                return usage(format!("{} is a folder: add --recursive", file.display()));
            }
            let name = file.file_name().and_then(|name| name.to_str());
            Kind::Upload { file: file.clone(), to: object_target(to, name)? }
        }
        (Place::Standard, Place::Store(to)) if to.is_prefix() => {
            return usage(format!(
                "name the object to write: {}/KEY",
                to.to_string().trim_end_matches('/')
            ));
        }
        (Place::Standard, Place::Store(to)) => Kind::UploadStream { to: to.clone() },
        (Place::Store(from), _) if from.is_prefix() => {
            return usage(format!("{from} names no object: add --recursive"));
        }
        (Place::Store(from), Place::Local(file)) => {
            let file = file_target(file, from)?;
            Kind::Download { from: from.clone(), file, known: None }
        }
        (Place::Store(from), Place::Standard) => Kind::DownloadStream { from: from.clone() },
        (Place::Store(from), Place::Store(to)) => {
            let to = object_target(to, from.file_name())?;
            Kind::Copy { from: from.clone(), to }
        }
        (Place::Local(_) | Place::Standard, Place::Local(_) | Place::Standard) => {
            return usage("one of source and target must be an s3:// address".to_owned());
        }
    };
    Ok(Job::new(kind))
}

/// The object to write: `to` itself, or `name` in it if it is a prefix.
fn object_target(to: &S3Url, name: Option<&str>) -> Result<S3Url, Failure> {
    match (to.is_prefix(), name) {
        (false, _) => Ok(to.clone()),
        (true, Some(name)) => to.join(name).map_err(|error| Error::from(error).into()),
        (true, None) => Err(Failure::Usage(format!("name the object to write in {to}"))),
    }
}

/// The file to write: `file` itself, or one named as the object if it is a folder.
fn file_target(file: &Path, from: &S3Url) -> Result<PathBuf, Failure> {
    let folder = file.is_dir() || file.as_os_str().to_string_lossy().ends_with('/');
    if folder {
        Ok(local_path(file, from.file_name().unwrap_or_default())?)
    } else {
        Ok(file.to_owned())
    }
}

/// The jobs of a recursive copy, as they are found.
fn jobs<'a>(session: &Session<'_>, args: &'a Cp) -> Result<BoxStream<'a, Found>, Failure> {
    let filter = Filter::new(&args.selection.include, &args.selection.exclude)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    match (&args.source, &args.target) {
        (Place::Local(root), Place::Store(to)) => {
            if !root.is_dir() {
                let text = format!("{} is no folder: leave out --recursive", root.display());
                return Err(Failure::Usage(text));
            }
            Ok(uploads(root, to, filter))
        }
        (Place::Store(from), Place::Local(folder)) => {
            Ok(below(session, from, filter, move |relative, object, from| {
                let file = local_path(folder, relative)?;
                let known = Some((object.size, object.etag.clone()));
                Ok(Kind::Download { from, file, known })
            }))
        }
        (Place::Store(source), Place::Store(to)) => {
            if to.bucket() == source.bucket() && to.folder().starts_with(&source.folder()) {
                let text = format!("{to} lies within {source}: the copy would never end");
                return Err(Failure::Usage(text));
            }
            Ok(below(session, source, filter, move |relative, _, from| {
                Ok(Kind::Copy { from, to: to.join(relative)? })
            }))
        }
        _ => {
            Err(Failure::Usage("--recursive copies between folders and s3:// addresses".to_owned()))
        }
    }
}

fn uploads<'a>(root: &Path, to: &'a S3Url, filter: Filter) -> BoxStream<'a, Found> {
    let files = walk(root.to_owned());
    let place = root.display().to_string();
    let files =
        stream::unfold(
            files,
            |mut files| async move { files.recv().await.map(|file| (file, files)) },
        );
    files
        .filter_map(move |file| {
            let found = match file {
                Err(error) => Some(Err((place.clone(), error))),
                Ok(file) if !filter.takes(&file.relative) => None,
                Ok(file) => Some(match to.join(&file.relative) {
                    Ok(to) => {
                        let bytes = Some(file.size);
                        Ok(Job { bytes, ..Job::new(Kind::Upload { file: file.path, to }) })
                    }
                    Err(error) => Err((file.path.display().to_string(), error.into())),
                }),
            };
            async move { found }
        })
        .boxed()
}

/// A job for each object below `root`, taken as a folder; `kind` makes it of the key relative to
/// that, the object, and its address.
fn below<'a>(
    session: &Session<'_>,
    root: &S3Url,
    filter: Filter,
    kind: impl Fn(&str, &coffer_client::ObjectEntry, S3Url) -> Result<Kind, Error> + Send + 'a,
) -> BoxStream<'a, Found> {
    let folder = root.folder();
    let listed = match S3Url::new(root.bucket(), &folder) {
        Ok(prefix) => session.client.list_objects(&prefix).boxed(),
        Err(error) => stream::once(async move { Err(error.into()) }).boxed(),
    };
    let (bucket, place) = (root.bucket().to_owned(), root.to_string());
    listed
        .map_err(move |error| (place.clone(), error))
        .try_filter_map(move |object| {
            let relative = object.key.strip_prefix(&folder).unwrap_or(&object.key);
            // A key that ends in / is some tool's mark for a folder and has no contents.
            let wanted = !relative.is_empty() && !relative.ends_with('/') && filter.takes(relative);
            let job = wanted.then(|| {
                let made = S3Url::new(&bucket, &object.key)
                    .map_err(Error::from)
                    .and_then(|from| kind(relative, &object, from));
                made.map(|kind| Job { bytes: Some(object.size), ..Job::new(kind) })
                    .map_err(|error| (format!("s3://{bucket}/{}", object.key), error))
            });
            async move { job.transpose() }
        })
        .boxed()
}

impl Job {
    fn new(kind: Kind) -> Self {
        let path = |file: &Path| file.display().to_string();
        let (source, target) = match &kind {
            Kind::Upload { file, to } => (path(file), to.to_string()),
            Kind::UploadStream { to } => ("-".to_owned(), to.to_string()),
            Kind::Download { from, file, .. } => (from.to_string(), path(file)),
            Kind::DownloadStream { from } => (from.to_string(), "-".to_owned()),
            Kind::Copy { from, to } => (from.to_string(), to.to_string()),
        };
        let bytes = match &kind {
            Kind::Upload { file, .. } => std::fs::metadata(file).ok().map(|data| data.len()),
            _ => None,
        };
        Self { kind, source, target, bytes }
    }

    /// The operation's name in reports.
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Upload { .. } | Kind::UploadStream { .. } => "upload",
            Kind::Download { .. } | Kind::DownloadStream { .. } => "download",
            Kind::Copy { .. } => "copy",
        }
    }
}

async fn execute(transfer: &Transfer, args: &Cp, job: &Job) -> Result<Transferred, Error> {
    if args.selection.dry_run {
        return Ok(Transferred { bytes: job.bytes.unwrap_or(0), etag: None });
    }
    match &job.kind {
        Kind::Upload { file, to } => {
            transfer.upload_file(file, to, args.content_type.as_deref()).await
        }
        Kind::UploadStream { to } => {
            let guessed = content_type(to.key());
            let media_type = args.content_type.as_deref().unwrap_or(guessed);
            transfer.upload_stream(tokio::io::stdin(), to, media_type).await
        }
        Kind::Download { from, file, known: None } => transfer.download_file(from, file).await,
        Kind::Download { from, file, known: Some((size, etag)) } => {
            transfer.download_known(from, *size, etag.clone(), file).await
        }
        Kind::DownloadStream { from } => {
            transfer.download_stream(from, None, tokio::io::stdout()).await
        }
        Kind::Copy { from, to } => transfer.copy(from, to).await,
    }
}

fn report(session: &Session<'_>, args: &Cp, job: &Job, done: &Transferred) -> Result<(), Failure> {
    if matches!(job.kind, Kind::DownloadStream { .. }) {
        return Ok(()); // standard output belongs to the object
    }
    let (name, dry_run) = (job.name(), args.selection.dry_run);
    let word = if dry_run { "would " } else { "" };
    let line = format_args!("{word}{name}: {} -> {}", job.source, job.target).to_string();
    session.output.done(line, || {
        json!({
            "op": name,
            "source": job.source,
            "target": job.target,
            "bytes": done.bytes,
            "etag": bare_etag(done.etag.as_deref()),
            "dry_run": dry_run,
        })
    })
}

//! Bringing a checkpoint's parts into a local folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;

use futures::StreamExt;

use super::manifest::Part;
use super::{Checkpoints, Manifest};
use crate::transfer::{Existing, NewFile, Progress, blocking, local_path};
use crate::{Digest, Error};

/// A part and its place in the folder.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The part's name.
    pub name: &'a str,
    /// The part.
    pub part: &'a Part,
    /// Its file.
    pub file: PathBuf,
    /// What is there now.
    pub state: State,
}

/// What is at a part's place before it is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// The very bytes of the part.
    Right,
    /// A file with other content.
    Differs,
}

/// Looks at what `folder` has of those parts of `manifest` whose names are `wanted`. Files of the
/// right size are read and hashed.
///
/// # Errors
/// If a part's name would lead out of the folder, what is there can't be read, or is no file.
pub async fn survey<'a>(
    manifest: &'a Manifest,
    folder: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Target<'a>>, Error> {
    let mut targets = Vec::new();
    for (name, part) in manifest.parts.iter().filter(|(name, _)| wanted(name)) {
        let file = local_path(folder, name)?;
        let (path, bytes, digest) = (file.clone(), part.bytes, part.blake3);
        let state = blocking(move || state_of(&path, bytes, digest)).await?;
        targets.push(Target { name, part, file, state });
    }
    Ok(targets)
}

fn state_of(file: &Path, bytes: u64, digest: Digest) -> Result<State, Error> {
    let failed = |error| Error::file("look at", file)(error);
    let found = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Absent),
        other => other.map_err(failed)?,
    };
    if !found.is_file() {
        return Err(failed(io::Error::other("it is no file, and in the way of one")));
    }
    if found.len() != bytes {
        return Ok(State::Differs);
    }
    let mut hasher = blake3::Hasher::new();
    let mut content = File::open(file).map_err(failed)?;
    io::copy(&mut content, &mut hasher).map_err(failed)?;
    Ok(if Digest::from(hasher.finalize()) == digest { State::Right } else { State::Differs })
}

impl Checkpoints {
    /// Downloads a part to its place. The file gets its name when all of it was checked and synced;
    /// what was there before is replaced then, but only if the survey found it to differ.
    ///
    /// # Errors
    /// If the part can't be read or is damaged, or the file can't be written, or has appeared
    /// meanwhile. What was there is then as it was.
    pub async fn restore(&self, target: &Target<'_>, progress: &dyn Progress) -> Result<(), Error> {
        let (part, file) = (target.part, target.file.clone());
        let mut new = blocking(move || NewFile::beside(&file)).await?;
        let mut hasher = blake3::Hasher::new();
        let mut chunks = pin!(self.chunks(part));
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            hasher.update(&chunk);
            let (bytes, file) = (chunk.len(), target.file.clone());
            let write = move || {
                let written = new.handle().write_all(&chunk).map(|()| new);
                written.map_err(Error::file("write", file))
            };
            new = blocking(write).await?;
            progress.advance(u64::try_from(bytes).unwrap_or(0));
        }
        if Digest::from(hasher.finalize()) != part.blake3 {
            return Err(self.misfit().into());
        }
        let replace = target.state == State::Differs;
        let existing = if replace { Existing::Replace } else { Existing::Refuse };
        let bytes = part.bytes;
        blocking(move || new.put_in_place(bytes, existing)).await
    }
}

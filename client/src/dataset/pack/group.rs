//! Files with the same key are one sample.

use std::path::PathBuf;

use super::files::FilesError;
use crate::dataset::shard::{member_bytes, split_name};
use crate::transfer::LocalFile;

/// One field of a sample that is to be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    File { path: PathBuf, size: u64 },
    Text(String),
}

/// A sample that is to be packed: its key and, in the order of their names, its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) key: String,
    pub(super) fields: Vec<(String, Content)>,
}

impl Planned {
    pub(super) fn bytes(&self) -> u64 {
        let of =
            |(field, content): &(String, Content)| member_bytes(&self.key, field, content.size());
        self.fields.iter().map(of).sum()
    }
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
        }
    }
}

/// The samples that `files` make, in the order of their keys.
pub(super) fn group(
    files: Vec<LocalFile>,
    passed_over: &mut Vec<PathBuf>,
) -> Result<Vec<Planned>, FilesError> {
    let mut named = Vec::with_capacity(files.len());
    for LocalFile { path, relative, size } in files {
        match split_name(&relative) {
            Some((key, field)) => {
                named.push((key.to_owned(), field, Content::File { path, size }));
            }
            None => passed_over.push(path),
        }
    }
    named.sort_by(|(a, x, _), (b, y, _)| (a, x).cmp(&(b, y)));
    let mut samples: Vec<Planned> = Vec::new();
    for (key, field, content) in named {
        let Some(sample) = samples.last_mut().filter(|sample| sample.key == key) else {
            samples.push(Planned { key, fields: vec![(field, content)] });
            continue;
        };
        match (sample.fields.last(), &content) {
            (Some((last, Content::File { path: one, .. })), Content::File { path: other, .. })
                if *last == field =>
            {
                let (one, other) = (one.clone(), other.clone());
                return Err(FilesError::Twice { key, field, one, other });
            }
            _ => sample.fields.push((field, content)),
        }
    }
    Ok(samples)
}

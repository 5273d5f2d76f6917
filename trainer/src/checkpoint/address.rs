//! Naming a checkpoint from outside its run.

use std::fmt;
use std::str::FromStr;

use coffer_client::place::{Address, PlaceError};

use super::CheckpointId;

/// Folder of the checkpoints within a run.
pub(super) const FOLDER: &str = "checkpoints";

/// A checkpoint of any run: `s3://bucket/run/checkpoints/epoch-0003`, or `s3://bucket/run` for the
/// newest one there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointAddress {
    /// Where the run is.
    pub run: Address,
    /// Which of its checkpoints; the newest if none is named.
    pub checkpoint: Option<CheckpointId>,
}

impl FromStr for CheckpointAddress {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let named = text.trim_end_matches('/').rsplit_once('/').and_then(|(folder, name)| {
            let run = folder.strip_suffix(FOLDER)?.strip_suffix('/')?;
            Some((run.parse().ok()?, name.parse().ok()?))
        });
        match named {
            Some((run, id)) => Ok(Self { run, checkpoint: Some(id) }),
            None => Ok(Self { run: text.parse()?, checkpoint: None }),
        }
    }
}

impl fmt::Display for CheckpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.checkpoint {
            Some(id) => write!(f, "{}/{FOLDER}/{id}", self.run),
            None => self.run.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |text: &str| text.parse::<CheckpointAddress>().unwrap();
        let one = parse("s3://bkt/vae/checkpoints/epoch-0003/");
        assert_eq!(
            (one.run.to_string().as_str(), one.checkpoint),
            ("s3://bkt/vae", Some(CheckpointId(3)))
        );
        assert_eq!(one.to_string(), "s3://bkt/vae/checkpoints/epoch-0003");
        for text in ["s3://bkt/vae", "file:///d/epoch-0003", "s3://bkt/checkpoints/epoch-3"] {
            assert_eq!((parse(text).checkpoint, parse(text).to_string()), (None, text.to_owned()));
        }
        assert_eq!(parse("s3://bkt/checkpoints/epoch-0001").run.to_string(), "s3://bkt");
        // Here it's the bucket that is called so.
        assert_eq!(parse("s3://checkpoints/epoch-0001").checkpoint, None);
        assert!("vae".parse::<CheckpointAddress>().is_err());
    }
}

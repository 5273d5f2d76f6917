//! `coffer checkpoint`: the checkpoints of training runs.

use clap::{Args, Subcommand};
use coffer_client::checkpoint::retention::{Every, Retention};
use coffer_client::checkpoint::{CheckpointAddress, Selector};
use coffer_client::place::Address;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(super) const HELP: &str = "\
A run is s3://BUCKET/PREFIX or file:///DIRECTORY: the folder that checkpoints/index.json is in.
One of its checkpoints is named by what follows an @:
  s3://bucket/run            the latest
  s3://bucket/run@best       the best, as its trainer judged it
  s3://bucket/run@epoch-3    the one at the end of epoch 3
  s3://bucket/run@step-5625  the one after 5625 steps

Exit codes, beside the common ones:
  6  something that is stored is damaged; it has been named";

const DIFF_HELP: &str = "\
Exit codes, as those of diff(1):
  0  the checkpoints hold the same
  1  they differ
  2  or more: they could not be compared (2 also stands for errors that are 1 elsewhere)";

const PRUNE_EXAMPLES: &str = "\
The latest, the best and pinned checkpoints always stay. Without rules all stay, and only what
crashed saves have left is deleted.

Examples:
  coffer checkpoint prune s3://training/vae --keep-last 3 --keep-every 10epochs --dry-run
  coffer checkpoint prune s3://training/vae --keep-last 3 --keep-every 1000steps";

#[derive(Debug, Subcommand)]
pub(crate) enum Checkpoint {
    /// List a run's checkpoints, the oldest first
    Ls {
        /// s3://BUCKET/RUN or file:///DIRECTORY
        run: Address,
    },
    /// Show what a checkpoint is of, its files, and the tensors in them
    Show {
        /// RUN[@latest|@best|@epoch-N|@step-N]
        checkpoint: CheckpointAddress,
        /// Also the checkpoints that it came from, as far as they are still there
        #[arg(long)]
        lineage: bool,
    },
    /// Compare two checkpoints: files, configuration, metrics, tensors
    #[command(after_help = DIFF_HELP)]
    Diff {
        /// RUN[@SELECTOR]
        a: CheckpointAddress,
        /// RUN[@SELECTOR], or @SELECTOR of the same run
        b: Other,
        /// Read the tensors that differ, and say by how much at most
        #[arg(long)]
        values: bool,
    },
    /// Download a checkpoint's files, each checked before it gets its name
    ///
    /// Files that are there and right are not fetched again; so what broke off goes on.
    Restore(Restore),
    /// Delete checkpoints that no rule keeps, and what crashed saves have left
    #[command(after_help = PRUNE_EXAMPLES)]
    Prune(Prune),
    /// Keep a checkpoint, whatever the rules of prune say
    Pin {
        /// RUN@SELECTOR
        checkpoint: CheckpointAddress,
    },
    /// Let the rules of prune decide again about a checkpoint
    Unpin {
        /// RUN@SELECTOR
        checkpoint: CheckpointAddress,
    },
    /// Read every byte of a checkpoint and check it against its hash
    Verify {
        /// RUN[@SELECTOR]
        checkpoint: CheckpointAddress,
        /// All checkpoints of the run
        #[arg(long)]
        all: bool,
    },
}

impl Checkpoint {
    /// Whether it moves so much that it should outlive the restart of a gateway.
    pub(crate) fn is_long(&self) -> bool {
        matches!(self, Self::Diff { .. } | Self::Restore(_) | Self::Prune(_) | Self::Verify { .. })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// RUN[@SELECTOR]
    pub(crate) checkpoint: CheckpointAddress,
    /// The folder to write to; made if it isn't there
    pub(crate) folder: PathBuf,
    /// Only the file of this name. May be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) part: Vec<String>,
    /// Replace files that are there and differ
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// s3://BUCKET/RUN or file:///DIRECTORY
    pub(crate) run: Address,
    /// Keep so many of the newest
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_last: Option<NonZeroUsize>,
    /// Keep one for every so many epochs or steps: 10epochs, 1000steps
    #[arg(long, value_name = "DISTANCE")]
    pub(crate) keep_every: Option<Every>,
    /// Say what would go and what would stay, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How old the leavings of a save must be before it is taken for crashed, as 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    pub(crate) grace: Duration,
}

impl Prune {
    /// What the rules given come to.
    pub(crate) fn retention(&self) -> Retention {
        Retention { last: self.keep_last, every: self.keep_every }
    }
}

/// A checkpoint to compare with: an address, or a selector of the first one's run.
#[derive(Debug, Clone)]
pub(crate) enum Other {
    SameRun(Selector),
    Named(CheckpointAddress),
}

impl FromStr for Other {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(selector) => selector.parse().map(Self::SameRun).map_err(|e| format!("{e}")),
            None => text.parse().map(Self::Named).map_err(|e| format!("{e}")),
        }
    }
}

impl Other {
    /// The full address, beside `first`.
    pub(crate) fn beside(&self, first: &CheckpointAddress) -> CheckpointAddress {
        match self {
            Self::SameRun(selector) => {
                CheckpointAddress { run: first.run.clone(), checkpoint: *selector }
            }
            Self::Named(address) => address.clone(),
        }
    }
}

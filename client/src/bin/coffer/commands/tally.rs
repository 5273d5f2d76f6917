//! The count of many objects' fates.

use crate::exit::Failure;
use crate::output::Output;
use coffer_client::{Error, ErrorKind};

/// How many objects went well, and how the others went.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    done: u64,
    failed: u64,
    /// The kind of all failures so far, if they are alike.
    kind: Option<ErrorKind>,
    lost: bool,
}

impl Tally {
    pub(crate) fn done(&mut self) {
        self.done += 1;
    }

    /// Reports and counts a failure. What the user stopped is neither reported nor counted.
    pub(crate) fn failed(&mut self, output: &Output, target: &str, error: &Error) {
        let kind = error.kind();
        if kind == ErrorKind::Cancelled {
            return;
        }
        output.error(target, error);
        self.kind = if self.failed == 0 { Some(kind) } else { self.kind.filter(|k| *k == kind) };
        self.failed += 1;
        self.lost |= kind == ErrorKind::Unavailable;
    }

    /// Whether the gateway was lost on the way, so that going on makes no sense.
    pub(crate) fn lost(&self) -> bool {
        self.lost
    }

    /// The command's result.
    pub(crate) fn result(self) -> Result<(), Failure> {
        let kind = match (self.lost, self.done) {
            (true, _) => Some(ErrorKind::Unavailable),
            (false, 0) => self.kind,
            (false, _) => None,
        };
        match self.failed {
            0 => Ok(()),
            failed => Err(Failure::Partly { failed, kind }),
        }
    }
}

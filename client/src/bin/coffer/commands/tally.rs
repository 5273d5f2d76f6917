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
}

impl Tally {
    pub(crate) fn done(&mut self) {
        self.done += 1;
    }

    /// Reports and counts a failure.
    ///
    /// # Errors
    /// If going on makes no sense: the user or the gateway's absence stops us.
    pub(crate) fn failed(
        &mut self,
        output: &Output,
        target: &str,
        error: Error,
    ) -> Result<(), Failure> {
        let kind = error.kind();
        if kind == ErrorKind::Cancelled {
            return Err(error.into());
        }
        output.error(target, &error);
        self.kind = if self.failed == 0 { Some(kind) } else { self.kind.filter(|k| *k == kind) };
        self.failed += 1;
        if kind == ErrorKind::Unavailable {
            return Err(Failure::Partly { failed: self.failed, kind: Some(kind) });
        }
        Ok(())
    }

    /// The command's result.
    pub(crate) fn result(self) -> Result<(), Failure> {
        match (self.failed, self.done) {
            (0, _) => Ok(()),
            (failed, 0) => Err(Failure::Partly { failed, kind: self.kind }),
            (failed, _) => Err(Failure::Partly { failed, kind: None }),
        }
    }
}

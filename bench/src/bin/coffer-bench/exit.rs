//! How the program ends.

use std::process::ExitCode;

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All that was asked for is done.
    Well,
    /// It could not be done; standard error says why.
    Failed,
    /// What was asked for makes no sense.
    WrongUsage,
    /// The figures are there, but some operations failed or never began.
    OperationsFailed,
    /// Somebody stopped it.
    Interrupted,
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        Self::from(match ended {
            Ended::Well => 0,
            Ended::Failed => 1,
            // As clap has it.
            Ended::WrongUsage => 2,
            Ended::OperationsFailed => 3,
            Ended::Interrupted => 130,
        })
    }
}

//! How the program ends.

use coffer_client::{Error, ErrorKind};
use std::process::ExitCode;

/// Why a command did not do all it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for something that makes no sense.
    Usage(String),
    /// The command failed as a whole, at `target`.
    Failed { target: String, error: Box<Error> },
    /// Some of many objects failed; each has been reported. The kind is set where it says more
    /// than that: all failed for the same reason, or the gateway was lost.
    Partly { failed: u64, kind: Option<ErrorKind> },
    /// A check has found objects that are not whole; it has said which.
    Ailing { readable: bool },
    /// A check has found damage, and has named it.
    Damaged,
    /// A check broke off.
    Incomplete { why: String },
    /// What was compared differs; how has been printed.
    Differs,
    /// What was to be compared couldn't be: codes that mean a difference mean something else then.
    NotCompared(Box<Failure>),
    /// The cluster needs an operator; what for has been printed.
    NeedsOperator,
    /// A signal stopped the program.
    Signal { number: u8 },
    /// The reader of our output went away, which is its right.
    ReaderGone,
}

impl Failure {
    /// The exit code, as `--help` documents it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Usage(_) => 2,
            Self::Failed { error, .. } => code(error.kind()),
            Self::Partly { kind, .. } => kind.map_or(1, code),
            Self::Ailing { readable: true } => 6,
            Self::Ailing { readable: false } => 7,
            Self::Damaged => 6,
            Self::Incomplete { .. } => 1,
            Self::Differs => 1,
            Self::NotCompared(failure) => match failure.code() {
                1 => 2,
                other => other,
            },
            Self::NeedsOperator => 8,
            Self::Signal { number } => 128 + number,
        }
    }

    /// A failure at `target`; no failure if only our reader went away.
    pub(crate) fn at(target: impl ToString) -> impl FnOnce(Error) -> Self {
        let target = target.to_string();
        move |error| match &error {
            Error::Stream { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe => {
                Self::ReaderGone
            }
            _ => Self::Failed { target, error: Box::new(error) },
        }
    }
}

fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Other | ErrorKind::Conflict => 1,
        ErrorKind::Invalid => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::AccessDenied => 4,
        ErrorKind::Unavailable => 5,
        ErrorKind::Damaged => 6,
        ErrorKind::Cancelled => 130,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::at("")(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_compared_is_no_difference() {
        assert_eq!(Failure::Differs.code(), 1);
        let source = std::io::Error::other("broken");
        let other = Failure::from(Error::Stream { action: "read", source });
        assert_eq!(other.code(), 1);
        assert_eq!(Failure::NotCompared(Box::new(other)).code(), 2);
        let missing = Failure::Partly { failed: 1, kind: Some(ErrorKind::NotFound) };
        assert_eq!(Failure::NotCompared(Box::new(missing)).code(), 3);
    }
}

//! The library's error type.

use crate::checkpoint::CheckpointError;
use crate::dataset::DatasetError;
use crate::dataset::pack::PackError;
use crate::endpoint::EndpointError;
use crate::place::PlaceError;
use crate::profile::ProfileError;
use crate::s3::{S3Code, S3Error};
use crate::transport::TransportError;
use crate::url::{S3Url, S3UrlError};
use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

/// Anything that went wrong, with what, where and, by [`Error::hint`], what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The profile can't be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// An `s3://` address can't be used.
    #[error(transparent)]
    Address(#[from] S3UrlError),
    /// A place for datasets and runs can't be used.
    #[error(transparent)]
    Place(Box<PlaceError>),
    /// A checkpoint can't be read or written.
    #[error(transparent)]
    Checkpoint(Box<CheckpointError>),
    /// A dataset can't be read.
    #[error(transparent)]
    Dataset(Box<DatasetError>),
    /// A dataset can't be packed.
    #[error(transparent)]
    Pack(Box<PackError>),
    /// The gateway answered with an error.
    #[error(transparent)]
    S3(Box<S3Error>),
    /// There was no answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// There was an answer, but not one that S3 knows.
    #[error("the gateway's answer to {request} makes no sense: {reason}")]
    Answer {
        /// What was asked.
        request: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A request could not be put together.
    #[error("cannot build the request: {0}")]
    Request(String),
    /// A local file is in the way.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A stream such as standard input or output failed.
    #[error("cannot {action}: {source}")]
    Stream {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A local file changed while it was read.
    #[error("{path} changed while it was being uploaded", path = .0.display())]
    SourceChanged(PathBuf),
    /// An object was replaced while it was read.
    #[error("{0} changed while it was being read")]
    ObjectChanged(S3Url),
    /// A key can't become a file name without leaving the folder it belongs in.
    #[error("the key `{0}` has no safe file name: it would lead out of the target folder")]
    UnsafeKey(String),
    /// A key the data path can't carry.
    #[error("the key `{0}` can't be transferred: empty path segments do not survive")]
    UnsupportedKey(String),
    /// An object is larger than S3 allows.
    #[error("{size} bytes are more than an object may have ({limit})")]
    TooLarge {
        /// The size.
        size: u64,
        /// The largest size.
        limit: u64,
    },
    /// The transfer was stopped by the user.
    #[error("interrupted")]
    Cancelled,
    /// An error of the object store library that is none of the above.
    #[error(transparent)]
    Store(object_store::Error),
}

/// What an [`Error`] means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The bucket, object or file does not exist.
    NotFound,
    /// The gateway does not let us.
    AccessDenied,
    /// The gateway can't be reached or can't serve now; trying later may help.
    Unavailable,
    /// It exists already, or is not in the state the request required.
    Conflict,
    /// The request or the configuration is wrong.
    Invalid,
    /// Something that is stored isn't what it was when it was written.
    Damaged,
    /// The user stopped it.
    Cancelled,
    /// Anything else.
    Other,
}

impl Error {
    /// What the error means to the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Profile(_) | Self::Address(_) | Self::Request(_) => ErrorKind::Invalid,
            Self::UnsafeKey(_) | Self::UnsupportedKey(_) | Self::TooLarge { .. } => {
                ErrorKind::Invalid
            }
            Self::S3(error) => error.kind(),
            Self::Place(error) => error.kind(),
            Self::Checkpoint(error) => error.kind(),
            Self::Dataset(error) => error.kind(),
            Self::Pack(error) => error.kind(),
            Self::Transport(TransportError::Roots { .. }) => ErrorKind::Invalid,
            Self::Transport(_) => ErrorKind::Unavailable,
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Store(object_store::Error::NotFound { .. }) => ErrorKind::NotFound,
            Self::Store(
                object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. },
            ) => ErrorKind::AccessDenied,
            Self::Store(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => ErrorKind::Conflict,
            Self::Answer { .. }
            | Self::File { .. }
            | Self::Stream { .. }
            | Self::SourceChanged(_)
            | Self::ObjectChanged(_)
            | Self::Store(_) => ErrorKind::Other,
        }
    }

    /// What the user can do about it, if we know.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::S3(error) => error.hint().map(str::to_owned),
            Self::Transport(error) => error.hint(),
            Self::Place(error) => error.hint(),
            Self::Checkpoint(error) => error.hint(),
            Self::Dataset(error) => error.hint(),
            Self::Pack(error) => error.hint(),
            Self::SourceChanged(_) => Some("upload it again when nothing writes to it".to_owned()),
            Self::ObjectChanged(_) => Some("try again".to_owned()),
            _ => None,
        }
    }

    /// Reads a failed precondition as what it means to one who reads on: another object.
    pub(crate) fn or_changed(self, object: &S3Url) -> Self {
        match self {
            Self::S3(error) if error.code == S3Code::PreconditionFailed => {
                Self::ObjectChanged(object.clone())
            }
            other => other,
        }
    }

    /// Turns an I/O error on `path` into one that names it.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

impl From<S3Error> for Error {
    fn from(error: S3Error) -> Self {
        Self::S3(Box::new(error))
    }
}

impl From<EndpointError> for Error {
    fn from(error: EndpointError) -> Self {
        Self::Profile(error.into())
    }
}

impl From<PlaceError> for Error {
    fn from(error: PlaceError) -> Self {
        Self::Place(Box::new(error))
    }
}

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(Box::new(error))
    }
}

impl From<DatasetError> for Error {
    fn from(error: DatasetError) -> Self {
        Self::Dataset(Box::new(error))
    }
}

impl From<PackError> for Error {
    fn from(error: PackError) -> Self {
        Self::Pack(Box::new(error))
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        Self::understand(&error).unwrap_or(Self::Store(error))
    }
}

impl Error {
    /// Digs out what `object_store` wraps: our own transport's error, or the gateway's answer.
    pub(crate) fn understand(error: &object_store::Error) -> Option<Self> {
        if let Some(transport) = find_in_chain::<TransportError>(error) {
            return Some(Self::Transport(transport.clone()));
        }
        let (status, code) = match error {
            object_store::Error::NotFound { .. } => (404, S3Code::Other("NotFound".to_owned())),
            object_store::Error::PermissionDenied { .. } => (403, S3Code::AccessDenied),
            object_store::Error::Unauthenticated { .. } => (401, S3Code::AccessDenied),
            object_store::Error::Precondition { .. } => (412, S3Code::PreconditionFailed),
            object_store::Error::AlreadyExists { .. } => (409, S3Code::PreconditionFailed),
            _ => (0, S3Code::Other(String::new())),
        };
        let text = error.to_string();
        match S3Error::find_in_text(status, &text) {
            Some(answer) => Some(answer.into()),
            // An answer to HEAD has no body to tell more.
            None => (status != 0).then(|| S3Error::bare(status, code).into()),
        }
    }
}

/// Shows an error with its sources, each said once: some messages end with their source's.
#[derive(Debug, Clone, Copy)]
pub struct InFull<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for InFull<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        for source in chain(self.0).skip(1) {
            let text = source.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
        }
        Ok(())
    }
}

/// `error` and its sources, outermost first.
pub(crate) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The first error of type `E` in `error`'s chain of sources.
pub(crate) fn find_in_chain<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Nested {
        #[error("index: {source}")]
        Repeats { source: Box<Nested> },
        #[error("can't read")]
        Adds { source: Box<Nested> },
        #[error("broken")]
        Root,
    }

    #[test]
    fn an_error_in_full_says_each_source_once() {
        let repeats = |source| Nested::Repeats { source: Box::new(source) };
        let adds = |source| Nested::Adds { source: Box::new(source) };
        let told = |error: Nested| InFull(&error).to_string();
        assert_eq!(told(Nested::Root), "broken");
        assert_eq!(told(repeats(Nested::Root)), "index: broken");
        assert_eq!(told(adds(Nested::Root)), "can't read: broken");
        assert_eq!(told(repeats(adds(Nested::Root))), "index: can't read: broken");
        assert_eq!(told(adds(repeats(Nested::Root))), "can't read: index: broken");
    }
}

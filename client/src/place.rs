//! Where datasets and runs live: a prefix in a bucket, or a local directory.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::{Client, ClientOptions, Error, ErrorKind, Profile, ProfileOptions, RetryPolicy, S3Url};

/// Why a place in a store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The address is of no known form.
    #[error("`{0}` is no place for data: write s3://BUCKET/PREFIX or file:///DIRECTORY")]
    Address(String),
    /// The client can't be set up, or the bucket can't be made.
    #[error("{address}: {source}")]
    Client {
        /// The address that was to be opened.
        address: String,
        /// What is wrong.
        source: Box<crate::Error>,
    },
    /// The directory isn't there, or can't be made or opened.
    #[error("can't open {address}: {source}")]
    Open {
        /// Its address.
        address: String,
        /// What the store said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object can't be read.
    #[error("can't read {object}: {source}")]
    Read {
        /// Its full address.
        object: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// An object can't be written.
    #[error("can't write {object}: {source}")]
    Write {
        /// Its full address.
        object: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// An object is larger than anything that belongs there.
    #[error("{object} is {bytes} bytes long, and at most {limit} were expected")]
    TooLarge {
        /// Its full address.
        object: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

impl PlaceError {
    /// Whether the error says that the object doesn't exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Read { source: object_store::Error::NotFound { .. }, .. })
    }

    /// What the error means to the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Address(_) => ErrorKind::Invalid,
            Self::Client { source, .. } => source.kind(),
            Self::Open { .. } => ErrorKind::NotFound,
            Self::Read { source, .. } | Self::Write { source, .. } => {
                Error::understand(source).map_or(ErrorKind::Other, |error| error.kind())
            }
            Self::TooLarge { .. } => ErrorKind::Damaged,
        }
    }

    /// What the user can do about it, if we know.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Client { source, .. } => source.hint(),
            Self::Read { source, .. } | Self::Write { source, .. } => {
                Error::understand(source)?.hint()
            }
            Self::Address(_) | Self::Open { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// The address of a place: what users write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `s3://bucket/prefix`.
    S3 {
        /// Bucket name.
        bucket: String,
        /// Prefix of keys, without slashes at its ends; may be empty.
        prefix: String,
    },
    /// `file:///directory`.
    Directory(PathBuf),
}

impl FromStr for Address {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let refuse = || PlaceError::Address(text.to_owned());
        if text.starts_with("s3://") {
            let url: S3Url = text.parse().map_err(|error| PlaceError::Client {
                address: text.to_owned(),
                source: Box::new(crate::Error::Address(error)),
            })?;
            let prefix = url.key().trim_matches('/').to_owned();
            return Ok(Self::S3 { bucket: url.bucket().to_owned(), prefix });
        }
        let directory = text.strip_prefix("file://").filter(|path| path.starts_with('/'));
        directory.map(|path| Self::Directory(path.into())).ok_or_else(refuse)
    }
}

impl Address {
    /// The place `name` within this one.
    pub fn child(&self, name: &str) -> Self {
        match self {
            Self::S3 { bucket, prefix } => {
                let prefix = format!("{prefix}/{name}").trim_start_matches('/').to_owned();
                Self::S3 { bucket: bucket.clone(), prefix }
            }
            Self::Directory(path) => Self::Directory(path.join(name)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Directory(path) => write!(f, "file://{}", path.display()),
        }
    }
}

/// Opens places, over one connection to the gateway if any of them is in a bucket.
#[derive(Debug, Default)]
pub struct Opener {
    options: ProfileOptions,
    retry: RetryPolicy,
    client: OnceLock<Client>,
}

impl Opener {
    /// An opener that finds the gateway and its credentials by `options`.
    pub fn new(options: ProfileOptions) -> Self {
        Self { options, retry: RetryPolicy::default(), client: OnceLock::new() }
    }

    /// With another patience for requests that fail.
    #[must_use]
    pub fn with_retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// Opens the place at `address`. That its bucket doesn't exist shows with the first request.
    ///
    /// # Errors
    /// If the gateway isn't configured, or the directory isn't there.
    pub async fn open(&self, address: &Address) -> Result<Place, PlaceError> {
        match address {
            Address::Directory(path) => Place::directory(path),
            Address::S3 { bucket, prefix } => {
                let bucket = self.client().and_then(|client| client.bucket(bucket));
                let bucket = bucket.map_err(|error| client_error(address, error))?;
                let store = Arc::new(PrefixStore::new(bucket, prefix.as_str()));
                Ok(Place::new(store, address.to_string()))
            }
        }
    }

    /// Opens the place at `address`, and makes its bucket or directory if that isn't there.
    ///
    /// # Errors
    /// If the gateway isn't configured, or the bucket or directory can't be made.
    pub async fn create(&self, address: &Address) -> Result<Place, PlaceError> {
        match address {
            Address::Directory(path) => {
                std::fs::create_dir_all(path).map_err(|error| open_error(address, error))?;
            }
            Address::S3 { bucket, .. } => {
                let failed = |error| client_error(address, error);
                let client = self.client().map_err(failed)?;
                // Whoever may not ask whether the bucket exists may still be allowed to use it.
                if let Ok(false) = client.head_bucket(bucket).await {
                    client.create_bucket(bucket).await.map_err(failed)?;
                }
            }
        }
        self.open(address).await
    }

    /// Takes leave of the gateway, if there was one.
    pub async fn close(&self) {
        if let Some(client) = self.client.get() {
            client.close().await;
        }
    }

    fn client(&self) -> Result<&Client, crate::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let options = ClientOptions { retry: self.retry.clone(), ..ClientOptions::default() };
        let client = Client::with_options(Profile::load(&self.options)?, options)?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn client_error(address: &Address, source: crate::Error) -> PlaceError {
    PlaceError::Client { address: address.to_string(), source: Box::new(source) }
}

fn open_error(
    address: &Address,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> PlaceError {
    PlaceError::Open { address: address.to_string(), source: source.into() }
}

/// An open place: all object names are relative to it, and errors name objects in full.
#[derive(Debug, Clone)]
pub struct Place {
    store: Arc<dyn ObjectStore>,
    address: String,
}

impl Place {
    /// The root of `store`, which messages call `address`.
    pub fn new(store: Arc<dyn ObjectStore>, address: impl Into<String>) -> Self {
        Self { store, address: address.into() }
    }

    /// Opens a local directory. What is written there is synced before that is said.
    ///
    /// # Errors
    /// If it isn't there or can't be opened.
    pub fn directory(path: &std::path::Path) -> Result<Self, PlaceError> {
        let address = Address::Directory(path.to_owned());
        let store =
            LocalFileSystem::new_with_prefix(path).map_err(|error| open_error(&address, error))?;
        let store = store.with_automatic_cleanup(true).with_fsync(true);
        Ok(Self::new(Arc::new(store), address.to_string()))
    }

    /// The place `name` within this one.
    pub fn child(&self, name: &str) -> Self {
        Self {
            store: Arc::new(PrefixStore::new(Arc::clone(&self.store), name)),
            address: self.address_of(name),
        }
    }

    /// The store behind it.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The address of the place.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The full address of object `name`, for messages.
    pub fn address_of(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Reads object `name` whole, unless it is larger than `limit` bytes.
    ///
    /// # Errors
    /// If it can't be read or is too large.
    pub async fn read(&self, name: &str, limit: u64) -> Result<Bytes, PlaceError> {
        let object = || self.address_of(name);
        let failed = |source| PlaceError::Read { object: object(), source };
        let found = self.store.get(&Path::from(name)).await.map_err(failed)?;
        let bytes = found.meta.size;
        if bytes > limit {
            return Err(PlaceError::TooLarge { object: object(), bytes, limit });
        }
        found.bytes().await.map_err(failed)
    }

    /// Writes object `name` whole; when this returns, the store has acknowledged it.
    ///
    /// # Errors
    /// If the store refuses it.
    pub async fn write(&self, name: &str, content: Bytes) -> Result<(), PlaceError> {
        let put = self.store.put(&Path::from(name), PutPayload::from(content)).await;
        put.map(drop).map_err(|source| PlaceError::Write { object: self.address_of(name), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |text: &str| text.parse::<Address>();
        for text in ["s3://bkt", "s3://bkt/a/c", "file:///tmp/x"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("s3://bkt/").unwrap().child("mnist").to_string(), "s3://bkt/mnist");
        assert_eq!(parse("s3://bkt/a/").unwrap().child("mnist").to_string(), "s3://bkt/a/mnist");
        assert_eq!(parse("file:///d").unwrap().child("x").to_string(), "file:///d/x");
        for text in ["", "s3://", "s3:///a", "s3://Bad_Name/x", "/tmp/x", "file://tmp", "http://b"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

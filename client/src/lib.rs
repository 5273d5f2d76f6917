//! Client library of Coffer, the distributed, encrypted object store.
//!
//! - [`Profile`] says where the gateways are, who asks and whom to trust.
//! - [`Client`] is one cluster seen by one identity: [`Client::bucket`] gives an
//!   [`object_store::ObjectStore`], and buckets, exact listings, copies and tokens are methods.
//! - [`admin`] is about operating the cluster.
//! - [`transfer`] moves files, streams and copies in parallel parts with bounded memory.
//! - [`place`] is where datasets and runs live: a prefix in a bucket, or a local directory.
//! - [`checkpoint`] is what runs write there: versioned, whole or not there, stored once.
//! - [`dataset`] packs, verifies and streams datasets: WebDataset shards with an index.
//! - [`transport`] carries the requests: HTTP/3, or HTTP/2 and 1.1 where UDP does not pass.
//! - [`Error`] says what went wrong, where, and what to do about it.
//!
//! The `coffer` program is a thin layer over this library.

pub mod admin;
pub mod checkpoint;
mod client;
pub mod dataset;
mod digest;
mod endpoint;
mod error;
pub mod place;
pub mod profile;
mod retry;
mod s3;
mod secret;
mod size;
mod timestamp;
pub mod transfer;
pub mod transport;
mod url;

pub use client::{Client, ClientOptions};
pub use digest::Digest;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Error, ErrorKind, InFull};
pub use profile::{Credentials, Http3, Profile, ProfileError, ProfileOptions};
pub use retry::RetryPolicy;
pub use s3::{
    Bucket, BucketQuota, BucketUsage, DeleteFailure, Entry, Listing, NewToken, ObjectEntry,
    ObjectInfo, S3Code, S3Error, TokenRequest, Verb,
};
pub use secret::Secret;
pub use size::parse_size;
pub use timestamp::Timestamp;
pub use transfer::{Transfer, TransferOptions, Transferred};
pub use url::{MAX_KEY_BYTES, S3Url, S3UrlError};

// What callers need beside us comes from us, in the version we use.
pub use object_store;

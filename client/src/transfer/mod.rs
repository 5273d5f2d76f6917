//! Moving objects: files, streams and copies, in parallel parts with bounded memory.

mod budget;
mod content_type;
mod copy;
mod download;
mod files;
mod filter;
mod new_file;
mod plan;
mod source;
mod upload;

pub use content_type::content_type;
pub use download::ByteRange;
pub use files::{LocalFile, local_path, walk};
pub use filter::{Filter, FilterError};
pub(crate) use new_file::{Existing, NewFile};
pub use plan::{MAX_OBJECT_BYTES, MAX_PARTS, MIN_PART_BYTES, PartPlan};
pub(crate) use source::blocking;

use crate::client::Client;
use crate::error::Error;
use crate::url::S3Url;
use budget::Budget;
use object_store::path::Path as StorePath;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const MIB: u64 = 1024 * 1024;

/// How to move objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferOptions {
    /// Size of parts in bytes; larger where an object would otherwise have too many. Objects
    /// smaller than this go in one piece.
    pub part_bytes: u64,
    /// Bytes that may be in memory for all transfers together.
    pub memory_bytes: u64,
    /// Objects above this size are copied by the gateway in parts of this size, side by side, so
    /// that no single request takes long.
    pub copy_bytes: u64,
}

impl Default for TransferOptions {
    /// 8 MiB parts, eight of them at a time; copies in parts of 256 MiB.
    fn default() -> Self {
        Self { part_bytes: 8 * MIB, memory_bytes: 64 * MIB, copy_bytes: 256 * MIB }
    }
}

/// Hears of bytes that have arrived where they should.
pub trait Progress: Send + Sync {
    /// `bytes` more are done.
    fn advance(&self, bytes: u64);
}

impl Progress for () {
    fn advance(&self, _: u64) {}
}

/// A finished transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// Size of the object or range.
    pub bytes: u64,
    /// Entity tag of the object, if known.
    pub etag: Option<String>,
}

/// Moves objects for one client. Clones share the memory budget, so that any number of transfers
/// may run side by side.
#[derive(Clone)]
pub struct Transfer {
    client: Client,
    options: TransferOptions,
    budget: Budget,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
}

impl Transfer {
    /// Transfers with the given options.
    pub fn new(client: Client, options: TransferOptions) -> Self {
        let budget = Budget::new(options.memory_bytes);
        Self { client, options, budget, progress: Arc::new(()), cancel: CancellationToken::new() }
    }

    /// Tells `progress` of all bytes moved.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Stops all transfers with [`Error::Cancelled`] once `cancel` is cancelled; uploads under way
    /// are aborted, temporary files removed.
    #[must_use]
    pub fn with_cancellation(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The client that carries the transfers.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs `work` unless the user cancels.
    async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            result = work => result,
            () = self.cancel.cancelled() => Err(Error::Cancelled),
        }
    }
}

/// The key in `object_store`'s form, which has no empty segments.
fn store_path(object: &S3Url) -> Result<StorePath, Error> {
    match StorePath::parse(object.key()) {
        Ok(path) if path.as_ref() == object.key() => Ok(path),
        _ => Err(Error::UnsupportedKey(object.key().to_owned())),
    }
}

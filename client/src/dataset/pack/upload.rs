//! Uploads a shard while it's being written.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::PackError;
use crate::dataset::shard::{ShardError, ShardWriter, Written};
use crate::place::{Place, PlaceError};

/// Size of the parts of an upload.
const PART: usize = 8 << 20;
/// Parts of one upload that are under way; one more is being filled, and one waits.
const IN_FLIGHT: usize = 2;
/// How long to try to tell the store that an upload will not be completed.
const ABORT_LIMIT: Duration = Duration::from_secs(5);

/// Where a shard is written to: in parts, to the task that uploads them.
pub struct Parts {
    open: Vec<u8>,
    sender: mpsc::Sender<Bytes>,
}

impl Parts {
    fn send(&mut self) -> io::Result<()> {
        let part = std::mem::take(&mut self.open);
        // The upload has failed, and says why itself.
        let gone = |_| io::Error::other("the upload has ended");
        self.sender.blocking_send(part.into()).map_err(gone)
    }
}

impl Write for Parts {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = data.len().min(PART - self.open.len());
        self.open.extend_from_slice(data.get(..taken).unwrap_or(data));
        if self.open.len() == PART {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Uploads what `fill` writes as object `name`.
pub(super) async fn upload<E: From<PackError> + Send + 'static>(
    place: &Place,
    name: &str,
    cancel: &CancellationToken,
    fill: impl FnOnce(&mut ShardWriter<Parts>) -> Result<(), E> + Send + 'static,
) -> Result<Written, E> {
    let (sender, mut parts) = mpsc::channel(1);
    let object = place.address_of(name);
    let named = object.clone();
    let filling = spawn_blocking(move || {
        let failed = |source| PackError::Shard { what: named.clone(), source };
        let mut shard = ShardWriter::new(Parts { open: Vec::new(), sender });
        fill(&mut shard)?;
        let (mut parts, written) = shard.finish().map_err(failed)?;
        if !parts.open.is_empty() {
            parts.send().map_err(|error| failed(ShardError::Tar(error)))?;
        }
        Ok::<Written, E>(written)
    });
    let store = Arc::clone(place.store());
    let mut upload =
        BufWriter::with_capacity(store, Path::from(name), PART).with_max_concurrency(IN_FLIGHT);
    let refused = |source| PackError::from(PlaceError::Write { object: object.clone(), source });
    let sent = async {
        while let Some(part) = parts.recv().await {
            upload.put(part).await.map_err(refused)?;
        }
        Ok::<(), PackError>(())
    };
    let sent = tokio::select! {
        sent = sent => sent,
        () = cancel.cancelled() => Err(PackError::Cancelled),
    };
    drop(parts);
    let filled = filling.await.map_err(|_| PackError::Cancelled);
    let outcome = match (sent, filled) {
        // What stopped the upload stopped `fill`, too.
        (Err(error), _) | (Ok(()), Err(error)) => Err(error.into()),
        (Ok(()), Ok(filled)) => filled,
    };
    match outcome {
        Ok(written) => {
            let ended = |error: io::Error| refused(inner(error));
            tokio::select! {
                done = upload.shutdown() => done.map_err(ended)?,
                () = cancel.cancelled() => return Err(PackError::Cancelled.into()),
            }
            Ok(written)
        }
        Err(error) => {
            if tokio::time::timeout(ABORT_LIMIT, upload.abort()).await.is_err() {
                tracing::warn!("can't abort the upload of {object}: no answer");
            }
            Err(error)
        }
    }
}

/// The store's error within what the writer makes of it.
fn inner(error: io::Error) -> object_store::Error {
    error.downcast().unwrap_or_else(|error| object_store::Error::Generic {
        store: "upload",
        source: Box::new(error),
    })
}

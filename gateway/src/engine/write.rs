//! A body becomes a part: cut, hashed, sealed, coded, stored.

use super::Engine;
use super::chunker::{BodyChunk, Chunker};
use super::etag::Etag;
use super::keys::BucketKeys;
use super::store::{ChunkJob, Placed, Written};
use bytes::Bytes;
use coffer_core::erasure::CodeError;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::layout::{ChunkShape, ShapeError};
use coffer_core::manifest::{Checksums, Chunk, Content, INLINE_MAX, Part};
use coffer_core::placement::TooFewNodes;
use coffer_core::random;
use coffer_core::seal::stream::ChunkPosition;
use coffer_core::seal::{Envelope, PartSealer, SealError};
use futures::Stream;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// The most bytes of a part, and of an object that is put at once: 5 GiB, as in S3.
pub const MAX_PART: u64 = 5 * 1024 * 1024 * 1024;

/// Why a body could not be read: the transport's or the protocol's error.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Chunks up to this many bytes are hashed and sealed where they are; larger ones go to the
/// blocking pool, so that connections are served meanwhile.
pub(super) const INLINE_WORK: usize = 64 * 1024;

/// Why a part could not be written. Nothing of it is visible then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The client's body broke off or does not match what was promised.
    #[error("the request body could not be read: {0}")]
    Body(#[source] BodyError),
    /// The client stopped sending.
    #[error("the request body stalled for {} s", .0.as_secs())]
    BodyStalled(Duration),
    /// The client sent more than it had said, or than a part may have.
    #[error("the request body has more than the {} bytes that were announced or are allowed", .announced.unwrap_or(MAX_PART))]
    BodyTooLong {
        /// What the client had said.
        announced: Option<u64>,
    },
    /// Too few nodes are up to place the shards.
    #[error(transparent)]
    TooFewNodes(#[from] TooFewNodes),
    /// Too few nodes have stored their shards.
    #[error("only {stored} of {quorum} needed shards could be stored; last error: {last}")]
    NoQuorum {
        /// Shards that are durable.
        stored: usize,
        /// Shards that have to be.
        quorum: usize,
        /// What the last node that failed said.
        last: String,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Coding failed.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The chunk has an impossible shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A worker thread was lost.
    #[error("internal: a worker failed: {0}")]
    Worker(String),
}

/// Sees the plaintext go by, to compute checksums that the client asked for.
pub trait Observer: Send + 'static {
    /// Called with the body's bytes in order.
    fn update(&mut self, data: &[u8]);

    /// Whether it wants to see anything.
    fn is_curious(&self) -> bool {
        true
    }
}

impl Observer for () {
    fn update(&mut self, _: &[u8]) {}

    fn is_curious(&self) -> bool {
        false
    }
}

impl Engine {
    /// Stores a body as a part. On `Ok`, at least a write quorum of each chunk's shards has been
    /// fsynced; on `Err`, and when the future is dropped, what was stored is deleted again as far
    /// as the nodes can be reached.
    ///
    /// `expected` is the body's length, if the client gave it; it only sizes buffers.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write_part<S, O>(
        self: &Arc<Self>,
        keys: &BucketKeys,
        body: S,
        expected: Option<u64>,
        mut observer: O,
    ) -> Result<(Part, O), WriteError>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Unpin + Send,
        O: Observer,
    {
        let blob = BlobId::from_bytes(random::array(self.random()).map_err(SealError::from)?);
        let (data_key, wrapped_key) = keys.new_data_key(blob, self.random())?;
        let sealer = Arc::new(PartSealer::new(self.suite, &data_key, blob)?);
        let written = Written::new(self.clone());

        let mut etag = Etag::new(&self.etags);
        let mut chunker = Chunker::new(body, expected, self.config.body_idle);
        let mut in_flight: VecDeque<AbortOnDropHandle<Result<StoredChunk, WriteError>>> =
            VecDeque::new();
        let mut content = PartContent::default();
        let mut size = 0u64;
        for number in 0.. {
            let next = async {
                // The chunk, its stripe (half as much again for parity at 4+2), and the tags.
                let held = self.budget.take(chunker.next_len() * 5 / 2 + INLINE_WORK).await;
                (Arc::new(held), chunker.next().await)
            };
            let (held, chunk) = etag.meanwhile(next).await;
            let BodyChunk { data, last } = chunk?;
            size += data.len() as u64;
            let data = Bytes::from(data);
            observer = observe(observer, data.clone()).await?;
            if number == 0 && last && data.len() <= INLINE_MAX {
                let sealed =
                    Envelope::new(data_key).seal(&inline_context(blob), &data, self.random())?;
                content.inline = Some(sealed);
                etag.add(data, &held).await?;
                break;
            }
            let job = ChunkJob {
                blob,
                position: ChunkPosition { chunk: number, last },
                shape: ChunkShape::new(u32::try_from(data.len()).unwrap_or(u32::MAX), keys.code())?,
                min_nodes: keys.code().k(),
            };
            let task =
                self.clone().seal_and_store(job, sealer.clone(), data.clone(), written.log());
            let memory = held.clone();
            in_flight.push_back(written.spawn(async move {
                let stored = task.await;
                drop(memory);
                stored
            }));
            etag.add(data, &held).await?;
            if last {
                etag.urge();
            }
            drop(held);
            while in_flight.len() >= self.config.chunks_in_flight || last {
                let Some(oldest) = in_flight.pop_front() else { break };
                content.add(oldest.await.map_err(|e| WriteError::Worker(e.to_string()))??);
            }
            if last {
                break;
            }
        }
        let md5 = etag.finish().await?;
        written.keep();
        let checksums = Checksums::new();
        let part = Part { blob, wrapped_key, size, md5, checksums, content: content.finish() };
        Ok((part, observer))
    }

    async fn seal_and_store(
        self: Arc<Self>,
        job: ChunkJob,
        sealer: Arc<PartSealer>,
        plain: Bytes,
        log: super::store::WriteLog,
    ) -> Result<StoredChunk, WriteError> {
        let engine = self.clone();
        let seal = move || -> Result<Vec<u8>, WriteError> {
            let mut stripe = sealer.seal_chunk(job.position, job.shape, &plain)?;
            engine.coder.encode(job.shape.code(), &mut stripe)?;
            Ok(stripe)
        };
        let stripe = if job.shape.len() as usize <= INLINE_WORK {
            seal()?
        } else {
            blocking(seal).await??
        };
        let placed = self.store_chunk(job, Bytes::from(stripe), &log).await?;
        Ok(StoredChunk { shape: job.shape, placed })
    }
}

/// Runs CPU-bound work on the blocking pool.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WriteError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| WriteError::Worker(e.to_string()))
}

async fn observe<O: Observer>(mut observer: O, data: Bytes) -> Result<O, WriteError> {
    if data.len() > INLINE_WORK && observer.is_curious() {
        return blocking(move || {
            observer.update(&data);
            observer
        })
        .await;
    }
    observer.update(&data);
    Ok(observer)
}

/// What an inline part is sealed for.
pub(super) fn inline_context(blob: BlobId) -> Vec<u8> {
    [b"inline part ", &blob.as_bytes()[..]].concat()
}

/// A chunk whose shards have been stored.
struct StoredChunk {
    shape: ChunkShape,
    placed: Placed,
}

/// Collects chunks into a part's content; lists each node once.
#[derive(Default)]
struct PartContent {
    inline: Option<Vec<u8>>,
    nodes: Vec<NodeId>,
    chunks: Vec<Chunk>,
}

impl PartContent {
    fn add(&mut self, stored: StoredChunk) {
        let placed = stored.placed.into_iter().map(|node| {
            let node = node?;
            let slot = self.nodes.iter().position(|n| *n == node).unwrap_or_else(|| {
                self.nodes.push(node);
                self.nodes.len() - 1
            });
            u16::try_from(slot).ok()
        });
        let placed = placed.collect();
        self.chunks.push(Chunk { shape: stored.shape, placed, generations: Vec::new() });
    }

    fn finish(self) -> Content {
        match self.inline {
            Some(sealed) => Content::Inline(sealed),
            None => Content::Sharded { nodes: self.nodes, chunks: self.chunks },
        }
    }
}

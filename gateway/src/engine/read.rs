//! A range of an object becomes a stream, a few chunks ahead of the client.

use super::Engine;
use super::budget::Held;
use super::fetch::ReadError;
use super::keys::BucketKeys;
use super::write::inline_context;
use bytes::Bytes;
use coffer_core::layout::{ChunkSlice, slices};
use coffer_core::manifest::{Content, Manifest, Part};
use coffer_core::seal::{Envelope, PartSealer};
use futures::{StreamExt, TryStreamExt, stream};
use std::ops::Range;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// A stream of an object's bytes.
pub type Bytestream = stream::BoxStream<'static, Result<Bytes, ReadError>>;

/// Bytes together with the memory budget that they use.
struct Budgeted {
    data: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Budgeted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Engine {
    /// Reads the bytes `range` of an object. The first chunk is fetched before this returns, so
    /// that what can't be read is known before an answer is begun.
    ///
    /// # Errors
    /// [`ReadError`]; later ones come through the stream.
    pub async fn read(
        self: &Arc<Self>,
        keys: &BucketKeys,
        manifest: Manifest,
        range: Range<u64>,
    ) -> Result<Bytestream, ReadError> {
        let mut bytes = self.clone().chunks_of(keys.clone(), manifest, range);
        match bytes.try_next().await? {
            Some(first) => Ok(stream::once(async { Ok(first) }).chain(bytes).boxed()),
            None => Ok(stream::empty().boxed()),
        }
    }

    fn chunks_of(
        self: Arc<Self>,
        keys: BucketKeys,
        manifest: Manifest,
        range: Range<u64>,
    ) -> Bytestream {
        let ahead = self.config.chunks_ahead.max(1);
        let jobs = parts_in(manifest, range).flat_map(move |(part, range)| {
            let opened = self.open_part(&keys, &part).map(Arc::new);
            let engine = self.clone();
            match opened {
                Ok(sealer) => {
                    let part = Arc::new(part);
                    let pieces: Box<dyn Iterator<Item = _> + Send> = match &part.content {
                        Content::Inline(_) => {
                            Box::new(std::iter::once(Job::Inline(part, keys.clone(), range)))
                        }
                        Content::Sharded { .. } => Box::new(
                            slices(range).map(move |s| Job::Chunk(part.clone(), sealer.clone(), s)),
                        ),
                    };
                    Box::new(pieces.map(move |job| Ok((engine.clone(), job))))
                        as Box<dyn Iterator<Item = _> + Send>
                }
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        });
        stream::iter(jobs)
            .map(|job| async move {
                let (engine, job): (Arc<Self>, Job) = job?;
                let task = AbortOnDropHandle::new(tokio::spawn(engine.run(job)));
                task.await.map_err(|e| ReadError::Worker(e.to_string()))?
            })
            .buffered(ahead)
            .map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok)))
            .try_flatten()
            .try_filter(|bytes| std::future::ready(!bytes.is_empty()))
            .boxed()
    }

    pub(super) fn open_part(
        &self,
        keys: &BucketKeys,
        part: &Part,
    ) -> Result<PartSealer, ReadError> {
        Ok(PartSealer::new(self.suite, &keys.data_key(part)?, part.blob)?)
    }

    async fn run(self: Arc<Self>, job: Job) -> Result<Vec<Bytes>, ReadError> {
        match job {
            Job::Inline(part, keys, range) => {
                let Content::Inline(sealed) = &part.content else { return Ok(Vec::new()) };
                let envelope = Envelope::new(keys.data_key(&part)?);
                let plain = envelope.open(&inline_context(part.blob), sealed)?;
                let bounds = clamp(range.start, plain.len())..clamp(range.end, plain.len());
                Ok(vec![Bytes::copy_from_slice(&plain[bounds])])
            }
            Job::Chunk(part, sealer, slice) => {
                let Some(chunk) = part.chunk(slice.chunk) else { return Ok(Vec::new()) };
                // The segments, and what some may have to be rebuilt from.
                let held = Arc::new(self.budget.take(slice.range.len() * 2).await);
                let pieces = self.fetch_chunk(&sealer, part.blob, chunk, slice.range).await?;
                let budgeted = pieces
                    .into_iter()
                    .map(|data| Bytes::from_owner(Budgeted { data, _held: held.clone() }));
                Ok(budgeted.collect())
            }
        }
    }
}

/// One piece of a read.
enum Job {
    Inline(Arc<Part>, BucketKeys, Range<u64>),
    Chunk(Arc<Part>, Arc<PartSealer>, ChunkSlice),
}

fn clamp(at: u64, len: usize) -> usize {
    usize::try_from(at).unwrap_or(len).min(len)
}

/// The parts that a range of an object touches, each with the range within it.
fn parts_in(
    manifest: Manifest,
    range: Range<u64>,
) -> impl Iterator<Item = (Part, Range<u64>)> + Send {
    let mut start = 0u64;
    manifest.parts.into_iter().filter_map(move |part| {
        let base = start;
        start += part.size;
        let within = range.start.max(base)..range.end.min(base + part.size);
        (within.start < within.end).then(|| (part, within.start - base..within.end - base))
    })
}

//! A chunk's segments are fetched, around shards that are lost, slow, damaged or forged.
//!
//! 1. Ask the data shards that hold the wanted segments, and nobody else. Their nodes need not check
//!    what they read, since each segment authenticates. If one does not, all are read again and
//!    checked, so that a node finds its damage.
//! 2. For those that fail or are late, ask others for the same run of blocks and rebuild. What is late,
//!    and how many of the late may be got around, is for [`super::hedge`] to say.
//! 3. What does not authenticate is rebuilt without the shard that it came from.

use super::Engine;
use super::nodes::{Kind, Length, Reading};
use bytes::{Bytes, BytesMut};
use coffer_core::erasure::CodeError;
use coffer_core::ids::BlobId;
use coffer_core::manifest::ChunkRef;
use coffer_core::seal::{PartSealer, SealError};
use coffer_core::shard::{BlockRange, ShardError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use tokio::time::Instant;

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too few shards can be had now; when their nodes come back, reading works again.
    #[error(
        "{have} of {need} needed shards of chunk {chunk} of blob {blob} can be reached; last error: {last}"
    )]
    Unavailable {
        /// The blob.
        blob: BlobId,
        /// The chunk.
        chunk: u32,
        /// Shards at hand.
        have: usize,
        /// Shards needed.
        need: usize,
        /// What the last node that failed said.
        last: String,
    },
    /// All nodes answered, but too few shards are sound: data is lost.
    #[error("chunk {chunk} of blob {blob} is damaged beyond repair: {why}")]
    Damaged {
        /// The blob.
        blob: BlobId,
        /// The chunk.
        chunk: u32,
        /// What was found.
        why: String,
    },
    /// Keys don't open it.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Shards don't fit together.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// A worker thread was lost.
    #[error("internal: a worker failed: {0}")]
    Worker(String),
}

/// Runs of blocks, one for each wanted data shard, in order.
type Pieces = BTreeMap<u8, BytesMut>;

/// What is known while a chunk is being fetched.
struct Fetch<'a> {
    engine: &'a Engine,
    blob: BlobId,
    chunk: ChunkRef<'a>,
    /// Whether nodes are to check what they read.
    verify: bool,
    /// Whether to wait for slow nodes as long as they may take, rather than to rebuild what they hold.
    patient: bool,
    /// The last thing that went wrong, and whether it may pass.
    last: Option<ShardError>,
    transient: bool,
}

impl Engine {
    /// Reads the bytes `range` of a chunk's plaintext, in pieces: each segment lies where it was read
    /// and opened.
    pub(super) async fn fetch_chunk(
        &self,
        sealer: &PartSealer,
        blob: BlobId,
        chunk: ChunkRef<'_>,
        range: Range<u32>,
    ) -> Result<Vec<Bytes>, ReadError> {
        let shape = chunk.chunk.shape;
        let wanted = shape.segments_for(&range);
        let reads = shape.reads_for(&wanted);
        let mut fetch = Fetch {
            engine: self,
            blob,
            chunk,
            verify: false,
            patient: false,
            last: None,
            transient: false,
        };
        // Shards that are proven to be forged, and one more that is left out on suspicion.
        let mut avoid = Avoid::default();
        let mut suspects: Option<std::collections::btree_set::IntoIter<u8>> = None;
        loop {
            let (pieces, sources) = fetch.gather(&reads, &avoid).await?;
            let forged = match open(sealer, chunk, &reads, pieces, wanted.clone()) {
                Ok(segments) => {
                    let places = wanted.map(|i| shape.segment_range(i));
                    let wanted = places.zip(segments).map(|(place, segment)| {
                        let start = range.start.max(place.start) - place.start;
                        let end = range.end.min(place.end) - place.start;
                        segment.slice(start as usize..end as usize)
                    });
                    return Ok(wanted.collect());
                }
                Err(OpenError::Forged(_)) if !fetch.verify => {
                    fetch.verify = true;
                    continue;
                }
                Err(OpenError::Forged(shards)) => shards,
                Err(OpenError::Other(error)) => return Err(error.into()),
            };
            tracing::error!(%blob, chunk = chunk.position.chunk, shards = ?forged, "shards do not authenticate; reading around them");
            // What came as it was read is proven bad. What was rebuilt only shows that one of its
            // sources is: leave them out in turn.
            let proven: BTreeSet<u8> = forged.difference(&sources.rebuilt).copied().collect();
            if proven.is_empty() {
                avoid.suspect = suspects.get_or_insert_with(|| sources.used.into_iter()).next();
                if avoid.suspect.is_some() {
                    continue;
                }
                if fetch.patient {
                    let why = "its shards do not authenticate".to_owned();
                    return Err(ReadError::Damaged { blob, chunk: chunk.position.chunk, why });
                }
                // Sound shards may only have been late, and what was rebuilt instead have come from
                // several that are forged.
                fetch.patient = true;
                suspects = None;
            } else {
                for index in &proven {
                    if let Some(node) = chunk.node_of((*index).into()) {
                        self.suspects.note(node, chunk.key(*index));
                    }
                }
                avoid = Avoid { proven: &avoid.proven | &proven, suspect: None };
                suspects = None;
            }
        }
    }
}

/// Shards that must not be used.
#[derive(Debug, Default)]
struct Avoid {
    proven: BTreeSet<u8>,
    suspect: Option<u8>,
}

impl Avoid {
    fn contains(&self, index: u8) -> bool {
        self.suspect == Some(index) || self.proven.contains(&index)
    }
}

/// Where pieces came from.
#[derive(Debug, Default)]
struct Sources {
    /// Pieces that were not read but rebuilt.
    rebuilt: BTreeSet<u8>,
    /// The shards that they were rebuilt from.
    used: BTreeSet<u8>,
}

enum OpenError {
    Forged(BTreeSet<u8>),
    Other(SealError),
}

/// Opens the pieces in place and takes them apart: the plaintext of each wanted segment, in order.
/// On error names all that are forged.
fn open(
    sealer: &PartSealer,
    chunk: ChunkRef<'_>,
    reads: &[(u8, BlockRange)],
    pieces: Pieces,
    wanted: Range<u32>,
) -> Result<Vec<Bytes>, OpenError> {
    let shape = chunk.chunk.shape;
    let mut plain = Vec::with_capacity(wanted.len());
    let mut forged = BTreeSet::new();
    for ((index, mut piece), (_, blocks)) in pieces.into_iter().zip(reads) {
        let first = u32::from(index) * shape.segments_per_shard() + blocks.first;
        for i in first..(first + blocks.count).min(wanted.end) {
            let mut segment = piece.split_to(shape.sealed_range(i).len().min(piece.len()));
            match sealer.open_segment(chunk.position, shape, i, &mut segment) {
                Ok(len) => segment.truncate(len),
                Err(SealError::Forged) => drop(forged.insert(index)),
                Err(error) => return Err(OpenError::Other(error)),
            }
            plain.push(segment.freeze());
        }
    }
    if forged.is_empty() { Ok(plain) } else { Err(OpenError::Forged(forged)) }
}

impl Fetch<'_> {
    /// The wanted runs of blocks, and where they came from.
    async fn gather(
        &mut self,
        reads: &[(u8, BlockRange)],
        avoid: &Avoid,
    ) -> Result<(Pieces, Sources), ReadError> {
        let mut pieces = self.ask_directly(reads, avoid).await;
        let missing: Vec<_> =
            reads.iter().filter(|(i, _)| !pieces.contains_key(i)).copied().collect();
        if missing.is_empty() {
            return Ok((pieces, Sources::default()));
        }
        let code = self.chunk.chunk.shape.code();
        let run = covering(&missing);
        let mut shards: Vec<Option<Vec<u8>>> = vec![None; code.n()];
        for (index, blocks) in reads {
            if let Some(piece) = pieces.get(index)
                && covers(*blocks, run)
            {
                shards[usize::from(*index)] = Some(self.cut(piece, *blocks, run));
            }
        }
        self.ask_others(&mut shards, run, &missing, avoid).await?;
        let used = used_shards(&shards);
        let rebuilt = missing.iter().map(|(i, _)| *i).filter(|i| !used.contains(i)).collect();
        self.engine.coder.rebuild_data(code, &mut shards)?;
        for (index, blocks) in missing {
            if let Some(shard) = &shards[usize::from(index)] {
                pieces.insert(index, BytesMut::from(&self.cut(shard, run, blocks)[..]));
            }
        }
        Ok((pieces, Sources { rebuilt, used }))
    }

    /// Asks each wanted data shard's node; gives up on those that are late.
    async fn ask_directly(&mut self, reads: &[(u8, BlockRange)], avoid: &Avoid) -> Pieces {
        let mut pieces = Pieces::new();
        let asking: Vec<_> = reads
            .iter()
            .filter(|(index, _)| !avoid.contains(*index))
            .filter(|(index, _)| self.patient || self.is_worth_asking(*index))
            .copied()
            .collect();
        let mut waiting: BTreeSet<u8> = asking.iter().map(|(index, _)| *index).collect();
        let mut asked: FuturesUnordered<_> =
            asking.iter().map(|(index, blocks)| self.ask(*index, *blocks, self.verify)).collect();
        let longest = asking.iter().map(|(_, blocks)| self.bytes_of(*blocks)).max().unwrap_or(0);
        let (hedging, length) = (&self.engine.hedging, Length::of(longest));
        let late_after = || hedging.late_after(&self.engine.nodes, length);
        hedging.earn(asking.len(), length);
        let late = tokio::time::sleep(late_after());
        tokio::pin!(late);
        let mut failures = Vec::new();
        loop {
            tokio::select! {
                answer = asked.next() => match answer {
                    Some((index, outcome)) => {
                        waiting.remove(&index);
                        match outcome {
                            // No copy: nobody else has it.
                            Ok(piece) => drop(pieces.insert(index, piece.into())),
                            Err(error) => failures.push(error),
                        }
                    }
                    None => break,
                },
                () = &mut late, if !self.patient => {
                    // Nobody waits for those that are known to be slow; others may just have much to
                    // do, and as many of them are waited for as must be.
                    self.note_late(&waiting);
                    let slow = !waiting.iter().any(|index| self.reads_well(*index));
                    if slow || hedging.spend(self.extra_reads(reads, &pieces), length) {
                        break;
                    }
                    late.as_mut().reset(Instant::now() + late_after());
                }
            }
        }
        drop(asked);
        for error in failures {
            self.note(error);
        }
        pieces
    }

    /// How many reads it takes to rebuild what is missing.
    fn extra_reads(&self, reads: &[(u8, BlockRange)], pieces: &Pieces) -> usize {
        let missing: Vec<_> =
            reads.iter().filter(|(i, _)| !pieces.contains_key(i)).copied().collect();
        let run = covering(&missing);
        let at_hand =
            |(i, blocks): &&(u8, BlockRange)| pieces.contains_key(i) && covers(*blocks, run);
        self.chunk.chunk.shape.code().k().saturating_sub(reads.iter().filter(at_hand).count())
    }

    /// Fills `shards` until `k` are there: first from nodes that are well, then from any.
    async fn ask_others(
        &mut self,
        shards: &mut [Option<Vec<u8>>],
        run: BlockRange,
        missing: &[(u8, BlockRange)],
        avoid: &Avoid,
    ) -> Result<(), ReadError> {
        let need = self.chunk.chunk.shape.code().k();
        let mut candidates: Vec<u8> = (0..u8::try_from(shards.len()).unwrap_or(u8::MAX))
            .filter(|i| shards[usize::from(*i)].is_none() && !avoid.contains(*i))
            .collect();
        let was_missing = |i: &u8| missing.iter().any(|(m, _)| m == i);
        candidates.sort_by_key(|i| (was_missing(i), !self.reads_well(*i), *i));
        let mut candidates = candidates.into_iter();
        let (hedging, length) = (&self.engine.hedging, Length::of(self.bytes_of(run)));
        let mut waiting = BTreeSet::new();
        let mut asked = FuturesUnordered::new();
        let mut failures = Vec::new();
        // How many are asked beyond those that are needed, since some are slow.
        let mut extra = 0;
        loop {
            let have = shards.iter().flatten().count();
            if have >= need {
                break;
            }
            while asked.len() < need - have + extra
                && let Some(index) = candidates.next()
            {
                waiting.insert(index);
                asked.push(self.ask(index, run, true));
            }
            let late = tokio::time::sleep(hedging.late_after(&self.engine.nodes, length));
            tokio::select! {
                answer = asked.next() => match answer {
                    Some((index, outcome)) => {
                        waiting.remove(&index);
                        match outcome {
                            Ok(piece) => shards[usize::from(index)] = Some(piece.into()),
                            Err(error) => failures.push(error),
                        }
                    }
                    None => break,
                },
                () = late => {
                    self.note_late(&waiting);
                    let slow = waiting.iter().filter(|index| !self.reads_well(**index)).count();
                    if slow > extra || (candidates.len() > 0 && hedging.spend(1, length)) {
                        extra += 1;
                    }
                }
            }
        }
        drop(asked);
        for error in failures {
            self.note(error);
        }
        let have = shards.iter().flatten().count();
        if have >= need { Ok(()) } else { Err(self.hopeless(have, need)) }
    }

    fn ask(
        &self,
        index: u8,
        blocks: BlockRange,
        verify: bool,
    ) -> impl Future<Output = (u8, Result<Bytes, ShardError>)> + use<'_> {
        let key = self.chunk.key(index);
        let node = self.chunk.node_of(index.into());
        let engine = self.engine;
        let want = self.bytes_of(blocks);
        async move {
            // A shard that was never written is as good as lost.
            let Some(node) = node else { return (index, Err(ShardError::NotFound)) };
            let within = engine.config.shard_timeout;
            let reading = engine.nodes.begin_read(node, Length::of(want));
            let outcome = engine
                .nodes
                .call(node, Kind::Read, within, |store| async move {
                    match verify {
                        true => store.get(key, blocks).await,
                        false => store.get_unverified(key, blocks).await,
                    }
                })
                .await;
            match &outcome {
                Ok(_) => reading.map_or((), Reading::succeeded),
                Err(ShardError::Timeout) => drop(reading),
                Err(_) => reading.map_or((), Reading::failed),
            }
            let outcome = outcome.and_then(|bytes| {
                if bytes.len() == want {
                    Ok(bytes)
                } else {
                    Err(ShardError::BadRequest(format!("{} bytes came, not {want}", bytes.len())))
                }
            });
            if let Err(error @ (ShardError::NotFound | ShardError::Corrupt { .. })) = &outcome {
                tracing::warn!(shard = %key, %node, %error, "shard is lost or damaged; reading around it");
                engine.suspects.note(node, key);
            }
            (index, outcome)
        }
    }

    fn bytes_of(&self, blocks: BlockRange) -> usize {
        blocks.count as usize * self.chunk.chunk.shape.block_size() as usize
    }

    /// The run `want` out of `have`, which starts at or before it and ends at or after it.
    fn cut(&self, bytes: &[u8], have: BlockRange, want: BlockRange) -> Vec<u8> {
        let block = self.chunk.chunk.shape.block_size() as usize;
        let start = (want.first - have.first) as usize * block;
        bytes[start..start + self.bytes_of(want)].to_vec()
    }

    fn is_worth_asking(&self, index: u8) -> bool {
        self.chunk.node_of(index.into()).is_some_and(|n| self.engine.nodes.is_worth_reading(n))
    }

    fn reads_well(&self, index: u8) -> bool {
        self.chunk.node_of(index.into()).is_some_and(|n| self.engine.nodes.reads_well(n))
    }

    fn note_late(&self, waiting: &BTreeSet<u8>) {
        for node in waiting.iter().filter_map(|index| self.chunk.node_of((*index).into())) {
            self.engine.nodes.note_late_read(node);
        }
    }

    fn note(&mut self, error: ShardError) {
        self.transient |= !matches!(error, ShardError::NotFound | ShardError::Corrupt { .. });
        self.last = Some(error);
    }

    fn hopeless(&self, have: usize, need: usize) -> ReadError {
        let (blob, chunk) = (self.blob, self.chunk.position.chunk);
        let last = self.last.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        if self.transient {
            ReadError::Unavailable { blob, chunk, have, need, last }
        } else {
            let why = format!("{have} of {need} needed shards are sound; last error: {last}");
            ReadError::Damaged { blob, chunk, why }
        }
    }
}

/// The shortest run of blocks that covers all of `reads`.
fn covering(reads: &[(u8, BlockRange)]) -> BlockRange {
    let first = reads.iter().map(|(_, b)| b.first).min().unwrap_or(0);
    let end = reads.iter().map(|(_, b)| b.first + b.count).max().unwrap_or(0);
    BlockRange { first, count: end - first }
}

/// Whether a run of blocks covers another.
fn covers(blocks: BlockRange, run: BlockRange) -> bool {
    blocks.first <= run.first && blocks.first + blocks.count >= run.first + run.count
}

fn used_shards(shards: &[Option<Vec<u8>>]) -> BTreeSet<u8> {
    (0u8..).zip(shards).filter(|(_, s)| s.is_some()).map(|(i, _)| i).collect()
}

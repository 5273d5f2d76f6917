//! What a chunk goes through on its way to the nodes and back, on one core.

use super::report::{Clock, Line, Unit};
use super::turns::{Effort, Rates, Turns};
use anyhow::{Context, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use coffer_core::erasure::{Code, Coder};
use coffer_core::ids::BlobId;
use coffer_core::layout::{CHUNK_LEN, ChunkShape, MAX_SEGMENT, TAG_LEN};
use coffer_core::seal::stream::ChunkPosition;
use coffer_core::seal::{CipherSuite, Key, PartSealer};
use md5::{Digest, Md5};
use reed_solomon_erasure::galois_8::ReedSolomon;
use std::hint::black_box;

/// All of it by bytes of plaintext, per second of the one thread.
const RATE: (Unit, Clock) = (Unit::Bytes, Clock::Own);
const LEN: usize = CHUNK_LEN as usize;
const AT: ChunkPosition = ChunkPosition { chunk: 0, last: true };

/// A full chunk and what it takes to bring it to the nodes.
struct Chunk {
    plain: Vec<u8>,
    shape: ChunkShape,
    sealer: PartSealer,
    coder: Coder,
    /// All shards, parity included.
    stripe: Vec<u8>,
}

impl Chunk {
    fn new() -> anyhow::Result<Self> {
        let plain: Vec<u8> =
            (0..CHUNK_LEN).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        let shape = ChunkShape::new(CHUNK_LEN, Code::DEFAULT)?;
        let sealer = sealer(CipherSuite::AwsLc)?;
        let coder = Coder::default();
        let mut stripe = sealer.seal_chunk(AT, shape, &plain)?;
        coder.encode(shape.code(), &mut stripe)?;
        Ok(Self { plain, shape, sealer, coder, stripe })
    }

    fn code(&self) -> Code {
        self.shape.code()
    }

    /// The shards, each by itself.
    fn shards(&self) -> impl Iterator<Item = &[u8]> {
        self.stripe.chunks_exact(self.shape.shard_len() as usize)
    }

    /// As a storage node does: a checksum for each block of each shard.
    fn hash_blocks(&self, stripe: &[u8]) {
        for block in stripe.chunks(self.shape.block_size() as usize) {
            black_box(blake3::hash(block));
        }
    }
}

fn sealer(suite: CipherSuite) -> anyhow::Result<PartSealer> {
    Ok(PartSealer::new(suite, &Key::from_bytes([7; 32]), BlobId::from_bytes([1; 16]))?)
}

/// The whole pipeline beside what it could reach if its parts ran one after the other, each as fast
/// as it does alone.
pub(super) fn pipeline(effort: Effort) -> anyhow::Result<Vec<Line>> {
    let chunk = Chunk::new()?;
    let (mut copy, mut stripe) = (chunk.plain.clone(), chunk.stripe.clone());
    let mut turns = Turns::new(effort);
    let memcpy = turns.add(LEN, || {
        black_box(&mut copy).copy_from_slice(black_box(&chunk.plain));
        Ok(())
    });
    let seal = turns.add(LEN, || {
        black_box(chunk.sealer.seal_chunk(AT, chunk.shape, black_box(&chunk.plain))?);
        Ok(())
    });
    let code = turns.add(LEN, || Ok(chunk.coder.encode(chunk.code(), black_box(&mut stripe))?));
    let hash = turns.add(LEN, || {
        chunk.hash_blocks(black_box(&chunk.stripe));
        Ok(())
    });
    let md5 = turns.add(LEN, || {
        black_box(Md5::digest(black_box(&chunk.plain)));
        Ok(())
    });
    let whole = turns.add(LEN, || {
        let mut stripe = chunk.sealer.seal_chunk(AT, chunk.shape, black_box(&chunk.plain))?;
        chunk.coder.encode(chunk.code(), &mut stripe)?;
        chunk.hash_blocks(black_box(&stripe));
        Ok(())
    });
    let taken = turns.take()?;
    let limit = Rates::harmonic(&[seal, code, hash].map(|part| taken.rates(part, Clock::Own)));
    let whole = taken.rates(whole, Clock::Own);
    Ok(vec![
        whole.beside("pipeline: seal, code, hash", RATE, ("harmonic limit of its parts", &limit)),
        taken.line("seal, in the pipeline", RATE, seal, ("memcpy", memcpy)),
        taken.line("code, in the pipeline", RATE, code, ("memcpy", memcpy)),
        taken.line("hash, in the pipeline", RATE, hash, ("memcpy", memcpy)),
        taken.line("MD5 (the etag; not in it)", RATE, md5, ("memcpy", memcpy)),
    ])
}

pub(super) fn seal(effort: Effort) -> anyhow::Result<Vec<Line>> {
    let chunk = Chunk::new()?;
    let reference = sealer(CipherSuite::Reference)?;
    let sealed = &chunk.stripe[..chunk.shape.sealed_range(chunk.shape.segments() - 1).end];
    let key = LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, &[7; 32]).ok().context("AWS-LC refuses a key")?,
    );
    let nonce = || Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let failed = "AES-256-GCM by itself failed";
    let (segment, tag) = (MAX_SEGMENT as usize, TAG_LEN as usize);

    // The same segments under a key that is expanded already.
    let mut bare = Vec::with_capacity(sealed.len());
    for plain in chunk.plain.chunks(segment) {
        let mut block = plain.to_vec();
        key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut block).ok().context(failed)?;
        bare.extend(block);
    }
    let all = 0..chunk.shape.segments();
    let mut opened = sealed.to_vec();
    let len = chunk.sealer.open_segments(AT, chunk.shape, all.clone(), &mut opened)?;
    ensure!(opened[..len] == chunk.plain, "a chunk does not open to what was sealed");

    let (mut copy, mut in_place) = (chunk.plain.clone(), chunk.plain.clone());
    let (mut ours, mut theirs) = (sealed.to_vec(), bare.clone());
    let mut turns = Turns::new(effort);
    let memcpy = turns.add(LEN, || {
        black_box(&mut copy).copy_from_slice(black_box(&chunk.plain));
        Ok(())
    });
    let gcm = turns.add(LEN, || {
        for segment in black_box(&mut in_place).chunks_mut(segment) {
            let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), segment);
            drop(black_box(tag.ok().context(failed)?));
        }
        Ok(())
    });
    let seal = turns.add(LEN, || {
        black_box(chunk.sealer.seal_chunk(AT, chunk.shape, black_box(&chunk.plain))?);
        Ok(())
    });
    let seal_by_reference = turns.add(LEN, || {
        black_box(reference.seal_chunk(AT, chunk.shape, black_box(&chunk.plain))?);
        Ok(())
    });
    // Opening happens in place: both are copied to the place first.
    let open = turns.add(LEN, || {
        ours.copy_from_slice(black_box(sealed));
        black_box(chunk.sealer.open_segments(AT, chunk.shape, all.clone(), &mut ours)?);
        Ok(())
    });
    let gcm_open = turns.add(LEN, || {
        theirs.copy_from_slice(black_box(&bare));
        for block in theirs.chunks_mut(segment + tag) {
            black_box(key.open_in_place(nonce(), Aad::empty(), block).ok().context(failed)?);
        }
        Ok(())
    });
    let taken = turns.take()?;
    Ok(vec![
        taken.line("seal a chunk", RATE, seal, ("AES-256-GCM alone, in place", gcm)),
        taken.line("seal a chunk", RATE, seal, ("memcpy", memcpy)),
        taken.line("open a chunk", RATE, open, ("AES-256-GCM alone", gcm_open)),
        taken.line("seal by the reference (aes-gcm)", RATE, seal_by_reference, ("by AWS-LC", seal)),
    ])
}

pub(super) fn erasure(effort: Effort) -> anyhow::Result<Vec<Line>> {
    let chunk = Chunk::new()?;
    let (k, m) = (chunk.code().k(), chunk.code().m());
    let shard_len = chunk.shape.shard_len() as usize;
    let codec = ReedSolomon::new(k, m)?;
    // The two data shards that a read misses are the first.
    let lost = || -> Vec<Option<Vec<u8>>> {
        chunk.shards().enumerate().map(|(i, s)| (i >= m).then(|| s.to_vec())).collect()
    };
    let mut rebuilt = lost();
    chunk.coder.rebuild_data(chunk.code(), &mut rebuilt)?;
    let whole = rebuilt.iter().zip(chunk.shards()).all(|(ours, was)| ours.as_deref() == Some(was));
    ensure!(whole, "shards are rebuilt to something else than they were");

    let (mut copy, mut stripe) = (chunk.plain.clone(), chunk.stripe.clone());
    let data: Vec<Vec<u8>> = chunk.shards().take(k).map(<[u8]>::to_vec).collect();
    let mut parity = vec![vec![0; shard_len]; m];
    let (mut ours, mut theirs) = (rebuilt.clone(), rebuilt);
    let mut turns = Turns::new(effort);
    let memcpy = turns.add(LEN, || {
        black_box(&mut copy).copy_from_slice(black_box(&chunk.plain));
        Ok(())
    });
    let encode = turns.add(LEN, || Ok(chunk.coder.encode(chunk.code(), black_box(&mut stripe))?));
    let bare = turns.add(LEN, || Ok(codec.encode_sep(black_box(&data), &mut parity)?));
    // Both give the rebuilt shards' memory back each time, as a read does.
    let rebuild = turns.add(LEN, || {
        ours[..m].fill(None);
        Ok(chunk.coder.rebuild_data(chunk.code(), black_box(&mut ours))?)
    });
    let bare_rebuild = turns.add(LEN, || {
        theirs[..m].fill(None);
        Ok(codec.reconstruct_data(black_box(&mut theirs))?)
    });
    let taken = turns.take()?;
    let codec = "reed-solomon-erasure alone";
    Ok(vec![
        taken.line("parity of a chunk (4+2)", RATE, encode, (codec, bare)),
        taken.line("parity of a chunk (4+2)", RATE, encode, ("memcpy", memcpy)),
        taken.line("two data shards rebuilt", RATE, rebuild, (codec, bare_rebuild)),
        taken.line("two data shards rebuilt", RATE, rebuild, ("memcpy", memcpy)),
    ])
}

pub(super) fn hash(effort: Effort) -> anyhow::Result<Vec<Line>> {
    let chunk = Chunk::new()?;
    let mut copy = chunk.stripe.clone();
    let mut turns = Turns::new(effort);
    let len = chunk.stripe.len();
    let memcpy = turns.add(len, || {
        black_box(&mut copy).copy_from_slice(black_box(&chunk.stripe));
        Ok(())
    });
    let blocks = turns.add(len, || {
        chunk.hash_blocks(black_box(&chunk.stripe));
        Ok(())
    });
    let whole = turns.add(len, || {
        black_box(blake3::hash(black_box(&chunk.stripe)));
        Ok(())
    });
    let taken = turns.take()?;
    Ok(vec![
        taken.line("BLAKE3 of a chunk's blocks", RATE, blocks, ("BLAKE3 in one go", whole)),
        taken.line("BLAKE3 of a chunk's blocks", RATE, blocks, ("memcpy", memcpy)),
    ])
}

//! What a chunk goes through on its way to the nodes, part by part and as a whole.

use super::stopwatch::rate;
use coffer_core::erasure::{Code, Coder};
use coffer_core::ids::BlobId;
use coffer_core::layout::{CHUNK_LEN, ChunkShape};
use coffer_core::seal::stream::ChunkPosition;
use coffer_core::seal::{CipherSuite, Key, PartSealer};
use md5::{Digest, Md5};
use serde::Serialize;
use std::fmt;
use std::hint::black_box;

/// Rates in GiB/s of plaintext, on one core.
#[derive(Debug, Serialize)]
pub struct Report {
    memcpy: f64,
    seal_reference: f64,
    seal: f64,
    erasure: f64,
    blake3: f64,
    md5: f64,
    pipeline: f64,
    /// What the pipeline could reach if its parts ran one after the other at their own rates.
    limit: f64,
    /// `pipeline / limit`.
    ratio: f64,
}

/// Measures all parts; the median of `runs` counts.
///
/// # Errors
/// If a chunk can't be sealed.
pub fn measure(runs: usize) -> anyhow::Result<Report> {
    let plain: Vec<u8> =
        (0..CHUNK_LEN).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let shape = ChunkShape::new(CHUNK_LEN, Code::DEFAULT)?;
    let at = ChunkPosition { chunk: 0, last: true };
    let key = Key::from_bytes([7; 32]);
    let sealer = |suite| PartSealer::new(suite, &key, BlobId::from_bytes([1; 16]));
    let (fast, reference) = (sealer(CipherSuite::AwsLc)?, sealer(CipherSuite::Reference)?);
    let coder = Coder::default();
    let mut stripe = fast.seal_chunk(at, shape, &plain)?;
    let rate = |work: &mut dyn FnMut()| rate(runs, plain.len(), work);

    let mut copy = plain.clone();
    let memcpy = rate(&mut || black_box(&mut copy).copy_from_slice(black_box(&plain)));
    let seal = rate(&mut || drop(black_box(fast.seal_chunk(at, shape, black_box(&plain)))));
    let seal_reference =
        rate(&mut || drop(black_box(reference.seal_chunk(at, shape, black_box(&plain)))));
    let erasure = rate(&mut || drop(coder.encode(shape.code(), black_box(&mut stripe))));
    let blake3 = rate(&mut || hash_blocks(black_box(&stripe), shape));
    let md5 = rate(&mut || {
        black_box(Md5::digest(black_box(&plain)));
    });
    let pipeline = rate(&mut || {
        if let Ok(mut stripe) = fast.seal_chunk(at, shape, black_box(&plain)) {
            drop(coder.encode(shape.code(), &mut stripe));
            hash_blocks(&stripe, shape);
        }
    });
    let limit = 1.0 / (1.0 / seal + 1.0 / erasure + 1.0 / blake3);
    let ratio = pipeline / limit;
    Ok(Report { memcpy, seal_reference, seal, erasure, blake3, md5, pipeline, limit, ratio })
}

/// As a storage node does: a checksum for each block of each shard.
fn hash_blocks(stripe: &[u8], shape: ChunkShape) {
    for block in stripe.chunks(shape.block_size() as usize) {
        black_box(blake3::hash(block));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, rate: f64| {
            writeln!(
                f,
                "{name:<44} {rate:>8.2} GiB/s  {:>6.1} % of memcpy",
                100.0 * rate / self.memcpy
            )
        };
        line("memcpy", self.memcpy)?;
        line("seal, AES-256-GCM by aws-lc", self.seal)?;
        line("seal, AES-256-GCM by aes-gcm (reference)", self.seal_reference)?;
        line("erasure code 4+2", self.erasure)?;
        line("BLAKE3 of all shards' blocks", self.blake3)?;
        line("MD5 (the etag; beside the pipeline)", self.md5)?;
        line("pipeline: seal, code, hash", self.pipeline)?;
        line("its harmonic limit", self.limit)?;
        writeln!(f, "pipeline / limit: {:.2}", self.ratio)
    }
}

//! Manifests: what is recorded of an object, and where its bytes are.

use crate::erasure::Code;
use crate::ids::{BlobId, NodeId};
use crate::layout::{ChunkShape, ShapeError};
use crate::seal::stream::ChunkPosition;
use crate::shard::ShardKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Parts up to this many bytes are kept sealed in the manifest itself. Beyond it, shards are
/// packed into the nodes' volumes and cost less than the catalog's copies would.
pub const INLINE_MAX: usize = 1024;

/// An entity tag, as S3 shows it (without the quotes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ETag {
    /// The MD5 of an object that was put in one piece.
    Whole([u8; 16]),
    /// The MD5 over the parts' MD5s, and how many parts there were.
    Multipart([u8; 16], u16),
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(md5) => f.write_str(&hex::encode(md5)),
            Self::Multipart(md5, parts) => write!(f, "{}-{parts}", hex::encode(md5)),
        }
    }
}

/// What the user said about an object, given back as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, as the user wrote it.
    pub expires: Option<String>,
    /// `x-amz-meta-*`, without the prefix.
    pub user: BTreeMap<String, String>,
}

/// Additional checksums, by algorithm name (`CRC32`, `SHA256`, …), in base64 as S3 shows them.
pub type Checksums = BTreeMap<String, String>;

/// One part: bytes that were sent in one request, sealed under one data key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The name of its sealed data.
    pub blob: BlobId,
    /// The data key, wrapped by the bucket key with the blob id as context.
    pub wrapped_key: Vec<u8>,
    /// Bytes of plaintext.
    pub size: u64,
    /// MD5 of the plaintext.
    pub md5: [u8; 16],
    /// Additional checksums of the plaintext.
    pub checksums: Checksums,
    /// The sealed data, or where it is.
    pub content: Content,
}

/// A part's sealed data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// At most [`INLINE_MAX`] bytes, sealed in an envelope under the data key.
    Inline(Vec<u8>),
    /// Shards on nodes.
    Sharded {
        /// The nodes that hold shards of this part; chunks name them by position.
        nodes: Vec<NodeId>,
        /// The chunks in order.
        chunks: Vec<Chunk>,
    },
}

/// One chunk of a part: how it is cut and which nodes hold its shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Length, segments, code.
    pub shape: ChunkShape,
    /// For each shard the position of its node in the part's list, or `None` where it was not
    /// written: the write met its quorum without it, and repair owes it.
    pub placed: Vec<Option<u16>>,
    /// For each shard the generation in its name; empty while all are 0, as they are when written.
    pub generations: Vec<u16>,
}

impl Chunk {
    /// The generation in the name of shard `index`.
    pub fn generation(&self, index: usize) -> u16 {
        self.generations.get(index).copied().unwrap_or(0)
    }

    /// Whether a shard of it is still to be written.
    pub fn owes_shards(&self) -> bool {
        self.placed.iter().any(Option::is_none)
    }
}

/// A manifest that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A chunk's shape is impossible.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Sizes or references do not add up.
    #[error("manifest of blob {blob} contradicts itself: {what}")]
    Inconsistent {
        /// The blob in question.
        blob: BlobId,
        /// What does not add up.
        what: &'static str,
    },
}

impl Part {
    /// Checks what was read from the catalog, so that the code that uses it need not.
    ///
    /// # Errors
    /// [`ManifestError`] with what does not add up.
    pub fn check(&self) -> Result<(), ManifestError> {
        let broken = |what| Err(ManifestError::Inconsistent { blob: self.blob, what });
        let Content::Sharded { nodes, chunks } = &self.content else { return Ok(()) };
        let mut size = 0u64;
        for (i, chunk) in chunks.iter().enumerate() {
            chunk.shape.check()?;
            size += u64::from(chunk.shape.len());
            if i + 1 < chunks.len() && chunk.shape.len() != crate::layout::CHUNK_LEN {
                return broken("a chunk before the last is not full");
            }
            if chunk.placed.len() != chunk.shape.code().n() {
                return broken("a chunk does not place all its shards");
            }
            if !chunk.generations.is_empty() && chunk.generations.len() != chunk.placed.len() {
                return broken("a chunk does not name all its shards");
            }
            if chunk.placed.iter().flatten().any(|p| usize::from(*p) >= nodes.len()) {
                return broken("a shard is placed on a node that is not listed");
            }
        }
        if size == self.size { Ok(()) } else { broken("its chunks do not sum to its size") }
    }

    /// The chunk `n` with its nodes and its position in the stream, if there is one.
    pub fn chunk(&self, n: u32) -> Option<ChunkRef<'_>> {
        let Content::Sharded { nodes, chunks } = &self.content else { return None };
        let chunk = chunks.get(n as usize)?;
        let position = ChunkPosition { chunk: n, last: n as usize + 1 == chunks.len() };
        Some(ChunkRef { chunk, nodes, position, blob: self.blob })
    }

    /// The chunks with their nodes, in order; none of inline data.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkRef<'_>> {
        (0..).map_while(|n| self.chunk(n))
    }

    /// Whether a shard of it is still to be written.
    pub fn owes_shards(&self) -> bool {
        self.chunks().any(|c| c.chunk.owes_shards())
    }

    /// Puts shards where `moves` say, each under the next generation of its name, if all are still
    /// where the moves saw them. Returns the shards that are to be deleted where they were.
    ///
    /// # Errors
    /// The first move that saw something else; nothing has changed then.
    pub fn relocate(&mut self, moves: &[Move]) -> Result<Vec<(NodeId, ShardKey)>, Move> {
        let mut left = Vec::new();
        for (i, step) in moves.iter().enumerate() {
            let now = self.chunk(step.chunk).filter(|c| usize::from(step.index) < c.shards());
            let repeated =
                moves[..i].iter().any(|m| (m.chunk, m.index) == (step.chunk, step.index));
            let seen = now.map(|c| (c.node_of(step.index.into()), c.key(step.index).generation));
            if repeated || seen != Some((step.from, step.generation)) || step.next().is_none() {
                return Err(*step);
            }
            left.extend(now.and_then(|c| Some((step.from?, c.key(step.index)))));
        }
        let Content::Sharded { nodes, chunks } = &mut self.content else { return Ok(left) };
        for step in moves {
            let Some(chunk) = chunks.get_mut(step.chunk as usize) else { continue };
            let slot = nodes.iter().position(|n| *n == step.to).unwrap_or_else(|| {
                nodes.push(step.to);
                nodes.len() - 1
            });
            let index = usize::from(step.index);
            chunk.placed[index] = u16::try_from(slot).ok();
            chunk.generations.resize(chunk.placed.len(), 0);
            chunk.generations[index] = step.next().unwrap_or(step.generation);
        }
        drop_unused(nodes, chunks);
        Ok(left)
    }

    /// The code of the part's largest chunk; `None` for inline data.
    pub fn code(&self) -> Option<Code> {
        match &self.content {
            Content::Inline(_) => None,
            Content::Sharded { chunks, .. } => chunks.first().map(|c| c.shape.code()),
        }
    }
}

/// A shard that goes to another node, or is written at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The chunk's number within the part.
    pub chunk: u32,
    /// The shard's number within the chunk.
    pub index: u8,
    /// Where it was seen; `None` if it was still owed.
    pub from: Option<NodeId>,
    /// The generation that its name was seen to have.
    pub generation: u16,
    /// The node that has it now, under the next generation.
    pub to: NodeId,
}

impl Move {
    /// The generation of the shard's new name; `None` when a shard has moved 65,535 times.
    pub fn next(&self) -> Option<u16> {
        self.generation.checked_add(1)
    }
}

/// Takes nodes that hold nothing any more from a part's list.
fn drop_unused(nodes: &mut Vec<NodeId>, chunks: &mut [Chunk]) {
    let used = |slot: usize, chunks: &[Chunk]| {
        chunks.iter().flat_map(|c| &c.placed).any(|p| p.is_some_and(|p| usize::from(p) == slot))
    };
    for slot in (0..nodes.len()).rev() {
        if !used(slot, chunks) {
            nodes.remove(slot);
            let behind = |p: &&mut u16| usize::from(**p) > slot;
            let placed = chunks.iter_mut().flat_map(|c| c.placed.iter_mut().flatten());
            placed.filter(behind).for_each(|p| *p -= 1);
        }
    }
}

/// A chunk together with what its part knows about it.
#[derive(Debug, Clone, Copy)]
pub struct ChunkRef<'a> {
    /// The chunk.
    pub chunk: &'a Chunk,
    /// Its place in the part.
    pub position: ChunkPosition,
    blob: BlobId,
    nodes: &'a [NodeId],
}

impl ChunkRef<'_> {
    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.chunk.placed.len()
    }

    /// The name of shard `index`.
    pub fn key(&self, index: u8) -> ShardKey {
        ShardKey {
            blob: self.blob,
            chunk: self.position.chunk,
            index,
            generation: self.chunk.generation(index.into()),
        }
    }

    /// The shards that have been written, each with the node that holds it.
    pub fn placed(&self) -> impl Iterator<Item = (NodeId, ShardKey)> {
        let shards = (0..=u8::MAX).zip(&self.chunk.placed);
        shards.filter_map(|(i, _)| Some((self.node_of(i.into())?, self.key(i))))
    }

    /// The node that holds shard `index`, if any does.
    pub fn node_of(&self, index: usize) -> Option<NodeId> {
        let slot = (*self.chunk.placed.get(index)?)?;
        self.nodes.get(usize::from(slot)).copied()
    }
}

/// Everything needed to read an object's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The parts in order. A plain PUT makes one.
    pub parts: Vec<Part>,
}

impl Manifest {
    /// Bytes of plaintext over all parts.
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|p| p.size).sum()
    }

    /// All shards that have been written, each with the node that holds it.
    pub fn placed(&self) -> impl Iterator<Item = (NodeId, ShardKey)> {
        self.parts.iter().flat_map(Part::chunks).flat_map(|c| c.placed().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::CHUNK_LEN;

    fn part(lens: &[u32]) -> Part {
        let chunks = lens
            .iter()
            .map(|l| {
                let shape = ChunkShape::new(*l, Code::DEFAULT).unwrap();
                Chunk {
                    shape,
                    placed: (0..shape.code().n() as u16).map(Some).collect(),
                    generations: vec![],
                }
            })
            .collect();
        Part {
            blob: BlobId::from_bytes([1; 16]),
            wrapped_key: vec![],
            size: lens.iter().map(|l| u64::from(*l)).sum(),
            md5: [0; 16],
            checksums: Checksums::new(),
            content: Content::Sharded {
                nodes: (0..6).map(|i| NodeId::from_bytes([i; 16])).collect(),
                chunks,
            },
        }
    }

    #[test]
    fn a_sound_part_passes_and_contradictions_do_not() {
        assert_eq!(part(&[CHUNK_LEN, 5]).check(), Ok(()));
        assert!(part(&[5, CHUNK_LEN]).check().is_err(), "short chunk in the middle");
        let mut wrong_size = part(&[5]);
        wrong_size.size = 6;
        assert!(wrong_size.check().is_err());
        let mut wrong_node = part(&[5]);
        if let Content::Sharded { nodes, .. } = &mut wrong_node.content {
            nodes.truncate(1);
        }
        assert!(wrong_node.check().is_err());
    }

    #[test]
    fn a_gibibyte_costs_a_few_kilobytes_of_manifest() {
        let manifest = Manifest { parts: vec![part(&[CHUNK_LEN; 256])] };
        let bytes = postcard::to_stdvec(&manifest).unwrap();
        assert!(bytes.len() < 8 * 1024, "{}", bytes.len());
    }

    #[test]
    fn etags_print_as_s3_does() {
        assert_eq!(ETag::Whole([0xab; 16]).to_string(), "ab".repeat(16));
        assert_eq!(ETag::Multipart([1; 16], 3).to_string(), format!("{}-3", "01".repeat(16)));
    }
}

//! The codec of records: pure functions between bytes and [`Record`].
//!
//! The layout is in the documentation of [`crate::volume`].

use super::VolumeNo;
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::shard::{BlockRange, MAX_SHARD_LEN, ShardInfo, ShardKey};

/// Bytes of a record before its checksum table.
pub const HEAD_LEN: usize = 96;
/// Bytes of one entry of the checksum table.
pub const CHECKSUM_LEN: usize = 32;
/// Records begin at multiples of this.
pub const ALIGN: u64 = 8;
/// The most blocks of a shard; bounds the table, so that reading one block stays cheap.
pub const MAX_BLOCKS: u32 = 1024;
/// What a record begins with.
pub const MAGIC: [u8; 8] = *b"CofferRe";

const HASHED_LEN: usize = 64;
const ZEROS: [u8; 6] = [0; 6];

/// Where a record lies. It is part of the record's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The node that owns the volume.
    pub node: NodeId,
    /// The volume.
    pub volume: VolumeNo,
    /// The record's first byte within the file.
    pub offset: u64,
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The payload that follows is this shard.
    Shard {
        /// Which shard.
        key: ShardKey,
        /// Its shape.
        info: ShardInfo,
    },
    /// The shard is deleted.
    Tombstone {
        /// Which shard.
        key: ShardKey,
        /// The one volume that held records of the shard, where that was known: once it is gone,
        /// the tombstone may go.
        kills: Option<VolumeNo>,
    },
    /// Nothing beyond the record's `synced` field.
    Mark,
}

/// A record without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub kind: Kind,
    /// Grows with every record of the node.
    pub seq: u64,
    /// All bytes of the volume before this offset were durable when the record was written.
    pub synced: u64,
}

/// Bytes that are not a record of this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Shorter than the record says it is.
    #[error("the record is cut short")]
    Short,
    /// No record begins here.
    #[error("no record begins here")]
    Magic,
    /// A field has a value that is never written.
    #[error("a field of the record's header is out of range")]
    Field,
    /// The hash over place, header and table does not match.
    #[error("the record's header or table does not match its hash")]
    Hash,
}

impl Kind {
    fn key(&self) -> ShardKey {
        match self {
            Self::Shard { key, .. } | Self::Tombstone { key, .. } => *key,
            Self::Mark => ShardKey::from_bytes(&[0; ShardKey::LEN]),
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Shard { .. } => 1,
            Self::Tombstone { .. } => 2,
            Self::Mark => 3,
        }
    }

    /// The shape of the payload, if there is one.
    pub fn info(&self) -> Option<&ShardInfo> {
        match self {
            Self::Shard { info, .. } => Some(info),
            Self::Tombstone { .. } | Self::Mark => None,
        }
    }
}

impl Record {
    /// Bytes of header and table: what [`verify`] needs.
    pub fn head_len(&self) -> usize {
        self.kind.info().map_or(HEAD_LEN, head_len)
    }

    /// Bytes from the record's begin to the next one's.
    pub fn total_len(&self) -> u64 {
        self.kind.info().map_or((HEAD_LEN as u64).next_multiple_of(ALIGN), total_len)
    }
}

/// Bytes of a shard's record: header, table, payload, and zeros up to the next record.
pub fn total_len(info: &ShardInfo) -> u64 {
    (head_len(info) as u64 + u64::from(info.len)).next_multiple_of(ALIGN)
}

/// Bytes of header and table of a shard's record.
pub fn head_len(info: &ShardInfo) -> usize {
    HEAD_LEN + info.blocks() as usize * CHECKSUM_LEN
}

/// The checksum table of a payload cut in blocks of `block_size` bytes.
pub fn checksums(payload: &[u8], block_size: u32) -> Vec<u8> {
    payload
        .chunks(block_size.max(1) as usize)
        .flat_map(|block| *blake3::hash(block).as_bytes())
        .collect()
}

/// The first of `blocks` in `bytes` that differs from its entry in `table`, if any. `bytes` are the
/// payload bytes of just those blocks.
pub fn first_bad(table: &[u8], bytes: &[u8], block_size: u32, blocks: BlockRange) -> Option<u32> {
    let sums = table.chunks_exact(CHECKSUM_LEN).skip(blocks.first as usize);
    let mut data = bytes.chunks(block_size.max(1) as usize);
    let mut numbers = blocks.first..blocks.first.saturating_add(blocks.count);
    let mut sums = sums.map(Some).chain(std::iter::repeat(None));
    numbers.find(|_| match (data.next(), sums.next().flatten()) {
        (Some(block), Some(sum)) => blake3::hash(block).as_bytes()[..] != *sum,
        _ => true,
    })
}

fn seal(place: &Place, hashed: &[u8], table: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(place.node.as_bytes());
    hasher.update(&place.volume.0.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(hashed);
    hasher.update(table);
    hasher.finalize()
}

/// Header and table as they are written; `table` is that of [`checksums`], empty without payload.
pub fn encode(record: &Record, place: &Place, table: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_LEN + table.len());
    let key = record.kind.key();
    let (k, m): (u8, u8) = record.kind.info().map_or((0, 0), |i| i.code.into());
    let (block_size, len) = match record.kind {
        Kind::Shard { info, .. } => (info.block_size, info.len),
        Kind::Tombstone { kills, .. } => (kills.map_or(0, |volume| volume.0), 0),
        Kind::Mark => (0, 0),
    };
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[record.kind.code(), k, m, key.index]);
    out.extend_from_slice(&key.chunk.to_le_bytes());
    out.extend_from_slice(key.blob.as_bytes());
    out.extend_from_slice(&block_size.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&record.seq.to_le_bytes());
    out.extend_from_slice(&record.synced.to_le_bytes());
    out.extend_from_slice(&key.generation.to_le_bytes());
    out.extend_from_slice(&ZEROS);
    let hash = seal(place, &out, table);
    out.extend_from_slice(hash.as_bytes());
    out.extend_from_slice(table);
    out
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], RecordError> {
    let slice = bytes.get(at..at + N).ok_or(RecordError::Short)?;
    slice.try_into().map_err(|_| RecordError::Short)
}

/// Reads the fields of a header, without verifying them: enough to know how much to read for
/// [`verify`]. The length that follows from them is bounded.
///
/// # Errors
/// [`RecordError`], except `Hash`.
pub fn peek(bytes: &[u8]) -> Result<Record, RecordError> {
    if array::<8>(bytes, 0)? != MAGIC {
        return Err(RecordError::Magic);
    }
    let [kind, k, m, index] = array(bytes, 8)?;
    let chunk = u32::from_le_bytes(array(bytes, 12)?);
    let blob = BlobId::from_bytes(array(bytes, 16)?);
    let generation = u16::from_le_bytes(array(bytes, 56)?);
    let key = ShardKey { blob, chunk, index, generation };
    let block_size = u32::from_le_bytes(array(bytes, 32)?);
    let len = u32::from_le_bytes(array(bytes, 36)?);
    let seq = u64::from_le_bytes(array(bytes, 40)?);
    let synced = u64::from_le_bytes(array(bytes, 48)?);
    if array(bytes, 58)? != ZEROS {
        return Err(RecordError::Field);
    }
    array::<32>(bytes, HASHED_LEN)?;
    let no_payload = [k, m] == [0, 0] && len == 0;
    let kind = match kind {
        1 => {
            let code = Code::new(k, m).map_err(|_| RecordError::Field)?;
            let info = ShardInfo { code, block_size, len };
            let sane = (1..=MAX_SHARD_LEN).contains(&len) && block_size > 0;
            if !sane || info.blocks() > MAX_BLOCKS {
                return Err(RecordError::Field);
            }
            Kind::Shard { key, info }
        }
        2 if no_payload => {
            let kills = (block_size > 0).then_some(VolumeNo(block_size));
            Kind::Tombstone { key, kills }
        }
        3 if no_payload && block_size == 0 && key == Kind::Mark.key() => Kind::Mark,
        _ => return Err(RecordError::Field),
    };
    Ok(Record { kind, seq, synced })
}

/// Reads and verifies header and table; gives the record and its table.
///
/// # Errors
/// [`RecordError`]: the bytes are not what was written at `place`.
pub fn verify<'a>(bytes: &'a [u8], place: &Place) -> Result<(Record, &'a [u8]), RecordError> {
    let record = peek(bytes)?;
    let table = bytes.get(HEAD_LEN..record.head_len()).ok_or(RecordError::Short)?;
    if seal(place, &bytes[..HASHED_LEN], table).as_bytes()[..] != bytes[HASHED_LEN..HEAD_LEN] {
        return Err(RecordError::Hash);
    }
    Ok((record, table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place() -> Place {
        Place { node: NodeId::from_bytes([9; 16]), volume: VolumeNo(3), offset: 4096 }
    }

    prop_compose! {
        fn any_key()(blob: [u8; 16], chunk: u32, index: u8, generation: u16) -> ShardKey {
            ShardKey { blob: BlobId::from_bytes(blob), chunk, index, generation }
        }
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        let shape = (1u32..5000, 17u32..700, 1u8..=16, 1u8..=8);
        prop_oneof![
            (any_key(), shape).prop_map(|(key, (len, block_size, k, m))| {
                let code = Code::new(k, m).unwrap();
                Kind::Shard { key, info: ShardInfo { code, block_size, len } }
            }),
            (any_key(), 0u32..3).prop_map(|(key, n)| Kind::Tombstone {
                key,
                kills: (n > 0).then_some(VolumeNo(n))
            }),
            Just(Kind::Mark),
        ]
    }

    prop_compose! {
        fn any_record()(kind in any_kind(), seq: u64, synced: u64) -> Record {
            Record { kind, seq, synced }
        }
    }

    fn payload_of(record: &Record) -> (Vec<u8>, Vec<u8>) {
        let Some(info) = record.kind.info() else { return (Vec::new(), Vec::new()) };
        let payload: Vec<u8> = (0..info.len).map(|i| (i % 251) as u8).collect();
        let table = checksums(&payload, info.block_size);
        (payload, table)
    }

    proptest! {
        #[test]
        fn records_read_back(record in any_record()) {
            let (_, table) = payload_of(&record);
            let bytes = encode(&record, &place(), &table);
            prop_assert_eq!(bytes.len(), record.head_len());
            prop_assert_eq!(verify(&bytes, &place()), Ok((record, &table[..])));
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, with_magic: bool) {
            if with_magic && bytes.len() >= 9 {
                bytes[..8].copy_from_slice(&MAGIC);
                bytes[8] = bytes[8] % 3 + 1;
            }
            let _ = verify(&bytes, &place());
        }

        #[test]
        fn any_flipped_bit_of_header_or_table_is_found(record in any_record(), at: prop::sample::Index, bit in 0u8..8) {
            let (_, table) = payload_of(&record);
            let mut bytes = encode(&record, &place(), &table);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(verify(&bytes, &place()).is_err());
        }

        #[test]
        fn any_flipped_bit_of_the_payload_names_its_block(record in any_record(), at: prop::sample::Index, bit in 0u8..8) {
            let (mut payload, table) = payload_of(&record);
            if let Some(info) = record.kind.info() {
                let all = BlockRange { first: 0, count: info.blocks() };
                prop_assert_eq!(first_bad(&table, &payload, info.block_size, all), None);
                let at = at.index(payload.len());
                payload[at] ^= 1 << bit;
                let block = u32::try_from(at).unwrap() / info.block_size;
                prop_assert_eq!(first_bad(&table, &payload, info.block_size, all), Some(block));
            }
        }
    }

    #[test]
    fn a_record_is_valid_only_in_its_place() {
        let record = Record { kind: Kind::Mark, seq: 1, synced: 64 };
        let bytes = encode(&record, &place(), &[]);
        for other in [
            Place { offset: 4104, ..place() },
            Place { volume: VolumeNo(4), ..place() },
            Place { node: NodeId::from_bytes([8; 16]), ..place() },
        ] {
            assert_eq!(verify(&bytes, &other), Err(RecordError::Hash));
        }
    }

    #[test]
    fn a_short_payload_is_bad_at_the_block_that_is_missing() {
        let table = checksums(&[1; 100], 50);
        let both = BlockRange { first: 0, count: 2 };
        assert_eq!(first_bad(&table, &[1; 50], 50, both), Some(1));
        assert_eq!(first_bad(&table, &[1; 50], 50, BlockRange { first: 1, count: 1 }), None);
    }
}

//! The shard service's messages, as they cross the network.
//!
//! Transport: mutual TLS over TCP, ALPN [`ALPN`], one request at a time on a connection:
//!
//! ```text
//! client -> node   u32 LE header length | u32 LE payload length | Request  (postcard) | payload
//! node -> client   u32 LE header length | u32 LE payload length | Response (postcard) | payload
//! ```
//!
//! A node that takes its time sends zeros in place of lengths now and then. A payload that is not as
//! long as the request's header says is an error. The version is part of the ALPN name, so that peers of different
//! versions refuse each other in the handshake and can offer several during an upgrade.

use crate::shard::{BlockRange, Finding, NodeStat, ShardError, ShardInfo, ShardKey};
use serde::{Deserialize, Serialize};

/// The protocol's name and version in the TLS handshake.
pub const ALPN: &[u8] = b"coffer-shard/3";

/// The longest header that is read, in bytes; bounds what a peer can make us allocate.
pub const MAX_HEADER: u32 = 256 * 1024;

/// A request's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Store the shard whose `info.len` bytes follow.
    Put {
        /// Which shard.
        key: ShardKey,
        /// Its shape.
        info: ShardInfo,
    },
    /// Read blocks.
    Get {
        /// Which shard.
        key: ShardKey,
        /// Which of its blocks.
        blocks: BlockRange,
        /// Whether the node is to check them; if not, the caller does.
        verify: bool,
    },
    /// Delete shards.
    Delete {
        /// Which shards.
        keys: Vec<ShardKey>,
    },
    /// List shards.
    List {
        /// Those after this one; from the start if `None`.
        after: Option<ShardKey>,
        /// At most so many.
        limit: u32,
    },
    /// Ask how the node is doing.
    Stat,
    /// Ask what the node has found damaged.
    Findings {
        /// Those with ids over this one; from the start if `None`.
        after: Option<u64>,
        /// At most so many.
        limit: u32,
    },
    /// Store these shards together; their payloads follow in the same order.
    PutAll {
        /// Which shards, and their shapes.
        shards: Vec<(ShardKey, ShardInfo)>,
    },
}

/// A response's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Done.
    Done,
    /// Blocks follow.
    Blocks,
    /// A page of the index.
    Shards(Vec<(ShardKey, ShardInfo)>),
    /// How the node is doing.
    Stat(Box<NodeStat>),
    /// A page of findings.
    Findings(Vec<Finding>),
    /// Not done.
    Failed(ShardError),
}

/// A header that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A header has more bytes than are taken.
    #[error("header of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// What it has.
        len: u32,
        /// The most that is taken.
        limit: u32,
    },
    /// The bytes are not a header of this protocol version.
    #[error("header can't be decoded: {0}")]
    Malformed(String),
}

/// Encodes a header of the shard service with its length in front.
///
/// # Errors
/// [`WireError::TooLong`] when the peer would refuse it.
pub fn encode<T: Serialize>(header: &T) -> Result<Vec<u8>, WireError> {
    encode_within(header, MAX_HEADER)
}

/// Encodes a header of at most `limit` bytes with its length in front.
///
/// # Errors
/// [`WireError::TooLong`] over the limit.
pub fn encode_within<T: Serialize>(header: &T, limit: u32) -> Result<Vec<u8>, WireError> {
    let body = postcard::to_stdvec(header).map_err(|e| WireError::Malformed(e.to_string()))?;
    let len = check_len(u32::try_from(body.len()).unwrap_or(u32::MAX), limit)?;
    let mut out = Vec::with_capacity(4 + body.len());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

/// Checks a header's announced length, before it is allocated.
///
/// # Errors
/// [`WireError::TooLong`] over `limit`.
pub fn check_len(len: u32, limit: u32) -> Result<u32, WireError> {
    if len > limit { Err(WireError::TooLong { len, limit }) } else { Ok(len) }
}

/// Decodes a header (without its length). Trailing bytes are an error.
///
/// # Errors
/// [`WireError::Malformed`] with the decoder's reason.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes::<T>(body) {
        Ok((header, [])) => Ok(header),
        Ok((_, rest)) => Err(WireError::Malformed(format!("{} bytes too many", rest.len()))),
        Err(e) => Err(WireError::Malformed(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erasure::Code;
    use crate::ids::BlobId;
    use crate::shard::{Damage, MAX_BATCH, MAX_FINDINGS, finding::MAX_REASON};
    use proptest::prelude::*;

    #[test]
    fn headers_read_back_and_trailing_bytes_do_not() {
        let key =
            ShardKey { blob: BlobId::from_bytes([7; 16]), chunk: 9, index: 5, generation: 300 };
        let info = ShardInfo { code: Code::DEFAULT, block_size: 65552, len: 1_048_832 };
        let request = Request::Put { key, info };
        let mut bytes = encode(&request).unwrap();
        assert_eq!(decode::<Request>(&bytes[4..]), Ok(request));
        bytes.push(0);
        assert!(matches!(decode::<Request>(&bytes[4..]), Err(WireError::Malformed(_))));
    }

    #[test]
    fn the_largest_batch_fits_a_header() {
        let key = ShardKey {
            blob: BlobId::from_bytes([255; 16]),
            chunk: u32::MAX,
            index: 255,
            generation: u16::MAX,
        };
        let info = ShardInfo { code: Code::DEFAULT, block_size: 65552, len: 1_048_832 };
        assert!(encode(&Request::Delete { keys: vec![key; MAX_BATCH] }).is_ok());
        assert!(encode(&Response::Shards(vec![(key, info); MAX_BATCH])).is_ok());
        let damage = Damage::Unreadable("e".repeat(MAX_REASON));
        let finding = Finding { id: u64::MAX, key, damage };
        assert!(encode(&Response::Findings(vec![finding; MAX_FINDINGS])).is_ok());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode::<Request>(&bytes);
            let _ = decode::<Response>(&bytes);
        }

        #[test]
        fn what_is_understood_reads_back_and_is_no_larger_than_it_came(
            kind in 0..7u8,
            rest: Vec<u8>,
        ) {
            // Most arbitrary bytes are no header at all: these begin as one.
            let bytes = [&[kind], rest.as_slice()].concat();
            if let Ok(request) = decode::<Request>(&bytes) {
                let encoded = encode(&request).unwrap();
                prop_assert!(encoded.len() <= 4 + bytes.len());
                prop_assert_eq!(decode::<Request>(&encoded[4..]), Ok(request));
            }
            if let Ok(response) = decode::<Response>(&bytes) {
                let encoded = encode(&response).unwrap();
                prop_assert!(encoded.len() <= 4 + bytes.len());
                prop_assert_eq!(decode::<Response>(&encoded[4..]), Ok(response));
            }
        }

        #[test]
        fn a_header_that_is_cut_is_none(keys: Vec<([u8; 16], u32, u8, u16)>, cut: prop::sample::Index) {
            let key = |(blob, chunk, index, generation)| ShardKey { blob: BlobId::from_bytes(blob), chunk, index, generation };
            let request = Request::Delete { keys: keys.into_iter().map(key).collect() };
            let bytes = encode(&request).unwrap();
            let cut = 4 + cut.index(bytes.len() - 4);
            prop_assert!(decode::<Request>(&bytes[4..cut]).is_err());
        }
    }
}

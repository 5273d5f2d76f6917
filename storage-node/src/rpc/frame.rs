//! Frames: lengths, which are bounded, then a header, then a payload.

use super::Stream;
use coffer_core::wire::{self, WireError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;

/// Bytes before a header.
pub const PREFIX: usize = 8;

/// No header could be read.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The connection ended or broke.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// What came is no header.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// What a frame says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Bytes of the header.
    pub header: u32,
    /// Bytes of payload behind it.
    pub payload: u32,
}

impl Prefix {
    /// Says that an answer will come. No header is empty.
    pub const SIGN_OF_LIFE: Self = Self { header: 0, payload: 0 };

    /// As it crosses.
    pub fn to_bytes(self) -> [u8; PREFIX] {
        let (mut bytes, header) = ([0; PREFIX], self.header.to_le_bytes());
        bytes[..4].copy_from_slice(&header);
        bytes[4..].copy_from_slice(&self.payload.to_le_bytes());
        bytes
    }

    /// From what has crossed.
    pub fn from_bytes(bytes: [u8; PREFIX]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { header: u32::from_le_bytes([a, b, c, d]), payload: u32::from_le_bytes([e, f, g, h]) }
    }
}

/// A frame but for its payload, which has `payload` bytes.
///
/// # Errors
/// [`WireError::TooLong`] when the header is over the limit.
pub fn encode<T: Serialize>(header: &T, payload: usize, limit: u32) -> Result<Vec<u8>, WireError> {
    let too_long = |len| WireError::TooLong { len, limit: u32::MAX };
    let payload = u32::try_from(payload).map_err(|_| too_long(u32::MAX))?;
    let encoded = wire::encode_within(header, limit)?;
    // It comes with its length in front.
    let (len, header) = encoded.split_at(size_of::<u32>());
    let mut frame = Vec::with_capacity(PREFIX + header.len());
    frame.extend_from_slice(len);
    frame.extend_from_slice(&payload.to_le_bytes());
    frame.extend_from_slice(header);
    Ok(frame)
}

/// Reads a header whose length is known.
///
/// # Errors
/// [`HeaderError`].
pub async fn header<T: DeserializeOwned>(stream: &mut Stream, len: u32) -> Result<T, HeaderError> {
    let bytes = stream.read(len).await?;
    Ok(wire::decode(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_prefix_reads_back(header: u32, payload: u32) {
            let prefix = Prefix { header, payload };
            prop_assert_eq!(Prefix::from_bytes(prefix.to_bytes()), prefix);
        }
    }

    #[test]
    fn a_frame_says_what_follows() {
        let frame = encode(&(1u8, 2u8), 77, 100).unwrap();
        let prefix = Prefix::from_bytes(frame[..PREFIX].try_into().unwrap());
        assert_eq!(prefix, Prefix { header: 2, payload: 77 });
        assert_eq!(frame[PREFIX..], [1, 2]);
        assert!(matches!(encode(&vec![0u8; 200], 0, 100), Err(WireError::TooLong { .. })));
    }
}

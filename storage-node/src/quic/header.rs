//! Headers on a stream: their length, which is bounded, and then postcard.

use coffer_core::wire::{self, WireError};
use quinn::{ReadExactError, RecvStream};
use serde::de::DeserializeOwned;

/// No header could be read.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The stream ended or broke.
    #[error(transparent)]
    Read(#[from] ReadExactError),
    /// What came is no header.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Reads a header of at most `limit` bytes.
///
/// # Errors
/// [`HeaderError`].
pub async fn read<T: DeserializeOwned>(
    receive: &mut RecvStream,
    limit: u32,
) -> Result<T, HeaderError> {
    let len = read_len(receive, limit).await?;
    read_body(receive, len).await
}

/// Reads the length of a header of at most `limit` bytes, before anything is allocated for it.
///
/// # Errors
/// [`HeaderError`].
pub async fn read_len(receive: &mut RecvStream, limit: u32) -> Result<u32, HeaderError> {
    let mut len = [0; 4];
    receive.read_exact(&mut len).await?;
    Ok(wire::check_len(u32::from_le_bytes(len), limit)?)
}

/// Reads a header whose length is known.
///
/// # Errors
/// [`HeaderError`].
pub async fn read_body<T: DeserializeOwned>(
    receive: &mut RecvStream,
    len: u32,
) -> Result<T, HeaderError> {
    let mut body = vec![0; len as usize];
    receive.read_exact(&mut body).await?;
    Ok(wire::decode(&body)?)
}

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
    let mut len = [0; 4];
    receive.read_exact(&mut len).await?;
    // Before anything is allocated for it.
    let len = wire::check_len(u32::from_le_bytes(len), limit)?;
    let mut body = vec![0; len as usize];
    receive.read_exact(&mut body).await?;
    Ok(wire::decode(&body)?)
}

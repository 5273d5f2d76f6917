//! Client for Coffer.
pub mod endpoint;
pub mod profile;
mod secret;
pub mod transport;
mod url;

pub use secret::Secret;
pub use url::{MAX_KEY_BYTES, S3Url, S3UrlError};

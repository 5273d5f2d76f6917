//! Who asks, and what they may do.
//!
//! | module | what |
//! |---|---|
//! | [`identity`] | who asks, and what they may do by their own grants |
//! | [`keys`] | static access keys, for SigV4 |
//! | `signed` | what a signature must cover |
//! | [`token`] | access tokens (biscuits), for `Authorization: Bearer` |
//! | `appended` | what holders may append to a token |
//! | [`access`] | the one authorization function |
//! | `operations` | what each S3 operation needs |
//! | `context` | what a bucket's policy may ask of a request |
//!
//! Deny by default: an operation that `operations` does not list is denied, and so is a request
//! that neither its caller's grants nor the bucket's policy allow.

pub mod access;
mod appended;
pub(crate) mod context;
pub mod identity;
pub mod keys;
pub(crate) mod operations;
pub(crate) mod signed;
pub mod token;

pub use identity::Identity;
pub use keys::KeyRing;
pub use token::Tokens;

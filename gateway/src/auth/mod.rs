//! Who asks, and what they may do.
//!
//! | module | what |
//! |---|---|
//! | [`keys`] | static access keys, for SigV4 |
//! | [`token`] | access tokens (biscuits), for `Authorization: Bearer` |
//! | `appended` | what holders may append to a token |
//! | [`access`] | identities, the one authorization function, and each S3 operation's needs |
//!
//! Deny by default: an operation that [`access`] does not list is denied, and so is a request
//! without an identity.

pub mod access;
mod appended;
pub mod keys;
pub mod token;

pub use access::Identity;
pub use keys::KeyRing;
pub use token::Tokens;

//! Sealing: how plaintext becomes ciphertext, and whose key wraps whose.
//!
//! ```text
//! master key ──wraps──> bucket key ──wraps──> data key (DEK, one per part) ──seals──> segments
//! ```
//!
//! * [`keys`]: keys and their zeroizing.
//! * [`envelope`]: sealing of small values under a long-lived key: wrapped keys, catalog values.
//! * [`cipher`]: AES-256-GCM itself, twice: RustCrypto as the reference, AWS-LC for bulk.
//! * [`stream`]: the STREAM construction over the segments of a part.

pub mod cipher;
pub mod envelope;
pub mod keys;
pub mod stream;

pub use cipher::CipherSuite;
pub use envelope::Envelope;
pub use keys::{Key, KeyId};
pub use stream::PartSealer;

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The tag does not fit: wrong key, wrong place, or changed bytes. Deliberately says no more.
    #[error("sealed data does not authenticate: it was changed, or it belongs elsewhere")]
    Forged,
    /// Sealed under another key than the one given.
    #[error("sealed under key {sealed_under}, but the key at hand is {given}")]
    WrongKey {
        /// The key that sealed it.
        sealed_under: KeyId,
        /// The key that was tried.
        given: KeyId,
    },
    /// Not an envelope of ours.
    #[error("not a sealed envelope: {0}")]
    Malformed(&'static str),
    /// The chunk and its shape disagree.
    #[error("chunk of {got} bytes where its shape says {want}")]
    Length {
        /// Bytes at hand.
        got: usize,
        /// Bytes that the shape asks for.
        want: usize,
    },
    /// No randomness for a key or a salt.
    #[error(transparent)]
    Random(#[from] crate::random::RandomUnavailable),
    /// The cipher library failed; it does not say why.
    #[error("the cipher failed")]
    Cipher,
}

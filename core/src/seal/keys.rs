//! Keys: 256 bits that are wiped when dropped and never printed.

use crate::random::{self, Random, RandomUnavailable};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A 256-bit symmetric key: master key, bucket key or data key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

/// Tells keys apart without giving anything away: 8 bytes derived one-way from the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 8]);

impl Key {
    /// Bytes in a key.
    pub const LEN: usize = 32;

    /// A fresh random key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomUnavailable> {
        Ok(Self(random::array(random)?))
    }

    /// From raw bytes; the caller wipes its own copy.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From 64 hexadecimal digits, as key files hold them.
    ///
    /// # Errors
    /// [`super::SealError::Malformed`] when it is anything else.
    pub fn from_hex(text: &str) -> Result<Self, super::SealError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(text.trim(), bytes.as_mut_slice())
            .map_err(|_| super::SealError::Malformed("a key is 64 hexadecimal digits"))?;
        Ok(Self(*bytes))
    }

    /// As 64 hexadecimal digits, wiped when dropped.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0))
    }

    /// The raw bytes, for a cipher.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one named purpose, one-way from this one.
    #[must_use]
    pub fn derive(&self, purpose: &'static str) -> Self {
        Self(*blake3::keyed_hash(&self.0, purpose.as_bytes()).as_bytes())
    }

    /// A key for one of many named purposes of a kind, one-way from this one.
    #[must_use]
    pub fn derive_named(&self, kind: &'static str, name: &str) -> Self {
        // The kind's own key keeps kinds apart, whatever the names.
        Self(*blake3::keyed_hash(&self.derive(kind).0, name.as_bytes()).as_bytes())
    }

    /// The key's public name.
    pub fn id(&self) -> KeyId {
        let full = blake3::keyed_hash(&self.0, b"coffer key id v1");
        let mut id = [0u8; 8];
        id.copy_from_slice(&full.as_bytes()[..8]);
        KeyId(id)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_id_and_never_the_key() {
        let key = Key::from_bytes([0xab; 32]);
        let shown = format!("{key:?}");
        assert!(!shown.contains("abab"), "{shown}");
        assert!(shown.contains(&key.id().to_string()));
    }

    #[test]
    fn derived_keys_differ_by_purpose() {
        let key = Key::from_bytes([1; 32]);
        assert_ne!(key.derive("a"), key.derive("b"));
        assert_ne!(key.derive("a"), key);
        assert_eq!(key.derive("a"), key.derive("a"));
        assert_ne!(key.derive_named("a", "b"), key.derive_named("a", "c"));
        assert_ne!(key.derive_named("a", "bc"), key.derive_named("ab", "c"));
    }

    #[test]
    fn hex_round_trips_and_bad_hex_is_refused() {
        let key = Key::from_bytes([9; 32]);
        assert_eq!(Key::from_hex(&format!("{}\n", *key.to_hex())), Ok(key));
        assert!(Key::from_hex("abc").is_err());
    }
}

//! Envelopes: small values sealed under a long-lived key, such as wrapped keys and catalog values.
//!
//! ```text
//! byte    0        version (1)
//!         1..9     id of the sealing key
//!         9..33    salt, random
//!        33..      ciphertext
//!   last 16        tag
//! ```
//!
//! A long-lived key seals more values than random 96-bit nonces allow (2^32 by NIST SP 800-38D), so
//! each envelope gets a one-time key, derived from the long-lived key and a 192-bit random salt, and
//! the nonce is zero. The header and the caller's context are authenticated: an envelope that is
//! moved to another place does not open there.

use super::cipher::Cipher;
use super::{CipherSuite, Key, KeyId, SealError};
use crate::layout::TAG_LEN;
use crate::random::{self, Random};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const SALT: usize = 24;
const HEADER: usize = 1 + 8 + SALT;
const TAG: usize = TAG_LEN as usize;

/// Seals and opens envelopes under one key.
#[derive(Debug, Clone)]
pub struct Envelope {
    key: Key,
    id: KeyId,
}

impl Envelope {
    /// Bytes that an envelope adds to its content.
    pub const OVERHEAD: usize = HEADER + TAG;

    /// Envelopes under `key`.
    pub fn new(key: Key) -> Self {
        let id = key.id();
        Self { key, id }
    }

    /// The sealing key's id.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// Seals `plain` for the place that `context` names.
    ///
    /// # Errors
    /// When there is no randomness for the salt.
    pub fn seal(
        &self,
        context: &[u8],
        plain: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, SealError> {
        let salt: [u8; SALT] = random::array(random)?;
        let mut out = Vec::with_capacity(Self::OVERHEAD + plain.len());
        out.push(VERSION);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&salt);
        out.extend_from_slice(plain);
        let (header, data) = out.split_at_mut(HEADER);
        let tag = self.one_time(&salt)?.seal([0; 12], &aad(header, context), data)?;
        out.extend_from_slice(&tag);
        Ok(out)
    }

    /// Opens an envelope that was sealed for `context`.
    ///
    /// # Errors
    /// [`SealError::Malformed`], [`SealError::WrongKey`] or [`SealError::Forged`].
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.len() < Self::OVERHEAD {
            return Err(SealError::Malformed("too short"));
        }
        let (header, body) = sealed.split_at(HEADER);
        if header[0] != VERSION {
            return Err(SealError::Malformed("unknown version"));
        }
        let mut sealed_under = [0u8; 8];
        sealed_under.copy_from_slice(&header[1..9]);
        if sealed_under != self.id.0 {
            return Err(SealError::WrongKey { sealed_under: KeyId(sealed_under), given: self.id });
        }
        let mut data = Zeroizing::new(body.to_vec());
        self.one_time(&header[9..])?.open([0; 12], &aad(header, context), &mut data)?;
        data.truncate(body.len() - TAG);
        Ok(data)
    }

    /// Wraps a key for the place that `context` names.
    ///
    /// # Errors
    /// As [`Envelope::seal`].
    pub fn wrap(
        &self,
        context: &[u8],
        key: &Key,
        random: &dyn Random,
    ) -> Result<Vec<u8>, SealError> {
        self.seal(context, key.expose(), random)
    }

    /// Unwraps a key.
    ///
    /// # Errors
    /// As [`Envelope::open`].
    pub fn unwrap_key(&self, context: &[u8], wrapped: &[u8]) -> Result<Key, SealError> {
        let plain = self.open(context, wrapped)?;
        let bytes: [u8; Key::LEN] =
            plain.as_slice().try_into().map_err(|_| SealError::Malformed("not a wrapped key"))?;
        Ok(Key::from_bytes(bytes))
    }

    fn one_time(&self, salt: &[u8]) -> Result<Box<dyn Cipher>, SealError> {
        let mut input = Zeroizing::new(b"coffer envelope v1".to_vec());
        input.extend_from_slice(salt);
        let key = Key::from_bytes(*blake3::keyed_hash(self.key.expose(), &input).as_bytes());
        CipherSuite::default().keyed(&key)
    }
}

fn aad(header: &[u8], context: &[u8]) -> Vec<u8> {
    [header, context].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;
    use proptest::prelude::*;

    fn envelope(n: u8) -> Envelope {
        Envelope::new(Key::from_bytes([n; 32]))
    }

    #[test]
    fn another_key_is_named_in_the_error() {
        let random = SeededRandom::new(1);
        let sealed = envelope(1).seal(b"here", b"value", &random).unwrap();
        let error = envelope(2).open(b"here", &sealed).unwrap_err();
        assert_eq!(
            error,
            SealError::WrongKey { sealed_under: envelope(1).key_id(), given: envelope(2).key_id() }
        );
    }

    #[test]
    fn the_same_value_never_seals_to_the_same_bytes() {
        let random = SeededRandom::new(1);
        let e = envelope(1);
        assert_ne!(e.seal(b"", b"x", &random), e.seal(b"", b"x", &random));
    }

    proptest! {
        #[test]
        fn opens_only_unchanged_and_only_in_its_place(
            plain: Vec<u8>, context: Vec<u8>, other: Vec<u8>, flip: prop::sample::Index, bit in 0u8..8,
        ) {
            let e = envelope(7);
            let sealed = e.seal(&context, &plain, &SeededRandom::new(3)).unwrap();
            prop_assert_eq!(sealed.len(), plain.len() + Envelope::OVERHEAD);
            prop_assert_eq!(&*e.open(&context, &sealed).unwrap(), &plain);
            if other != context {
                prop_assert_eq!(e.open(&other, &sealed), Err(SealError::Forged));
            }
            let mut changed = sealed.clone();
            changed[flip.index(sealed.len())] ^= 1 << bit;
            prop_assert!(e.open(&context, &changed).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = envelope(1).open(b"", &bytes);
        }
    }
}

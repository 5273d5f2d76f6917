//! AES-256-GCM with 96-bit nonces, behind one small trait with two implementations.
//!
//! RustCrypto's `aes-gcm` is the reference; AWS-LC is several times faster and is the default for
//! bulk data. A test holds them to the same bytes.

use super::{Key, SealError};
use crate::layout::TAG_LEN;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aws_lc_rs::aead as lc;

/// Bytes of a GCM tag.
const TAG: usize = TAG_LEN as usize;

/// A keyed AES-256-GCM. Nonces must never repeat under one key; the callers see to that.
pub trait Cipher: Send + Sync {
    /// Encrypts `data` in place and gives its tag.
    ///
    /// # Errors
    /// [`SealError::Cipher`] when the library fails.
    fn seal(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG], SealError>;

    /// Decrypts in place: `sealed` is ciphertext and tag; the plaintext is left in front.
    ///
    /// # Errors
    /// [`SealError::Forged`] when the tag does not fit; `sealed` is then garbage.
    fn open(&self, nonce: [u8; 12], aad: &[u8], sealed: &mut [u8]) -> Result<(), SealError>;
}

/// Which implementation to use. Both give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CipherSuite {
    /// RustCrypto `aes-gcm`: the reference, pure Rust.
    Reference,
    /// AWS-LC: hand-tuned, the default.
    #[default]
    AwsLc,
}

impl CipherSuite {
    /// Expands `key`.
    ///
    /// # Errors
    /// [`SealError::Cipher`] when the library refuses the key.
    pub fn keyed(self, key: &Key) -> Result<Box<dyn Cipher>, SealError> {
        Ok(match self {
            Self::Reference => Box::new(aes_gcm::Aes256Gcm::new(key.expose().into())),
            Self::AwsLc => {
                let unbound = lc::UnboundKey::new(&lc::AES_256_GCM, key.expose())
                    .map_err(|_| SealError::Cipher)?;
                Box::new(lc::LessSafeKey::new(unbound))
            }
        })
    }
}

impl Cipher for aes_gcm::Aes256Gcm {
    fn seal(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG], SealError> {
        self.encrypt_inout_detached(&nonce.into(), aad, data.into())
            .map(Into::into)
            .map_err(|_| SealError::Cipher)
    }

    fn open(&self, nonce: [u8; 12], aad: &[u8], sealed: &mut [u8]) -> Result<(), SealError> {
        let (data, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(SealError::Forged)?;
        let tag = *tag;
        self.decrypt_inout_detached(&nonce.into(), aad, data.into(), &tag.into())
            .map_err(|_| SealError::Forged)
    }
}

impl Cipher for lc::LessSafeKey {
    fn seal(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG], SealError> {
        let nonce = lc::Nonce::assume_unique_for_key(nonce);
        let tag = self
            .seal_in_place_separate_tag(nonce, lc::Aad::from(aad), data)
            .map_err(|_| SealError::Cipher)?;
        tag.as_ref().try_into().map_err(|_| SealError::Cipher)
    }

    fn open(&self, nonce: [u8; 12], aad: &[u8], sealed: &mut [u8]) -> Result<(), SealError> {
        let nonce = lc::Nonce::assume_unique_for_key(nonce);
        self.open_in_place(nonce, lc::Aad::from(aad), sealed)
            .map(|_| ())
            .map_err(|_| SealError::Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Test case 16 of the GCM specification (McGrew and Viega, 2005): AES-256 with AAD.
    #[test]
    fn known_answer() {
        let hex = |s: &str| hex::decode(s).unwrap();
        let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let key = Key::from_bytes(key.try_into().unwrap());
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().unwrap();
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let plain = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        for suite in [CipherSuite::Reference, CipherSuite::AwsLc] {
            let mut data = plain.clone();
            let tag = suite.keyed(&key).unwrap().seal(nonce, &aad, &mut data).unwrap();
            assert_eq!(hex::encode(tag), "76fc6ece0f4e1768cddf8853bb2d551b", "{suite:?}");
            assert!(hex::encode(&data).starts_with("522dc1f099567d07f47f37a32a84427d"));
        }
    }

    proptest! {
        #[test]
        fn both_suites_give_the_same_bytes_and_open_each_other(
            key: [u8; 32], nonce: [u8; 12], aad: Vec<u8>, plain: Vec<u8>, flip: prop::sample::Index,
        ) {
            let key = Key::from_bytes(key);
            let suites = [CipherSuite::Reference, CipherSuite::AwsLc].map(|s| s.keyed(&key).unwrap());
            let sealed = suites.each_ref().map(|c| {
                let mut data = plain.clone();
                let tag = c.seal(nonce, &aad, &mut data).unwrap();
                data.extend(tag);
                data
            });
            prop_assert_eq!(&sealed[0], &sealed[1]);
            for cipher in &suites {
                let mut data = sealed[0].clone();
                cipher.open(nonce, &aad, &mut data).unwrap();
                prop_assert_eq!(&data[..plain.len()], &plain[..]);
                let mut forged = sealed[0].clone();
                let at = flip.index(forged.len());
                forged[at] ^= 1;
                prop_assert_eq!(cipher.open(nonce, &aad, &mut forged), Err(SealError::Forged));
            }
        }
    }
}

//! Keys: the master key wraps bucket keys, a bucket key wraps the data keys of its parts.

use coffer_core::bucket::BucketSettings;
use coffer_core::catalog::records::BucketRecord;
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName};
use coffer_core::manifest::Part;
use coffer_core::random::Random;
use coffer_core::seal::{Envelope, Key, SealError};

/// Makes and unwraps bucket keys.
#[derive(Debug, Clone)]
pub struct MasterKey(Envelope);

/// What is needed to write and read a bucket's parts.
#[derive(Debug, Clone)]
pub struct BucketKeys {
    envelope: Envelope,
    code: Code,
}

impl MasterKey {
    /// Wraps bucket keys under a key that derives from `master`.
    pub fn new(master: &Key) -> Self {
        Self(Envelope::new(master.derive("coffer bucket keys v1")))
    }

    /// A record for a new bucket of `owner`, with a fresh key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new_bucket(
        &self,
        bucket: &BucketName,
        code: Code,
        owner: String,
        created_ms: u64,
        random: &dyn Random,
    ) -> Result<BucketRecord, SealError> {
        let key = Key::generate(random)?;
        let wrapped_key = self.0.wrap(&context(bucket), &key, random)?;
        let settings = BucketSettings::default();
        Ok(BucketRecord { created_ms, wrapped_key, code, owner, settings })
    }

    /// The keys of a bucket.
    ///
    /// # Errors
    /// When the record was sealed under another master key, or changed.
    pub fn open(
        &self,
        bucket: &BucketName,
        record: &BucketRecord,
    ) -> Result<BucketKeys, SealError> {
        let key = self.0.unwrap_key(&context(bucket), &record.wrapped_key)?;
        Ok(BucketKeys { envelope: Envelope::new(key), code: record.code })
    }
}

fn context(bucket: &BucketName) -> Vec<u8> {
    [b"bucket key ", bucket.as_str().as_bytes()].concat()
}

impl BucketKeys {
    /// The bucket's erasure code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// A fresh data key for the part `blob`: as it is, and wrapped.
    pub(super) fn new_data_key(
        &self,
        blob: BlobId,
        random: &dyn Random,
    ) -> Result<(Key, Vec<u8>), SealError> {
        let key = Key::generate(random)?;
        let wrapped = self.envelope.wrap(&data_context(blob), &key, random)?;
        Ok((key, wrapped))
    }

    /// The data key of a part.
    pub(super) fn data_key(&self, part: &Part) -> Result<Key, SealError> {
        self.envelope.unwrap_key(&data_context(part.blob), &part.wrapped_key)
    }
}

fn data_context(blob: BlobId) -> Vec<u8> {
    [b"data key ", &blob.as_bytes()[..]].concat()
}

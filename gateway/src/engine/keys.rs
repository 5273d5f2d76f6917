//! Keys: the master key wraps bucket keys, a bucket key wraps the data keys of its parts.
//!
//! An object can ask for a second lock on its data keys: a named key of the gateway's (SSE-KMS),
//! which derives from the master key, or a key that only the client has (SSE-C), which is never
//! stored. The data key is then wrapped by the second lock first, and by the bucket key around that.

use coffer_core::bucket::BucketSettings;
use coffer_core::catalog::records::BucketRecord;
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName};
use coffer_core::manifest::Part;
use coffer_core::random::Random;
use coffer_core::seal::{Envelope, Key, SealError};

/// Makes and unwraps bucket keys.
#[derive(Debug, Clone)]
pub struct MasterKey {
    buckets: Envelope,
    named: Key,
}

/// A second lock on the data keys of an object.
#[derive(Debug, Clone)]
pub struct SecondLock(Envelope);

/// What is needed to write and read a bucket's parts.
#[derive(Debug, Clone)]
pub struct BucketKeys {
    envelope: Envelope,
    second: Option<SecondLock>,
    code: Code,
}

impl MasterKey {
    /// Wraps bucket keys under a key that derives from `master`.
    pub fn new(master: &Key) -> Self {
        Self {
            buckets: Envelope::new(master.derive("coffer bucket keys v1")),
            named: master.derive("coffer named keys v1"),
        }
    }

    /// The named key `key_id`. Any name has one; which names may be used is not decided here.
    pub fn named(&self, key_id: &str) -> SecondLock {
        SecondLock(Envelope::new(self.named.derive_named("coffer named key v1", key_id)))
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
        let wrapped_key = self.buckets.wrap(&context(bucket), &key, random)?;
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
        let key = self.buckets.unwrap_key(&context(bucket), &record.wrapped_key)?;
        Ok(BucketKeys { envelope: Envelope::new(key), second: None, code: record.code })
    }
}

fn context(bucket: &BucketName) -> Vec<u8> {
    [b"bucket key ", bucket.as_str().as_bytes()].concat()
}

/// What a customer's key opens, to tell that it is the right one.
const CUSTOMER_CHECK: &[u8] = b"customer key check";

impl SecondLock {
    /// A lock under a key that only the client has.
    pub fn of_customer(key: &Key) -> Self {
        Self(Envelope::new(key.derive("coffer customer key v1")))
    }

    /// Something that opens under this lock and no other.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new_check(&self, random: &dyn Random) -> Result<Vec<u8>, SealError> {
        self.0.seal(CUSTOMER_CHECK, &[], random)
    }

    /// Whether `check` was made by this lock.
    pub fn opens(&self, check: &[u8]) -> bool {
        self.0.open(CUSTOMER_CHECK, check).is_ok()
    }
}

impl BucketKeys {
    /// The same keys with a second lock on data keys.
    #[must_use]
    pub fn also_under(self, second: Option<SecondLock>) -> Self {
        Self { second, ..self }
    }

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
        let context = data_context(blob);
        let wrapped = match &self.second {
            None => self.envelope.wrap(&context, &key, random)?,
            Some(SecondLock(second)) => {
                let inner = second.wrap(&context, &key, random)?;
                self.envelope.seal(&context, &inner, random)?
            }
        };
        Ok((key, wrapped))
    }

    /// The data key of a part.
    pub(super) fn data_key(&self, part: &Part) -> Result<Key, SealError> {
        let context = data_context(part.blob);
        match &self.second {
            None => self.envelope.unwrap_key(&context, &part.wrapped_key),
            Some(SecondLock(second)) => {
                second.unwrap_key(&context, &self.envelope.open(&context, &part.wrapped_key)?)
            }
        }
    }
}

fn data_context(blob: BlobId) -> Vec<u8> {
    [b"data key ", &blob.as_bytes()[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::manifest::{Checksums, Content};
    use coffer_core::random::SeededRandom;

    #[test]
    fn a_second_lock_is_needed_to_open_what_it_locked() {
        let random = SeededRandom::new(1);
        let bucket = BucketName::new("abc").unwrap();
        let master = MasterKey::new(&Key::from_bytes([1; 32]));
        let record = master.new_bucket(&bucket, Code::DEFAULT, "root".into(), 0, &random).unwrap();
        let keys = || master.open(&bucket, &record).unwrap();
        let customer = |n| SecondLock::of_customer(&Key::from_bytes([n; 32]));
        let locks = [
            None,
            Some(master.named("a")),
            Some(master.named("b")),
            Some(customer(7)),
            Some(customer(8)),
        ];
        for (i, lock) in locks.iter().enumerate() {
            let blob = BlobId::from_bytes([9; 16]);
            let (key, wrapped_key) =
                keys().also_under(lock.clone()).new_data_key(blob, &random).unwrap();
            let part = Part {
                blob,
                wrapped_key,
                size: 0,
                md5: [0; 16],
                checksums: Checksums::new(),
                content: Content::Inline(vec![]),
            };
            for (j, other) in locks.iter().enumerate() {
                let opened = keys().also_under(other.clone()).data_key(&part);
                assert_eq!(opened.ok(), (i == j).then(|| key.clone()), "{i} {j}");
            }
        }
        let check = customer(7).new_check(&random).unwrap();
        assert!(customer(7).opens(&check) && !customer(8).opens(&check));
    }
}

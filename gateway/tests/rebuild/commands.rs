//! Commands to a catalog, drawn at random.

use crate::dice::Dice;
use coffer_core::bucket::{BucketSettings, Setting, TagLimit, Tags, Versioning};
use coffer_core::catalog::records::{
    BucketRecord, Encryption, Lock, ObjectRecord, PartRecord, UploadRecord,
};
use coffer_core::catalog::{Amendment, Command};
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName, ObjectKey, PartNumber, UploadId, VersionId};
use coffer_core::manifest::{Content, ETag, Manifest, ObjectHeaders, Part};
use std::collections::BTreeMap;

/// Draws commands; most of them can be done.
pub(crate) struct Commands {
    dice: Dice,
    ids: u128,
    uploads: Vec<(BucketName, ObjectKey, UploadId)>,
}

impl Commands {
    pub(crate) fn new(dice: Dice) -> Self {
        Self { dice, ids: 0, uploads: Vec::new() }
    }

    fn id(&mut self) -> [u8; 16] {
        self.ids += 1;
        self.ids.to_be_bytes()
    }

    fn bucket(&mut self) -> BucketName {
        BucketName::new(format!("bucket-{}", self.dice.below(4))).unwrap()
    }

    fn key(&mut self) -> ObjectKey {
        ObjectKey::new(format!("key {}", self.dice.below(12))).unwrap()
    }

    fn tags(&mut self) -> Tags {
        let query = format!("a={}&b={}", self.dice.below(9), self.dice.below(9));
        Tags::from_query(TagLimit::Object, &query).unwrap()
    }

    fn part(&mut self) -> Part {
        let len = self.dice.below(1000) as usize;
        Part {
            blob: BlobId::from_bytes(self.id()),
            wrapped_key: self.id().to_vec(),
            size: len as u64,
            md5: self.id(),
            checksums: BTreeMap::new(),
            content: Content::Inline(vec![7; len]),
        }
    }

    fn object(&mut self, size: u64) -> ObjectRecord {
        ObjectRecord {
            version: VersionId::from_bytes(self.id()),
            size,
            etag: ETag::Whole(self.id()),
            modified_ms: self.ids as u64,
            headers: ObjectHeaders::default(),
            checksums: BTreeMap::new(),
            tags: self.tags(),
            lock: Lock::default(),
            encryption: Encryption::Managed,
            upload: None,
        }
    }

    pub(crate) fn draw(&mut self) -> Command {
        let (bucket, key) = (self.bucket(), self.key());
        let at_ms = self.ids as u64;
        match self.dice.below(20) {
            0 | 1 => {
                let record = BucketRecord {
                    created_ms: at_ms,
                    wrapped_key: self.id().to_vec(),
                    code: Code::DEFAULT,
                    owner: "root".into(),
                    settings: BucketSettings::default(),
                };
                Command::CreateBucket { bucket, record }
            }
            2 => Command::DeleteBucket { bucket, at_ms },
            3 => {
                let states = [Versioning::Enabled, Versioning::Suspended];
                let setting = match self.dice.below(2) {
                    0 => Setting::Versioning(*self.dice.pick(&states)),
                    _ => Setting::Tags(Some(self.tags())),
                };
                Command::SetBucket { bucket, setting: Box::new(setting) }
            }
            4..=11 => {
                let part = self.part();
                let record = Box::new(self.object(part.size));
                let manifest = Manifest { parts: vec![part] };
                Command::PutObject { bucket, key, record, manifest, preconditions: vec![] }
            }
            12 | 13 => {
                let marker = VersionId::from_bytes(self.id());
                Command::DeleteObject { bucket, key, preconditions: vec![], marker, at_ms }
            }
            14 => {
                let change = Amendment::Tags(self.tags());
                Command::AmendVersion { bucket, key, version: None, change, at_ms }
            }
            15 | 16 => {
                let upload = UploadId::from_bytes(self.id());
                self.uploads.push((bucket.clone(), key.clone(), upload));
                let record = UploadRecord {
                    initiated_ms: at_ms,
                    headers: ObjectHeaders::default(),
                    tags: self.tags(),
                    lock: Lock::default(),
                    encryption: Encryption::Managed,
                    checksum: None,
                };
                Command::CreateUpload { bucket, key, upload, record }
            }
            n => {
                let fresh = (bucket, key, UploadId::from_bytes([0; 16]));
                let at = self.dice.below(self.uploads.len().max(1) as u64) as usize;
                let (bucket, key, upload) = self.uploads.get(at).cloned().unwrap_or(fresh);
                if n == 17 {
                    return Command::AbortUpload { bucket, key, upload, at_ms };
                }
                let number = PartNumber::new(1 + self.dice.below(5) as i64).unwrap();
                let record = Box::new(PartRecord { modified_ms: at_ms, part: self.part() });
                Command::PutPart { bucket, key, upload, number, record }
            }
        }
    }
}

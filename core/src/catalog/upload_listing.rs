//! S3's listing of multipart uploads in progress: by key in byte order, the uploads of a key by id.

use super::CatalogError;
use super::kv::{Kv, Table};
use super::listing::{Page, Query, RowRange, common_prefix};
use super::machine::{Machine, corrupt_row, name_from};
use super::records::{self, PartRecord, UploadRecord};
use crate::ids::{BucketName, ObjectKey, PartNumber, UploadId};

/// Rows that are read at a time.
const PAGE: usize = 256;

/// Where a listing of uploads goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterUpload {
    /// After all uploads of this text, which need not be a key.
    Key(String),
    /// After this upload of this text.
    Upload(String, UploadId),
    /// After all keys with this prefix.
    Prefix(String),
}

/// Which uploads are to be listed.
pub type UploadQuery = Query<AfterUpload>;
/// A page of uploads.
pub type UploadListing = Page<UploadEntry, AfterUpload>;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadEntry {
    /// An upload.
    Upload {
        /// The key that its object will have.
        key: ObjectKey,
        /// Its id.
        upload: UploadId,
        /// What is recorded of it.
        record: Box<UploadRecord>,
    },
    /// Keys rolled up: their common beginning, which ends with the delimiter.
    CommonPrefix(String),
}

impl<K: Kv> Machine<K> {
    /// Lists the uploads in progress of a bucket.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchBucket`], or when the store can't be read.
    pub fn list_uploads(
        &self,
        bucket: &BucketName,
        query: &UploadQuery,
    ) -> Result<UploadListing, CatalogError> {
        self.bucket(bucket)?;
        let mut listing = UploadListing::default();
        if query.limit == 0 {
            return Ok(listing);
        }
        let RowRange { base, mut from, until } = query.rows(bucket);
        let row = |text: &str| [&base[..], text.as_bytes()].concat();
        // NUL and the id follow the key.
        match &query.after {
            Some(AfterUpload::Key(key)) => from = from.max([&row(key)[..], &[1]].concat()),
            Some(AfterUpload::Upload(key, id)) => {
                from = from.max([&row(key)[..], b"\0", id.as_bytes(), b"\0"].concat());
            }
            Some(AfterUpload::Prefix(prefix)) => {
                from = from.max(records::after_prefix(&row(prefix)));
            }
            None => {}
        }
        'pages: loop {
            let rows = self.kv.scan(Table::Uploads, &from, &until, PAGE)?;
            let full = rows.len() == PAGE;
            for (row_key, value) in rows {
                let (key, upload) = split_row(&row_key, base.len())?;
                if listing.entries.len() == query.limit {
                    listing.next = listing.entries.last().map(UploadEntry::position);
                    return Ok(listing);
                }
                if let Some(prefix) = common_prefix(key.as_str(), &query.prefix, &query.delimiter) {
                    from = records::after_prefix(&row(prefix));
                    listing.entries.push(UploadEntry::CommonPrefix(prefix.to_owned()));
                    continue 'pages;
                }
                let record = records::decode(Table::Uploads, &value)?;
                listing.entries.push(UploadEntry::Upload { key, upload, record });
                from = [&row_key[..], b"\0"].concat();
            }
            if !full {
                return Ok(listing);
            }
        }
    }

    /// The parts of an upload behind the number `after` (from the first if `None`), at most `limit`.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn list_parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<Vec<(PartNumber, PartRecord)>, CatalogError> {
        let start = || upload.as_bytes().to_vec();
        let from =
            after.map_or_else(start, |n| [&records::part_key(upload, n)[..], b"\0"].concat());
        let until = [upload.as_bytes(), &[0xFF; 2][..]].concat();
        let rows = self.kv.scan(Table::Parts, &from, &until, limit)?;
        rows.iter()
            .map(|(row, value)| {
                let broken = || corrupt_row(Table::Parts);
                let number = u16::from_be_bytes(*row.last_chunk::<2>().ok_or_else(broken)?);
                let number = PartNumber::try_from(number).map_err(|_| broken())?;
                Ok((number, records::decode(Table::Parts, value)?))
            })
            .collect()
    }
}

impl UploadEntry {
    fn position(&self) -> AfterUpload {
        match self {
            Self::Upload { key, upload, .. } => {
                AfterUpload::Upload(key.as_str().to_owned(), *upload)
            }
            Self::CommonPrefix(prefix) => AfterUpload::Prefix(prefix.clone()),
        }
    }
}

/// The key and the upload that a row is of.
fn split_row(row: &[u8], base_len: usize) -> Result<(ObjectKey, UploadId), CatalogError> {
    let broken = || corrupt_row(Table::Uploads);
    let (name, id) = row.split_last_chunk::<16>().ok_or_else(broken)?;
    let (_, name) = name.split_last().ok_or_else(broken)?;
    let key = name.get(base_len..).ok_or_else(broken)?;
    Ok((name_from(Table::Uploads, key, ObjectKey::new)?, UploadId::from_bytes(*id)))
}

//! S3's listing of all versions: keys in byte order, the versions of a key from the newest to the
//! oldest.
//!
//! Versions stand in two tables (see [`super::versions`]) and move between them. A key's versions
//! are therefore read together, and again if its current version has changed meanwhile.

use super::CatalogError;
use super::kv::{Kv, Table};
use super::listing::{Page, Query, RowRange, common_prefix};
use super::machine::{Machine, corrupt_row, name_from};
use super::records::{self, VersionRecord};
use crate::ids::{BucketName, ObjectKey, VersionName};

/// Where a listing of versions goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterVersion {
    /// After all versions of this text, which need not be a key.
    Key(String),
    /// After this version of this key.
    Version(ObjectKey, VersionName),
    /// After all keys with this prefix.
    Prefix(String),
}

/// Which versions are to be listed.
pub type VersionQuery = Query<AfterVersion>;
/// A page of versions.
pub type VersionListing = Page<VersionEntry, AfterVersion>;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionEntry {
    /// A version.
    Version {
        /// Its key.
        key: ObjectKey,
        /// The version.
        version: Box<VersionRecord>,
        /// Whether it is the key's newest.
        is_latest: bool,
    },
    /// Keys rolled up: their common beginning, which ends with the delimiter.
    CommonPrefix(String),
}

impl<K: Kv> Machine<K> {
    /// Lists all versions in a bucket.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchBucket`], or when the store can't be read.
    pub fn list_versions(
        &self,
        bucket: &BucketName,
        query: &VersionQuery,
    ) -> Result<VersionListing, CatalogError> {
        self.bucket(bucket)?;
        let mut listing = VersionListing::default();
        if query.limit == 0 {
            return Ok(listing);
        }
        let RowRange { base, mut from, until } = query.rows(bucket);
        let row = |text: &str| [&base[..], text.as_bytes()].concat();
        match &query.after {
            Some(AfterVersion::Key(key)) => from = from.max(after_key(row(key))),
            Some(AfterVersion::Prefix(prefix)) => {
                from = from.max(records::after_prefix(&row(prefix)));
            }
            Some(AfterVersion::Version(key, name)) => {
                let start = row(key.as_str());
                if start >= from {
                    let before = self.seq_of(bucket, key, *name)?;
                    let complete = self.add_versions(bucket, key, before, query, &mut listing)?;
                    if !complete {
                        return Ok(listing);
                    }
                    from = after_key(start);
                }
            }
            None => {}
        }
        while let Some(key) = self.next_key(&base, &from, &until)? {
            let rolled = common_prefix(key.as_str(), &query.prefix, &query.delimiter);
            if listing.entries.len() == query.limit {
                listing.next = listing.entries.last().map(VersionEntry::position);
                return Ok(listing);
            }
            if let Some(prefix) = rolled {
                from = records::after_prefix(&row(prefix));
                listing.entries.push(VersionEntry::CommonPrefix(prefix.to_owned()));
                continue;
            }
            if !self.add_versions(bucket, &key, None, query, &mut listing)? {
                return Ok(listing);
            }
            from = after_key(row(key.as_str()));
        }
        Ok(listing)
    }

    /// Adds a key's versions, those before `before` if it is given, to the page. Returns false when
    /// the page is full and there are more.
    fn add_versions(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        before: Option<u64>,
        query: &VersionQuery,
        listing: &mut VersionListing,
    ) -> Result<bool, CatalogError> {
        let room = query.limit - listing.entries.len();
        let versions = self.versions_of(bucket, key, before, room + 1)?;
        let more = versions.len() > room;
        for (i, version) in versions.into_iter().take(room).enumerate() {
            let is_latest = i == 0 && before.is_none();
            let version = Box::new(version);
            listing.entries.push(VersionEntry::Version { key: key.clone(), version, is_latest });
        }
        if more {
            listing.next = listing.entries.last().map(VersionEntry::position);
        }
        Ok(!more)
    }

    /// At most `limit` versions of a key, the newest first, from before `before` if it is given.
    fn versions_of(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<VersionRecord>, CatalogError> {
        let prefix = records::versions_prefix(bucket, key);
        let until = records::after_prefix(&prefix);
        let after = |seq| [&records::version_key(bucket, key, seq)[..], b"\0"].concat();
        let from = before.map_or(prefix, after);
        loop {
            let current = self.current(bucket, key)?;
            let rows = self.kv.scan(Table::Versions, &from, &until, limit)?;
            if self.current(bucket, key)? != current {
                continue;
            }
            let current = current.filter(|c| before.is_none_or(|seq| c.place.seq < seq));
            let mut versions: Vec<VersionRecord> = current.into_iter().map(Into::into).collect();
            for (_, value) in rows {
                versions.push(records::decode(Table::Versions, &value)?);
            }
            versions.truncate(limit);
            return Ok(versions);
        }
    }

    /// The place of a version that a listing goes on after; if it has gone, the listing goes on
    /// where it would be, or behind its key if that is not known.
    fn seq_of(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        name: VersionName,
    ) -> Result<Option<u64>, CatalogError> {
        match name {
            VersionName::Id { seq, .. } => Ok(Some(seq)),
            VersionName::Null => match self.current(bucket, key)?.filter(|c| c.place.null) {
                Some(current) => Ok(Some(current.place.seq)),
                None => Ok(self.null_seq(bucket, key)?.or(Some(0))),
            },
        }
    }

    /// The first key at or after the row `from` that has any version.
    fn next_key(
        &self,
        base: &[u8],
        from: &[u8],
        until: &[u8],
    ) -> Result<Option<ObjectKey>, CatalogError> {
        let first = |table| -> Result<Option<Vec<u8>>, CatalogError> {
            let rows = self.kv.scan(table, from, until, 1)?;
            Ok(rows.into_iter().next().map(|(key, _)| key))
        };
        loop {
            let current = first(Table::Objects)?;
            let mut filed = first(Table::Versions)?;
            if first(Table::Objects)? != current {
                continue;
            }
            if let Some(row) = &mut filed {
                // NUL and the inverted sequence number follow the key.
                let end = row.len().checked_sub(9).ok_or_else(|| corrupt_row(Table::Versions))?;
                row.truncate(end);
            }
            let found = match (current, filed) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            let name = |row: Vec<u8>| {
                let key = row.get(base.len()..).unwrap_or_default();
                name_from(Table::Versions, key, ObjectKey::new)
            };
            return Ok(found.map(name).transpose()?);
        }
    }
}

impl VersionEntry {
    fn position(&self) -> AfterVersion {
        match self {
            Self::Version { key, version, .. } => {
                AfterVersion::Version(key.clone(), version.name())
            }
            Self::CommonPrefix(prefix) => AfterVersion::Prefix(prefix.clone()),
        }
    }
}

/// The first row after a key's own and those of its versions.
fn after_key(mut row: Vec<u8>) -> Vec<u8> {
    row.push(1);
    row
}

//! S3's listing: keys in byte order, those that share a prefix up to the delimiter rolled into one.

use super::CatalogError;
use super::kv::{Kv, Table};
use super::machine::{Machine, name_from};
use super::records::{self, ObjectVersion};
use crate::ids::{BucketName, ObjectKey};

/// Rows that are read at a time, at most.
const PAGE: usize = 1024;
/// Rows that are read first where keys may be rolled up: of those that are, all but one would be read in
/// vain.
const FEW: usize = 4;

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// After this text, which need not be a key.
    Key(String),
    /// After all keys with this prefix: the listing ended with it as a common prefix.
    Prefix(String),
}

/// What is to be listed; `A` is where such a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<A> {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Roll up what follows the prefix as far as this text, if it is not empty.
    pub delimiter: String,
    /// Only what comes after this.
    pub after: Option<A>,
    /// At most so many entries and common prefixes together.
    pub limit: usize,
}

impl<A> Default for Query<A> {
    fn default() -> Self {
        Self { prefix: String::new(), delimiter: String::new(), after: None, limit: 0 }
    }
}

/// The rows that a query is about, in any table whose rows begin with bucket and key.
pub(super) struct RowRange {
    /// What all rows of the bucket begin with.
    pub(super) base: Vec<u8>,
    /// The first.
    pub(super) from: Vec<u8>,
    /// Behind the last.
    pub(super) until: Vec<u8>,
}

impl<A> Query<A> {
    /// The rows with the query's prefix, wherever it goes on.
    pub(super) fn rows(&self, bucket: &BucketName) -> RowRange {
        let base = records::bucket_prefix(bucket);
        let from = [&base[..], self.prefix.as_bytes()].concat();
        let until = records::after_prefix(&from);
        RowRange { base, from, until }
    }
}

/// A page of a listing, in byte order of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<E, A> {
    /// Entries and common prefixes, merged.
    pub entries: Vec<E>,
    /// Where to go on; `None` when this was the end.
    pub next: Option<A>,
}

impl<E, A> Default for Page<E, A> {
    fn default() -> Self {
        Self { entries: Vec::new(), next: None }
    }
}

/// Which objects are to be listed.
pub type ListQuery = Query<After>;
/// A page of objects.
pub type Listing = Page<ListEntry, After>;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    /// An object.
    Object(ObjectKey, Box<ObjectVersion>),
    /// Keys rolled up: their common beginning, which ends with the delimiter.
    CommonPrefix(String),
}

impl<K: Kv> Machine<K> {
    /// Lists a bucket.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchBucket`], or when the store can't be read.
    pub fn list(&self, bucket: &BucketName, query: &ListQuery) -> Result<Listing, CatalogError> {
        self.bucket(bucket)?;
        let mut listing = Listing::default();
        if query.limit == 0 {
            return Ok(listing);
        }
        let RowRange { base, mut from, until } = query.rows(bucket);
        let row = |text: &str| [&base[..], text.as_bytes()].concat();
        match &query.after {
            Some(After::Key(key)) => from = from.max([&row(key)[..], b"\0"].concat()),
            Some(After::Prefix(prefix)) => from = from.max(records::after_prefix(&row(prefix))),
            None => {}
        }
        let first = if query.delimiter.is_empty() { PAGE } else { FEW };
        let mut most = first;
        'pages: loop {
            // One more tells whether there is more.
            let page = most.min((query.limit - listing.entries.len()).saturating_add(1));
            let rows = self.kv.scan(Table::Objects, &from, &until, page)?;
            let full = rows.len() == page;
            if let Some((last, _)) = rows.last() {
                from = [&last[..], b"\0"].concat();
            }
            most = (most * 4).min(PAGE);
            for (row_key, value) in rows {
                let key = name_from(Table::Objects, &row_key[base.len()..], ObjectKey::new)?;
                let rolled = common_prefix(key.as_str(), &query.prefix, &query.delimiter);
                if listing.entries.len() == query.limit {
                    listing.next = listing.entries.last().map(ListEntry::position);
                    return Ok(listing);
                }
                if let Some(prefix) = rolled {
                    // Go on behind everything that was rolled up, without reading it.
                    from = records::after_prefix(&row(prefix));
                    listing.entries.push(ListEntry::CommonPrefix(prefix.to_owned()));
                    most = first;
                    continue 'pages;
                }
                let version = records::decode(Table::Objects, &value)?;
                listing.entries.push(ListEntry::Object(key, Box::new(version)));
            }
            if !full {
                return Ok(listing);
            }
        }
    }
}

impl ListEntry {
    fn position(&self) -> After {
        match self {
            Self::Object(key, _) => After::Key(key.as_str().to_owned()),
            Self::CommonPrefix(prefix) => After::Prefix(prefix.clone()),
        }
    }
}

/// The common prefix that `key` is rolled up into, if it is.
pub(super) fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(prefix)?;
    let end = prefix.len() + rest.find(delimiter)? + delimiter.len();
    key.get(..end)
}

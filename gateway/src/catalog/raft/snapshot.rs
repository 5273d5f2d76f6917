//! Snapshots of the catalog, as pages of rows.

use coffer_core::catalog::{KvError, Table};
use serde::{Deserialize, Serialize};

/// A row as it stands on disk: its value is sealed for its table and key under the catalog's key,
/// which all gateways of a cluster share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// In which table.
    pub table: Table,
    /// Under which key.
    pub key: Vec<u8>,
    /// Its value, sealed.
    pub value: Vec<u8>,
}

/// Rows that follow each other, in the order of tables and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
}

/// A snapshot that is read page by page.
pub trait Pages: Send {
    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// [`KvError`] when the store can't be read, or the snapshot had to be given up.
    fn next(&mut self) -> Result<Option<Page>, KvError>;
}

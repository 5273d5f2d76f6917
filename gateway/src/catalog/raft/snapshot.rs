//! Snapshots of the catalog, as pages of rows.

use crate::catalog::store::export::Export;
use crate::catalog::store::state::Staged;
use coffer_core::catalog::Table;
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

/// A snapshot, at its source or where it has arrived.
pub enum SnapshotData {
    /// Rows of this gateway, to be read page by page.
    Source(Export),
    /// Rows of another gateway, in a tree of their own.
    Arrived(Staged),
}

//! Datasets: WebDataset shards with an index, packed, verified and streamed.
//!
//! A dataset is a place (see [`crate::place`]) that holds tar shards and, written last, `index.json`:
//! it names the shards of each split with their sizes and hashes. Python's `webdataset` reads the
//! shards as they are.
//!
//! - [`pack`] makes one of files, or of samples as they come; [`verify`] reads one through.
//! - [`Dataset`] is one that is open: it fetches shards, checks them, and keeps them in a [`Cache`].
//! - [`Loader`] streams the samples of a split, epoch after epoch, in an order that a seed
//!   determines, from any [`Cursor`] on, dealt over [`Workers`].
//!
//! ```no_run
//! use coffer_client::dataset::{
//!     Cursor, Dataset, Delivery, Loader, LoaderConfig, Order, Raw, ReadOptions, Subset, Workers,
//! };
//! use coffer_client::place::Opener;
//! use std::num::NonZeroUsize;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let opener = Opener::default();
//! let place = opener.open(&"s3://datasets/flowers".parse()?).await?;
//! let dataset = Dataset::open(&place, ReadOptions::default()).await?;
//! let window = NonZeroUsize::new(10_000).ok_or("no window")?;
//! let config = LoaderConfig {
//!     split: "train".parse()?,
//!     subset: Subset::All,
//!     order: Order::Shuffled { seed: 1, window },
//!     workers: Workers::ALONE,
//!     prefetch: NonZeroUsize::MIN,
//!     on_corrupt: Default::default(),
//! };
//! let runtime = tokio::runtime::Handle::current();
//! let mut loader = Loader::start(&runtime, &dataset, Raw, config, Cursor::default(), 10)?;
//! while let Some(delivery) = loader.next().await? {
//!     if let Delivery::Sample { at, item } = delivery {
//!         println!("{at:?}: {} has {} fields", item.key, item.fields.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod cache;
mod counters;
mod decode;
pub mod download;
mod error;
mod fetch;
pub mod index;
mod loader;
mod name;
pub mod pack;
mod plan;
pub mod seeded;
pub mod shard;
mod subset;
mod verify;
mod workers;

pub use cache::Cache;
pub use counters::ReadStats;
pub use decode::{Decode, Raw};
pub use error::{Damage, DatasetError};
pub use fetch::{Dataset, ReadOptions};
pub use index::{Index, IndexError, ShardEntry};
pub use loader::{Delivery, Loader, LoaderConfig, OnCorrupt};
pub use name::{NameError, ShardName, SplitName};
pub use plan::{Cursor, Order, Window, windows};
pub use shard::Sample;
pub use subset::{Holdout, Subset};
pub use verify::{Checked, verify};
pub use workers::{Workers, WorkersError};

//! `dataset`.

mod ls;
mod pack;
mod stat;
mod verify;

use crate::args::Dataset as Command;
use crate::exit::Failure;
use crate::session::Places;
use coffer_client::dataset::{Dataset, DatasetError, ReadOptions, SplitName};
use coffer_client::place::Address;
use coffer_client::{Error, RetryPolicy};

pub(crate) async fn run(session: &Places<'_>, command: Command) -> Result<(), Failure> {
    match command {
        // It winds up by itself when a signal comes, so that uploads are aborted.
        Command::Pack(args) => pack::run(session, args).await,
        Command::Verify(args) => session.until_signal(verify::run(session, &args)).await,
        Command::Ls(args) => session.until_signal(ls::run(session, &args)).await,
        Command::Stat { place } => session.until_signal(stat::run(session, &place)).await,
    }
}

/// The dataset at `address`.
async fn open(session: &Places<'_>, address: &Address) -> Result<Dataset, Failure> {
    let open = async {
        let place = session.client.open(address).await?;
        // Whoever waits for an answer wants to hear of a store that fails; the client tries again.
        let options = ReadOptions { retry: RetryPolicy::none(), ..ReadOptions::default() };
        Ok::<Dataset, Error>(Dataset::open(&place, options).await?)
    };
    open.await.map_err(in_full)
}

/// A failure whose message names the object itself.
fn in_full(error: impl Into<Error>) -> Failure {
    Failure::at("")(error.into())
}

/// Those of the dataset's splits that are wanted: all, if none is named.
fn chosen(dataset: &Dataset, wanted: &[SplitName]) -> Result<Vec<SplitName>, Failure> {
    let splits = &dataset.index().splits;
    if let Some(unknown) = wanted.iter().find(|split| !splits.contains_key(*split)) {
        let known: Vec<_> = splits.keys().map(SplitName::as_str).collect();
        let place = dataset.place().address();
        let text = format!("{place} has no split {unknown}; it has {}", known.join(", "));
        return Err(Failure::Usage(text));
    }
    Ok(if wanted.is_empty() { splits.keys().cloned().collect() } else { wanted.to_vec() })
}

impl From<DatasetError> for Failure {
    fn from(error: DatasetError) -> Self {
        in_full(error)
    }
}

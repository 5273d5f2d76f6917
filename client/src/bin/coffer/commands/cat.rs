//! `cat`.

use crate::args::ObjectUrl;
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::transfer::ByteRange;
use coffer_client::{Transfer, TransferOptions};

pub(crate) async fn run(
    session: &Session<'_>,
    objects: &[ObjectUrl],
    range: Option<ByteRange>,
) -> Result<(), Failure> {
    let transfer = Transfer::new(session.client.clone(), TransferOptions::default())
        .with_cancellation(session.cancel.clone());
    for ObjectUrl(object) in objects {
        transfer
            .download_stream(object, range, tokio::io::stdout())
            .await
            .map_err(Failure::at(object))?;
    }
    Ok(())
}

//! `mb` and `rb`.

use super::rm::delete_all;
use super::tally::Tally;
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::S3Url;
use coffer_client::transfer::Filter;
use serde_json::json;

pub(crate) async fn make(session: &Session<'_>, bucket: &S3Url) -> Result<(), Failure> {
    session.client.create_bucket(bucket.bucket()).await.map_err(Failure::at(bucket))?;
    let json = || json!({"op": "make_bucket", "target": bucket.to_string()});
    session.output.done(format_args!("made: {bucket}"), json)
}

pub(crate) async fn remove(
    session: &Session<'_>,
    bucket: &S3Url,
    force: bool,
) -> Result<(), Failure> {
    if force {
        let mut tally = Tally::default();
        delete_all(session, bucket, &Filter::default(), false, &mut tally).await?;
        tally.result()?;
    }
    session.client.delete_bucket(bucket.bucket()).await.map_err(Failure::at(bucket))?;
    let json = || json!({"op": "remove_bucket", "target": bucket.to_string()});
    session.output.done(format_args!("removed: {bucket}"), json)
}

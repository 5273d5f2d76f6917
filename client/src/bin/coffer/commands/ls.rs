//! `ls`.

use super::{bare_etag, rfc3339, timestamp};
use crate::args::Ls;
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::{Entry, Listing, ObjectEntry, S3Error, S3Url};
use futures::TryStreamExt;
use indicatif::HumanBytes;
use serde_json::json;
use std::pin::pin;

pub(crate) async fn run(session: &Session<'_>, args: &Ls) -> Result<(), Failure> {
    match &args.prefix {
        None => buckets(session).await,
        Some(prefix) => objects(session, args, prefix).await,
    }
}

async fn buckets(session: &Session<'_>) -> Result<(), Failure> {
    let place = session.client.profile().endpoint.to_string();
    for bucket in session.client.list_buckets().await.map_err(Failure::at(place))? {
        let line = format!("{:>20}  {}", timestamp(bucket.created), bucket.name);
        let json = || json!({"bucket": bucket.name, "created": rfc3339(bucket.created)});
        session.output.result(line, json)?;
    }
    Ok(())
}

async fn objects(session: &Session<'_>, args: &Ls, prefix: &S3Url) -> Result<(), Failure> {
    let listing = if args.recursive { Listing::Recursive } else { Listing::Folder };
    // Names are shown from the last / of the prefix on, as a folder's contents.
    let shown_from = match listing {
        Listing::Folder => prefix.key().rfind('/').map_or(0, |slash| slash + 1),
        Listing::Recursive => 0,
    };
    let (mut entries, mut count, mut bytes) = (0_u64, 0_u64, 0_u64);
    let mut found = pin!(session.client.list(prefix, listing));
    while let Some(entry) = found.try_next().await.map_err(Failure::at(prefix))? {
        entries += 1;
        match entry {
            Entry::Prefix(key) => {
                let name = key.get(shown_from..).unwrap_or(&key);
                let line = format!("{:>20}  {:>12}  {name}", "", "PRE");
                session.output.result(line, || json!({"prefix": key}))?;
            }
            Entry::Object(object) => {
                count += 1;
                bytes += object.size;
                print(session, args, &object, shown_from)?;
            }
        }
    }
    if entries == 0 && !prefix.key().is_empty() {
        let error = S3Error::no_such_key("no key starts with this prefix");
        return Err(Failure::at(prefix)(error.into()));
    }
    if args.summarize {
        let line = format!("\nTotal objects: {count}\nTotal size: {}", size(args, bytes));
        session.output.result(line, || json!({"objects": count, "bytes": bytes}))?;
    }
    Ok(())
}

fn print(
    session: &Session<'_>,
    args: &Ls,
    object: &ObjectEntry,
    shown_from: usize,
) -> Result<(), Failure> {
    let name = object.key.get(shown_from..).unwrap_or(&object.key);
    let (modified, size) = (timestamp(object.modified), size(args, object.size));
    session.output.result(format_args!("{modified:>20}  {size:>12}  {name}"), || {
        json!({
            "key": object.key,
            "size": object.size,
            "etag": bare_etag(object.etag.as_deref()),
            "modified": rfc3339(object.modified),
        })
    })
}

fn size(args: &Ls, bytes: u64) -> String {
    if args.human_readable { HumanBytes(bytes).to_string() } else { bytes.to_string() }
}

//! `stat`.

use super::{bare_etag, rfc3339, timestamp};
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::{ObjectInfo, S3Error, S3Url};
use indicatif::HumanBytes;
use serde_json::json;
use std::fmt::Write;

pub(crate) async fn run(session: &Session<'_>, addresses: &[S3Url]) -> Result<(), Failure> {
    for address in addresses {
        if address.key().is_empty() {
            bucket(session, address).await?;
        } else {
            let info = session.client.head(address).await.map_err(Failure::at(address))?;
            object(session, address, &info)?;
        }
    }
    Ok(())
}

async fn bucket(session: &Session<'_>, address: &S3Url) -> Result<(), Failure> {
    let exists =
        session.client.head_bucket(address.bucket()).await.map_err(Failure::at(address))?;
    if !exists {
        let error = S3Error::no_such_bucket();
        return Err(Failure::at(address)(error.into()));
    }
    let json = || json!({"bucket": address.bucket()});
    session.output.result(format_args!("address   {address}\ntype      bucket"), json)
}

fn object(session: &Session<'_>, address: &S3Url, info: &ObjectInfo) -> Result<(), Failure> {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("address", &address.to_string());
    line("size", &format!("{} ({})", info.size, HumanBytes(info.size)));
    line("modified", &timestamp(info.modified));
    if let Some(etag) = bare_etag(info.etag.as_deref()) {
        line("etag", etag);
    }
    if let Some(media_type) = &info.content_type {
        line("type", media_type);
    }
    if let Some(version) = &info.version {
        line("version", version);
    }
    for (name, value) in &info.metadata {
        line("metadata", &format!("{name}: {value}"));
    }
    session.output.result(text.trim_end(), || {
        json!({
            "address": address.to_string(),
            "size": info.size,
            "modified": rfc3339(info.modified),
            "etag": bare_etag(info.etag.as_deref()),
            "content_type": info.content_type,
            "version": info.version,
            "metadata": info.metadata,
        })
    })
}

//! `quota set`, `quota show`, `quota clear`.

use crate::args::Quota;
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::S3Url;
use indicatif::HumanBytes;
use serde_json::json;

pub(crate) async fn run(session: &Session<'_>, command: &Quota) -> Result<(), Failure> {
    match command {
        Quota::Set { bucket, size } => set(session, &bucket.0, Some(*size)).await,
        Quota::Clear { bucket } => set(session, &bucket.0, None).await,
        Quota::Show { bucket } => show(session, &bucket.0).await,
    }
}

async fn set(session: &Session<'_>, bucket: &S3Url, bytes: Option<u64>) -> Result<(), Failure> {
    let name = bucket.bucket();
    session.client.set_bucket_quota(name, bytes).await.map_err(Failure::at(bucket))?;
    let json = || json!({"bucket": name, "quota_bytes": bytes});
    let limit = limit(bytes);
    session.output.done(format_args!("{bucket}: {limit}"), json)
}

async fn show(session: &Session<'_>, bucket: &S3Url) -> Result<(), Failure> {
    let name = bucket.bucket();
    let quota = session.client.bucket_quota(name).await.map_err(Failure::at(bucket))?;
    let (used, versions) = (quota.usage.bytes, quota.usage.versions);
    let json = || {
        json!({
            "bucket": name,
            "quota_bytes": quota.bytes,
            "used_bytes": used,
            "versions": versions,
        })
    };
    let (held, limit) = (HumanBytes(used), limit(quota.bytes));
    let unit = if versions == 1 { "version" } else { "versions" };
    session.output.result(format_args!("{bucket}: {held} in {versions} {unit}, {limit}"), json)
}

fn limit(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "no quota".to_owned(), |bytes| format!("quota {}", HumanBytes(bytes)))
}

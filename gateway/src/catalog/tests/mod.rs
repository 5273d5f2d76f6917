//! The catalog in one process: alone, crashing, and as several gateways over a network that fails.

mod alone;
mod cluster;
mod crash;
mod network;
mod suite;

use super::CatalogHandle;
use coffer_core::bucket::BucketSettings;
use coffer_core::catalog::records::BucketRecord;
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::erasure::Code;
use coffer_core::ids::BucketName;

fn name(name: &str) -> BucketName {
    BucketName::new(name).unwrap()
}

fn create(bucket: &str) -> Command {
    let record = BucketRecord {
        created_ms: 1,
        wrapped_key: vec![],
        code: Code::DEFAULT,
        owner: "root".into(),
        settings: BucketSettings::default(),
    };
    Command::CreateBucket { bucket: name(bucket), record }
}

async fn exists(catalog: &CatalogHandle, bucket: &str) -> Result<bool, CatalogError> {
    let bucket = name(bucket);
    match catalog.read(Scope::Bucket(&bucket), |c| c.bucket(&bucket)).await {
        Ok(_) => Ok(true),
        Err(CatalogError::NoSuchBucket) => Ok(false),
        Err(error) => Err(error),
    }
}

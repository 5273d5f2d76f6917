//! The S3 requests that `object_store` does not model: buckets, exact listings, copies between
//! buckets, tokens, quotas. All are methods of [`crate::Client`].

mod buckets;
mod call;
mod copy;
mod delete;
mod error;
mod head;
mod lines;
mod list;
mod quota;
mod sign;
mod token;

pub use buckets::Bucket;
pub(crate) use call::Call;
pub(crate) use copy::PartCopy;
pub use delete::DeleteFailure;
pub use error::{S3Code, S3Error};
pub use head::ObjectInfo;
pub(crate) use lines::Lines;
pub use list::{Entry, Listing, ObjectEntry};
pub use quota::{BucketQuota, BucketUsage};
pub use token::{NewToken, TokenRequest, Verb};

//! Making, finding and deleting buckets.

use super::call::Call;
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use http::Method;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A bucket in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// When it was made, if the gateway says.
    pub created: Option<OffsetDateTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListAllMyBuckets {
    #[serde(default)]
    buckets: Buckets,
}

#[derive(Default, Deserialize)]
struct Buckets {
    #[serde(rename = "Bucket", default)]
    list: Vec<BucketElement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BucketElement {
    name: String,
    creation_date: Option<String>,
}

impl Client {
    /// Makes a bucket.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Conflict`] if it exists.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), Error> {
        crate::S3Url::new(bucket, "")?;
        Call::new(Method::PUT, bucket, "").send(self).await.map(drop)
    }

    /// Deletes an empty bucket.
    ///
    /// # Errors
    /// With code `BucketNotEmpty` if it holds objects.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), Error> {
        Call::new(Method::DELETE, bucket, "").send(self).await.map(drop)
    }

    /// Whether the bucket exists and may be used.
    ///
    /// # Errors
    /// If that can't be found out; that access is denied is an error, too.
    pub async fn head_bucket(&self, bucket: &str) -> Result<bool, Error> {
        match Call::new(Method::HEAD, bucket, "").send(self).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All buckets the credentials may see, by name.
    ///
    /// # Errors
    /// If the gateway does not answer, or with an error.
    pub async fn list_buckets(&self) -> Result<Vec<Bucket>, Error> {
        let answer = Call::new(Method::GET, "", "").send(self).await?;
        let all: ListAllMyBuckets = answer.xml()?;
        let bucket = |element: BucketElement| Bucket {
            name: element.name,
            created: element.creation_date.and_then(|d| OffsetDateTime::parse(&d, &Rfc3339).ok()),
        };
        let mut buckets: Vec<_> = all.buckets.list.into_iter().map(bucket).collect();
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_none_one_and_many() {
        for (inner, count) in [
            ("<Buckets/>", 0),
            ("", 0),
            ("<Buckets><Bucket><Name>a</Name></Bucket></Buckets>", 1),
            (
                "<Buckets><Bucket><Name>a</Name></Bucket><Bucket><Name>b</Name></Bucket></Buckets>",
                2,
            ),
        ] {
            let text = format!("<ListAllMyBucketsResult><Owner/>{inner}</ListAllMyBucketsResult>");
            let all: ListAllMyBuckets = quick_xml::de::from_str(&text).unwrap();
            assert_eq!(all.buckets.list.len(), count, "{text}");
        }
    }
}

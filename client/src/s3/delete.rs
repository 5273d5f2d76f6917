//! Deleting objects, one or a thousand at a time.

use super::call::Call;
use super::error::{S3Code, S3Error};
use crate::client::Client;
use crate::error::Error;
use crate::url::S3Url;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// How many keys one request may name.
pub(crate) const DELETE_BATCH: usize = 1000;

/// An object that was not deleted.
#[derive(Debug)]
pub struct DeleteFailure {
    /// Its key.
    pub key: String,
    /// Why.
    pub error: Error,
}

#[derive(Serialize)]
#[serde(rename = "Delete")]
struct DeleteRequest<'a> {
    #[serde(rename = "Object")]
    objects: Vec<ObjectElement<'a>>,
    #[serde(rename = "Quiet")]
    quiet: bool,
}

#[derive(Serialize)]
struct ObjectElement<'a> {
    #[serde(rename = "Key")]
    key: &'a str,
}

#[derive(Deserialize)]
struct DeleteResult {
    #[serde(rename = "Error", default)]
    errors: Vec<ErrorElement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorElement {
    #[serde(default)]
    key: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Client {
    /// Deletes one object. That it does not exist is no error to S3.
    ///
    /// # Errors
    /// If the gateway does not answer, or with an error.
    pub async fn delete(&self, object: &S3Url) -> Result<(), Error> {
        Call::new(Method::DELETE, object.bucket(), object.key()).send(self).await.map(drop)
    }

    /// Deletes many objects of one bucket and reports those that were not deleted.
    ///
    /// # Errors
    /// If a request as a whole fails; some objects may be deleted then.
    pub async fn delete_many(
        &self,
        bucket: &str,
        keys: &[String],
    ) -> Result<Vec<DeleteFailure>, Error> {
        let mut failures = Vec::new();
        for keys in keys.chunks(DELETE_BATCH) {
            failures.extend(self.delete_batch(bucket, keys).await?);
        }
        Ok(failures)
    }

    async fn delete_batch(
        &self,
        bucket: &str,
        keys: &[String],
    ) -> Result<Vec<DeleteFailure>, Error> {
        let objects = keys.iter().map(|key| ObjectElement { key }).collect();
        let request = DeleteRequest { objects, quiet: true };
        let body = quick_xml::se::to_string(&request).map_err(|e| Error::Request(e.to_string()))?;
        let digest = BASE64_STANDARD.encode(Md5::digest(&body));
        let answer = Call::new(Method::POST, bucket, "")
            .query("delete", "")
            .header("content-type", "application/xml")?
            .header("content-md5", &digest)?
            .body(body)
            .idempotent()
            .send(self)
            .await?;
        let result: DeleteResult = answer.xml()?;
        Ok(result.errors.into_iter().map(ErrorElement::into_failure).collect())
    }
}

impl ErrorElement {
    fn into_failure(self) -> DeleteFailure {
        let code = S3Code::from(self.code.as_str());
        let status = match code {
            S3Code::AccessDenied => 403,
            S3Code::NoSuchKey | S3Code::NoSuchBucket => 404,
            S3Code::ServiceUnavailable | S3Code::SlowDown => 503,
            _ => 500,
        };
        let error = S3Error { message: self.message, ..S3Error::bare(status, code) };
        DeleteFailure { key: self.key, error: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_and_failures_read() {
        let objects = vec![ObjectElement { key: "a&b<c>" }, ObjectElement { key: "d" }];
        let body = quick_xml::se::to_string(&DeleteRequest { objects, quiet: true }).unwrap();
        assert_eq!(
            body,
            "<Delete><Object><Key>a&amp;b&lt;c&gt;</Key></Object><Object><Key>d</Key></Object>\
             <Quiet>true</Quiet></Delete>"
        );
        let text = "<DeleteResult><Deleted><Key>d</Key></Deleted>\
            <Error><Key>a</Key><Code>AccessDenied</Code><Message>no</Message></Error>\
            </DeleteResult>";
        let result: DeleteResult = quick_xml::de::from_str(text).unwrap();
        let failure = result.errors.into_iter().next().unwrap().into_failure();
        assert_eq!(
            (failure.key.as_str(), failure.error.kind()),
            ("a", crate::ErrorKind::AccessDenied)
        );
    }
}

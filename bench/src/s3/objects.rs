//! What is asked outside of the measured window: buckets, listings, deletions.

use super::exchange::{Answer, Exchange, Reader};
use super::target::{Ask, Target, TargetError};
use crate::data::Content;
use crate::measure::Failure;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Method;

/// Preparation must succeed, and may take its time.
const PATIENCE: usize = 8;
/// Requests at a time while preparing and cleaning up.
const SIDE_BY_SIDE: usize = 16;

/// The text between the first `<name>` and the `</name>` after it. Enough for documents whose values
/// hold no markup.
pub fn tag<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// An object as listings tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its name.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
}

/// The objects of one page of a listing.
fn listed(document: &str) -> Vec<ListedObject> {
    let object = |text: &str| {
        let key = tag(text, "Key")?.replace("&quot;", "\"").replace("&amp;", "&");
        Some(ListedObject { key, size: tag(text, "Size")?.parse().ok()? })
    };
    document.split("<Contents>").skip(1).filter_map(object).collect()
}

impl Target {
    async fn must(&self, what: &str, ask: Ask<'_>) -> Result<Answer, TargetError> {
        let request = self.request(ask)?;
        let exchange = Exchange::run(self, request, Reader::Document, PATIENCE).await;
        exchange.result.map_err(|failure| self.refused(what, &failure))
    }

    fn refused(&self, what: &str, failure: &Failure) -> TargetError {
        let endpoint = self.endpoint();
        let why = match failure {
            Failure::Answer => format!("{endpoint} does not speak HTTP/{}, or not S3", self.http()),
            Failure::Connect => format!(
                "no connection to {endpoint}: is it running, is its certificate trusted (--ca, --insecure)?"
            ),
            other => other.to_string(),
        };
        TargetError::Refused { what: what.to_owned(), why }
    }

    /// Makes the bucket if it is not there. Returns what the server calls itself.
    ///
    /// # Errors
    /// If that is refused.
    pub async fn ensure_bucket(&self) -> Result<String, TargetError> {
        let head = self.request(Ask::new(Method::HEAD, ""))?;
        let found = Exchange::run(self, head, Reader::Discard(None), PATIENCE).await.result;
        let answer = match found {
            Ok(answer) => answer,
            Err(Failure::Refused { status: 404, .. }) => {
                let what = format!("making the bucket {}", self.bucket());
                self.must(&what, Ask::new(Method::PUT, "")).await?
            }
            Err(failure) => {
                return Err(self.refused(&format!("looking for {}", self.bucket()), &failure));
            }
        };
        let server = answer.headers.get(http::header::SERVER).and_then(|name| name.to_str().ok());
        Ok(server.unwrap_or_default().to_owned())
    }

    /// All objects whose names begin with `prefix`, in order.
    ///
    /// # Errors
    /// If a page is refused.
    pub async fn list_all(&self, prefix: &str) -> Result<Vec<ListedObject>, TargetError> {
        let mut all: Vec<ListedObject> = Vec::new();
        loop {
            let after = all.last().map_or(String::new(), |last| last.key.clone());
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            if !after.is_empty() {
                query.push(("start-after", &after));
            }
            // In the order that signatures want.
            query.sort_unstable();
            let what = format!("listing {prefix}");
            let ask = Ask { query: &query, ..Ask::new(Method::GET, "") };
            let answer = self.must(&what, ask).await?;
            let page = listed(&answer.document);
            let more = tag(&answer.document, "IsTruncated") == Some("true") && !page.is_empty();
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Deletes objects by name.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn delete_all(&self, keys: Vec<String>) -> Result<(), TargetError> {
        let delete = async |key: String| {
            self.must(&format!("deleting {key}"), Ask::new(Method::DELETE, &key)).await.map(drop)
        };
        stream::iter(keys).map(delete).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }

    /// Stores one object.
    ///
    /// # Errors
    /// If that is refused.
    pub async fn store(&self, key: &str, content: Content) -> Result<(), TargetError> {
        let body = tokio::task::spawn_blocking(move || content.bytes(0, content.len())).await;
        let body = body.map_err(|error| TargetError::Refused {
            what: format!("making {key}"),
            why: error.to_string(),
        })?;
        let ask = Ask { body, ..Ask::new(Method::PUT, key) };
        self.must(&format!("storing {key}"), ask).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_listings_of_several_dialects() {
        let page = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>\
            <Contents><ETag>&quot;x&quot;</ETag><Key>a/1</Key><Size>7</Size></Contents>\
            <Contents><Key>a/b&amp;c</Key><Size>0</Size><Owner/></Contents></ListBucketResult>";
        let object = |key: &str, size| ListedObject { key: key.to_owned(), size };
        assert_eq!(listed(page), [object("a/1", 7), object("a/b&c", 0)]);
        assert_eq!(tag(page, "IsTruncated"), Some("false"));
        assert_eq!(tag("<Key>a", "Key"), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "(<(/?)(Contents|Key|Size)>|\\PC{0,4}){0,20}") {
            let _ = listed(&text);
        }
    }
}

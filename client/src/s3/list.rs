//! Listing keys, exactly as they are (ListObjectsV2).
//!
//! `object_store` lists by path segments and refuses keys that are no paths; a person who lists
//! or deletes wants to see every key.

use super::call::{Answer, Call};
use crate::client::Client;
use crate::error::Error;
use crate::url::S3Url;
use futures::stream::{self, Stream, TryStreamExt};
use http::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How deep a listing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Keys up to the next `/`; what goes deeper is folded into prefixes.
    Folder,
    /// All keys.
    Recursive,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A group of keys up to and including a `/`.
    Prefix(String),
    /// An object.
    Object(ObjectEntry),
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag, with quotes as sent.
    pub etag: Option<String>,
    /// When it was last written, if the gateway says.
    pub modified: Option<OffsetDateTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    encoding_type: Option<String>,
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    #[serde(rename = "ETag")]
    etag: Option<String>,
    last_modified: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

/// Where a listing goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Start,
    Token(String),
    End,
}

impl Client {
    /// Lists what starts with the address's key, page by page as the stream is read.
    ///
    /// Within a page, prefixes come before objects; both are in the order of their bytes.
    pub fn list(
        &self,
        prefix: &S3Url,
        listing: Listing,
    ) -> impl Stream<Item = Result<Entry, Error>> + use<> {
        let (client, prefix) = (self.clone(), prefix.clone());
        stream::try_unfold(
            (client, prefix, Next::Start),
            move |(client, prefix, next)| async move {
                let mut call = Call::new(Method::GET, prefix.bucket(), "")
                    .query("list-type", "2")
                    .query("encoding-type", "url");
                match &next {
                    Next::End => return Ok(None),
                    Next::Start => {}
                    Next::Token(token) => call = call.query("continuation-token", token.as_str()),
                }
                if listing == Listing::Folder {
                    call = call.query("delimiter", "/");
                }
                if !prefix.key().is_empty() {
                    call = call.query("prefix", prefix.key());
                }
                let answer = call.send(&client).await?;
                let (entries, following) = page(&answer)?;
                if next == following {
                    return Err(answer.nonsense("the listing does not advance"));
                }
                let entries = stream::iter(entries.into_iter().map(Ok));
                Ok::<_, Error>(Some((entries, (client, prefix, following))))
            },
        )
        .try_flatten()
    }

    /// As [`Client::list`] with [`Listing::Recursive`], objects only.
    pub fn list_objects(
        &self,
        prefix: &S3Url,
    ) -> impl Stream<Item = Result<ObjectEntry, Error>> + use<> {
        self.list(prefix, Listing::Recursive).try_filter_map(|entry| async move {
            Ok(match entry {
                Entry::Object(object) => Some(object),
                Entry::Prefix(_) => None,
            })
        })
    }
}

fn page(answer: &Answer) -> Result<(Vec<Entry>, Next), Error> {
    let result: ListBucketResult = answer.xml()?;
    let encoded = result.encoding_type.as_deref() == Some("url");
    let plain = |text: String| if encoded { decode(&text) } else { Some(text) };
    let unreadable = || answer.nonsense("a key is not UTF-8");
    let mut entries = Vec::with_capacity(result.contents.len() + result.common_prefixes.len());
    for prefix in result.common_prefixes {
        entries.push(Entry::Prefix(plain(prefix.prefix).ok_or_else(unreadable)?));
    }
    for object in result.contents {
        entries.push(Entry::Object(ObjectEntry {
            key: plain(object.key).ok_or_else(unreadable)?,
            size: object.size,
            etag: object.etag,
            modified: object.last_modified.and_then(|t| OffsetDateTime::parse(&t, &Rfc3339).ok()),
        }));
    }
    let next = result.next_continuation_token.filter(|token| !token.is_empty());
    Ok((entries, next.map_or(Next::End, Next::Token)))
}

/// Undoes `encoding-type=url`, in which a space may be a plus sign.
fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_was_encoded() {
        assert_eq!(decode("a%2Fb+c%2Bd%C3%A9").as_deref(), Some("a/b c+dé"));
        assert_eq!(decode("%FF"), None);
    }

    #[test]
    fn reads_an_empty_and_a_full_page() {
        let empty = "<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount></ListBucketResult>";
        let result: ListBucketResult = quick_xml::de::from_str(empty).unwrap();
        assert!(result.contents.is_empty() && result.next_continuation_token.is_none());

        let full = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Contents><Key>a&amp;b</Key><LastModified>2026-11-24T08:22:43.000Z</LastModified>\
            <ETag>&quot;x&quot;</ETag><Size>3</Size></Contents>\
            <NextContinuationToken>t</NextContinuationToken>\
            <Contents><Key>c</Key><Size>4</Size></Contents>\
            <CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes></ListBucketResult>";
        let result: ListBucketResult = quick_xml::de::from_str(full).unwrap();
        assert_eq!(result.contents.len(), 2);
        assert_eq!(result.contents[0].key, "a&b");
        assert_eq!(result.contents[0].etag.as_deref(), Some("\"x\""));
        assert_eq!(result.common_prefixes[0].prefix, "d/");
    }

    proptest::proptest! {
        #[test]
        fn every_key_survives_its_encoding(key: String) {
            let all = percent_encoding::NON_ALPHANUMERIC;
            let encoded = percent_encoding::utf8_percent_encode(&key, all).to_string();
            proptest::prop_assert_eq!(decode(&encoded), Some(key));
        }

        #[test]
        fn arbitrary_names_and_documents_never_panic(
            text in "(<ListBucketResult>|</ListBucketResult>|<Contents>|</Contents>|<Key>|%F|%41|\\+|&amp;|é|x){0,20}",
        ) {
            let _ = decode(&text);
            let _ = quick_xml::de::from_str::<ListBucketResult>(&text);
        }
    }
}

//! List objects, v1 and v2: the same listing in two dresses.

use super::errors::{s3, to_s3};
use super::{CofferS3, acl, convert};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_core::catalog::{After, ListEntry, ListQuery, Listing};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Result};

/// The most lines of one answer (as in S3).
const MAX_KEYS: usize = 1000;

/// What `encoding-type=url` leaves as it is (as S3 does).
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

impl CofferS3 {
    pub(super) async fn list_v1(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        let marker = input.marker.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().unwrap_or_default();
        let prefix = input.prefix.clone().unwrap_or_default();
        let rolled = is_rolled_up(&marker, &prefix, &delimiter);
        let after = match (marker.is_empty(), rolled) {
            (true, _) => None,
            (false, true) => Some(After::Prefix(marker)),
            (false, false) => Some(After::Key(marker)),
        };
        let limit = max_keys(input.max_keys)?;
        let query = ListQuery { prefix, delimiter, after, limit };
        let (listing, owner) = self.listing(&input.bucket, query).await?;
        let truncated = listing.next.is_some();
        let next = listing.next.clone().map(|n| match n {
            After::Key(text) | After::Prefix(text) => encoder.encode(text),
        });
        let (contents, common_prefixes) = split(listing, &encoder, Some(&owner));
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoder.encode(input.prefix.unwrap_or_default())),
            marker: Some(encoder.encode(input.marker.unwrap_or_default())),
            delimiter: input.delimiter.filter(|d| !d.is_empty()).map(|d| encoder.encode(d)),
            max_keys: i32::try_from(limit).ok(),
            is_truncated: Some(truncated),
            next_marker: next,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        })
    }

    pub(super) async fn list_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) if !token.is_empty() => Some(read_token(token)?),
            (_, Some(start)) if !start.is_empty() => Some(After::Key(start.clone())),
            _ => None,
        };
        let limit = max_keys(input.max_keys)?;
        let query = ListQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().unwrap_or_default(),
            after,
            limit,
        };
        let (listing, owner) = self.listing(&input.bucket, query).await?;
        let owner = Some(owner.as_str()).filter(|_| input.fetch_owner == Some(true));
        let next = listing.next.as_ref().map(write_token);
        let (contents, common_prefixes) = split(listing, &encoder, owner);
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoder.encode(input.prefix.unwrap_or_default())),
            delimiter: input.delimiter.filter(|d| !d.is_empty()).map(|d| encoder.encode(d)),
            start_after: input.start_after.map(|s| encoder.encode(s)),
            max_keys: i32::try_from(limit).ok(),
            key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        })
    }

    /// A listing, and who owns what is in it.
    async fn listing(&self, bucket: &str, query: ListQuery) -> S3Result<(Listing, String)> {
        let bucket = convert::bucket(bucket)?;
        let list = self.catalog.list(bucket, move |c, b| Ok((c.list(b, &query)?, c.bucket(b)?)));
        list.await.map(|(listing, record)| (listing, record.owner)).map_err(to_s3)
    }
}

/// Whether a marker is a common prefix of the listing: it then stands for all that is rolled up.
pub(super) fn is_rolled_up(marker: &str, prefix: &str, delimiter: &str) -> bool {
    !delimiter.is_empty()
        && marker.len() > prefix.len()
        && marker
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.find(delimiter) == rest.len().checked_sub(delimiter.len()))
}

/// Encodes names as the client asked.
pub(super) struct Encoder {
    url: bool,
}

impl Encoder {
    pub(super) fn new(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self { url: false }),
            Some(EncodingType::URL) => Ok(Self { url: true }),
            Some(_) => Err(s3(S3ErrorCode::InvalidArgument, "The only encoding-type is url.")),
        }
    }

    pub(super) fn encode(&self, text: String) -> String {
        if self.url { utf8_percent_encode(&text, KEPT).to_string() } else { text }
    }
}

fn split(
    listing: Listing,
    encoder: &Encoder,
    owner: Option<&str>,
) -> (Vec<Object>, Vec<CommonPrefix>) {
    let mut objects = Vec::new();
    let mut prefixes = Vec::new();
    for entry in listing.entries {
        match entry {
            ListEntry::Object(key, version) => objects.push(Object {
                key: Some(encoder.encode(key.into())),
                e_tag: Some(convert::etag(version.record.etag)),
                last_modified: Some(convert::timestamp(version.record.modified_ms)),
                size: Some(convert::signed(version.record.size)),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                owner: owner.map(acl::owner),
                ..Object::default()
            }),
            ListEntry::CommonPrefix(prefix) => {
                prefixes.push(CommonPrefix { prefix: Some(encoder.encode(prefix)) });
            }
        }
    }
    (objects, prefixes)
}

pub(super) fn max_keys(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        None => Ok(MAX_KEYS),
        Some(n) => usize::try_from(n)
            .map(|n| n.min(MAX_KEYS))
            .map_err(|_| s3(S3ErrorCode::InvalidArgument, "max-keys is negative.")),
    }
}

/// A continuation token: `k` or `p` for key or common prefix, then the text; in base64, since it is
/// opaque to clients.
fn write_token(after: &After) -> String {
    let (kind, text) = match after {
        After::Key(text) => ('k', text),
        After::Prefix(text) => ('p', text),
    };
    URL_SAFE_NO_PAD.encode(format!("{kind}{text}"))
}

fn read_token(token: &str) -> S3Result<After> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|b| String::from_utf8(b).ok());
    let parsed = text.as_deref().and_then(|text| match text.split_at_checked(1)? {
        ("k", key) => Some(After::Key(key.to_owned())),
        ("p", prefix) => Some(After::Prefix(prefix.to_owned())),
        _ => None,
    });
    parsed.ok_or_else(|| s3(S3ErrorCode::InvalidArgument, "The continuation token is not ours."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn url_encoding_keeps_slashes_and_encodes_the_rest() {
        let encoder = Encoder { url: true };
        assert_eq!(encoder.encode("a b/é+\n".into()), "a%20b/%C3%A9%2B%0A");
    }

    proptest! {
        #[test]
        fn tokens_round_trip(text: String) {
            for after in [After::Key(text.clone()), After::Prefix(text)] {
                prop_assert_eq!(read_token(&write_token(&after)).unwrap(), after);
            }
        }

        #[test]
        fn arbitrary_tokens_never_panic(token: String) {
            let _ = read_token(&token);
        }
    }
}

//! The PUT that a form stands for.

use super::fields::Form;
use super::{MALFORMED, bad};
use crate::http::failure::Failure;
use crate::http::host::HostBucket;
use crate::s3::tags::read_tags;
use coffer_core::bucket::TagLimit;
use http::header::{HOST, HeaderName, HeaderValue, ORIGIN, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::dto::Tagging;
use s3s::xml::{Deserialize, Deserializer};

const NO_BUCKET: Failure = Failure(
    StatusCode::METHOD_NOT_ALLOWED,
    "MethodNotAllowed",
    "Forms are sent to the URL of a bucket.",
);
const NO_KEY: Failure = bad("InvalidArgument", "Bucket POST must contain a field named 'key'.");
const BAD_FIELD: Failure =
    bad("InvalidArgument", "A field of the form has a value that no header can have.");
const BAD_TAGS: Failure = bad("MalformedXML", "The field tagging is not a well-formed Tagging.");
const INVALID_TAGS: Failure = bad("InvalidTag", "The field tagging has tags that are not allowed.");

/// What is kept as it is in a path.
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Fields that become headers of the same name, beside all that begin with `x-amz-meta-`,
/// `x-amz-checksum-`, `x-amz-object-lock-` and `x-amz-server-side-encryption`.
const HEADERS: [&str; 11] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "x-amz-acl",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];
const HEADER_GROUPS: [&str; 5] = [
    "x-amz-meta-",
    "x-amz-checksum-",
    "x-amz-grant-",
    "x-amz-object-lock-",
    "x-amz-server-side-encryption",
];

/// The bucket that a form is sent to, and what paths of its objects begin with: nothing where the
/// host names the bucket.
pub(super) fn place(head: &Parts) -> Result<(String, String), Failure> {
    let path = head.uri.path();
    match head.extensions.get() {
        Some(HostBucket(name)) if matches!(path, "" | "/") => Ok((name.clone(), String::new())),
        Some(HostBucket(_)) => Err(NO_BUCKET),
        None => bucket(path).map(|name| (name.to_owned(), format!("/{name}"))),
    }
}

/// The bucket that a path is, and nothing but that.
fn bucket(path: &str) -> Result<&str, Failure> {
    let name = path.strip_prefix('/').unwrap_or(path);
    let name = name.strip_suffix('/').unwrap_or(name);
    let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    let decoded = percent_decode_str(name).decode_utf8().map_err(|_| NO_BUCKET)?;
    // Names of buckets need no encoding.
    if plain && decoded == name { Ok(name) } else { Err(NO_BUCKET) }
}

/// The object's key, with the file's name in the place of `${filename}`.
pub(super) fn key(form: &Form) -> Result<String, Failure> {
    let key = form.get("key").ok_or(NO_KEY)?.replace("${filename}", &form.file_name);
    if key.is_empty() { Err(NO_KEY) } else { Ok(key) }
}

/// The request, without the body.
pub(super) fn put(
    mut head: Parts,
    form: &Form,
    base: &str,
    key: &str,
) -> Result<Request<()>, Failure> {
    let mut headers = HeaderMap::new();
    for name in [HOST, ORIGIN, REFERER, USER_AGENT] {
        if let Some(value) = head.headers.remove(&name) {
            headers.insert(name, value);
        }
    }
    let mut set = |name: &str, value: &str| {
        let name = HeaderName::try_from(name).map_err(|_| BAD_FIELD)?;
        let value = HeaderValue::from_str(value).map_err(|_| BAD_FIELD)?;
        headers.entry(name).or_insert(value);
        Ok(())
    };
    for (name, value) in form.fields() {
        if HEADERS.contains(&name) || HEADER_GROUPS.iter().any(|group| name.starts_with(group)) {
            set(name, value)?;
        }
    }
    if let Some(acl) = form.get("acl") {
        set("x-amz-acl", acl)?;
    }
    if let Some(xml) = form.get("tagging") {
        set("x-amz-tagging", &tags(xml)?)?;
    }
    let path = format!("{base}/{}", utf8_percent_encode(key, KEPT));
    let mut uri = head.uri.into_parts();
    uri.path_and_query = Some(path.parse().map_err(|_| MALFORMED)?);
    let mut request = Request::new(());
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| MALFORMED)?;
    *request.version_mut() = head.version;
    *request.headers_mut() = headers;
    *request.extensions_mut() = head.extensions;
    Ok(request)
}

/// Tags in the XML that forms have them in, as the header has them.
fn tags(xml: &str) -> Result<String, Failure> {
    let tagging = Tagging::deserialize(&mut Deserializer::new(xml.as_bytes()));
    let tags = read_tags(TagLimit::Object, tagging.map_err(|_| BAD_TAGS)?.tag_set);
    let tags = tags.map_err(|_| INVALID_TAGS)?;
    Ok(form_urlencoded::Serializer::new(String::new()).extend_pairs(tags.iter()).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_go_to_buckets() {
        assert_eq!(bucket("/data"), Ok("data"));
        assert_eq!(bucket("/data/"), Ok("data"));
        for bad in ["", "/", "/data/key", "/data//", "//data", "/.coffer", "/d%61ta", "/%ff"] {
            assert_eq!(bucket(bad), Err(NO_BUCKET), "{bad}");
        }
    }

    #[test]
    fn tags_change_their_form() {
        let xml = "<Tagging><TagSet><Tag><Key>a b</Key><Value>é&amp;</Value></Tag>\
                   <Tag><Key>c</Key><Value></Value></Tag></TagSet></Tagging>";
        assert_eq!(tags(xml), Err(INVALID_TAGS), "& is not allowed in tags");
        assert_eq!(tags(&xml.replace("&amp;", "")).as_deref(), Ok("a+b=%C3%A9&c="));
        assert_eq!(tags("<Tagging>"), Err(BAD_TAGS));
        assert_eq!(tags("a=b"), Err(BAD_TAGS));
    }
}

//! What `s3s` 0.14 words otherwise than S3 does, put right in answers that are short texts.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use s3s::Body;

/// Puts into an error's text what clients take from there: the request's id, and how long an object
/// is that does not have the range asked for (the AWS Common Runtime knows an empty one by that).
pub(super) fn name_request(response: Response<Body>, id: &str) -> Response<Body> {
    if response.status().is_success() {
        return response;
    }
    let size = actual_size(&response);
    let size = size.map(|s| format!("<ActualObjectSize>{s}</ActualObjectSize>"));
    reworded(response, |text| {
        let head = text.strip_suffix("</Error>")?;
        let size = size.unwrap_or_default();
        Some(format!("{head}{size}<RequestId>{id}</RequestId></Error>"))
    })
}

/// The size in `Content-Range: bytes */SIZE` of a 416.
fn actual_size(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes */")?.parse().ok()
}

/// Whether a request is GetObjectAttributes.
pub(super) fn asks_attributes(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    *request.method() == Method::GET
        && form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "attributes")
}

/// Among attributes, and only there, S3 shows etags without their quotes.
pub(super) fn unquote_etag(response: Response<Body>) -> Response<Body> {
    if !response.status().is_success() {
        return response;
    }
    reworded(response, |text| {
        let (before, rest) = text.split_once("<ETag>")?;
        let (etag, after) = rest.split_once("</ETag>")?;
        let etag = etag.trim_matches('"');
        let etag = etag.strip_prefix("&quot;").unwrap_or(etag);
        let etag = etag.strip_suffix("&quot;").unwrap_or(etag);
        Some(format!("{before}<ETag>{etag}</ETag>{after}"))
    })
}

fn reworded(
    mut response: Response<Body>,
    reword: impl FnOnce(&str) -> Option<String>,
) -> Response<Body> {
    let bytes = response.body().bytes();
    if let Some(text) = bytes.as_deref().and_then(|b| std::str::from_utf8(b).ok()).and_then(reword)
    {
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        // Left unsaid where an error has headers of its own.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        *response.body_mut() = Body::from(text);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_etags_quotes_go() {
        let text =
            |r: Response<Body>| String::from_utf8(r.body().bytes().unwrap().to_vec()).unwrap();
        for quoted in ["&quot;ab-2&quot;", "\"ab-2\"", "ab-2"] {
            let xml = format!("<A><ETag>{quoted}</ETag><B>&quot;</B></A>");
            let got = text(unquote_etag(Response::new(Body::from(xml))));
            assert_eq!(got, "<A><ETag>ab-2</ETag><B>&quot;</B></A>");
        }
        let got = text(unquote_etag(Response::new(Body::from("<A></A>".to_owned()))));
        assert_eq!(got, "<A></A>");
    }
}

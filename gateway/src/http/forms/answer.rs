//! What a browser is told when its form has been taken.

use super::fields::Form;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::Body;

const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What the form asked to be told.
pub(super) struct Told {
    status: StatusCode,
    redirect: Option<String>,
    bucket: String,
    key: String,
    location: String,
}

impl Told {
    pub(super) fn new(form: &Form, head: &Parts, (bucket, base): (&str, &str), key: &str) -> Self {
        let status = match form.get("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        };
        let redirect = form.get("success_action_redirect").or_else(|| form.get("redirect"));
        let host = head.headers.get("host").and_then(|h| h.to_str().ok());
        let host = host.or_else(|| head.uri.authority().map(|a| a.as_str())).unwrap_or_default();
        Self {
            status,
            redirect: redirect.filter(|url| is_web_address(url)).map(str::to_owned),
            location: format!("https://{host}{base}/{}", utf8_percent_encode(key, KEPT)),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }
    }

    /// The answer, given that to the request that the form stood for.
    pub(super) fn answer(self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_TYPE);
        let etag = headers.get(ETAG).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let redirect = self.redirect.as_deref().map(|url| self.redirected(url, &etag));
        let (status, location, body) = match redirect {
            Some(url) => (StatusCode::SEE_OTHER, url, Body::empty()),
            None if self.status == StatusCode::CREATED => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
                (self.status, self.location.clone(), Body::from(self.xml(&etag)))
            }
            None => (self.status, self.location.clone(), Body::empty()),
        };
        if let Ok(location) = HeaderValue::from_str(&location) {
            headers.insert(LOCATION, location);
        }
        *response.status_mut() = status;
        *response.body_mut() = body;
        response
    }

    /// The address to go to, with what was stored.
    fn redirected(&self, url: &str, etag: &str) -> String {
        let (url, fragment) = url.split_once('#').map_or((url, None), |(u, f)| (u, Some(f)));
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("bucket", &self.bucket)
            .append_pair("key", &self.key)
            .append_pair("etag", etag)
            .finish();
        let sign = if url.contains('?') { '&' } else { '?' };
        let fragment = fragment.map(|f| format!("#{f}")).unwrap_or_default();
        format!("{url}{sign}{query}{fragment}")
    }

    fn xml(&self, etag: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><PostResponse><Location>{}</Location>\
             <Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag></PostResponse>",
            escaped(&self.location),
            escaped(&self.bucket),
            escaped(&self.key),
            escaped(etag),
        )
    }
}

/// Whether a browser may be sent there; anything else S3 ignores.
fn is_web_address(url: &str) -> bool {
    let parsed = url.split('#').next().and_then(|u| u.parse::<Uri>().ok());
    let web = |u: &Uri| matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some();
    parsed.as_ref().is_some_and(web) && HeaderValue::from_str(url).is_ok()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no way to write these.
            c if c.is_control() && !"\t\n\r".contains(c) => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(redirect: Option<&str>, status: StatusCode) -> Told {
        Told {
            status,
            redirect: redirect.map(str::to_owned),
            bucket: "data".into(),
            key: "a&b".into(),
            location: "https://h/data/a%26b".into(),
        }
    }

    fn stored() -> Response<Body> {
        let response = Response::builder().header("etag", "\"x\"").header("x-amz-version-id", "1");
        response.body(Body::empty()).unwrap()
    }

    #[test]
    fn browsers_are_told_what_they_asked() {
        let to = |url| told(Some(url), StatusCode::OK).answer(stored());
        for (url, location) in [
            ("https://x/a", "https://x/a?bucket=data&key=a%26b&etag=%22x%22"),
            ("https://x/a?b=c#d", "https://x/a?b=c&bucket=data&key=a%26b&etag=%22x%22#d"),
        ] {
            let response = to(url);
            assert_eq!(response.status(), 303);
            assert_eq!(response.headers()["location"], location);
            assert_eq!(response.headers()["x-amz-version-id"], "1");
        }
        let created = told(None, StatusCode::CREATED).answer(stored());
        assert_eq!(created.status(), 201);
        let text = String::from_utf8(created.body().bytes().unwrap().to_vec()).unwrap();
        assert!(text.contains("<Key>a&amp;b</Key><ETag>&quot;x&quot;</ETag>"), "{text}");
        let plain = told(None, StatusCode::NO_CONTENT).answer(stored());
        assert_eq!(
            (plain.status().as_u16(), &plain.headers()["etag"]),
            (204, &"\"x\"".parse().unwrap())
        );
    }

    #[test]
    fn only_web_addresses_are_gone_to() {
        for good in ["http://x", "https://x.example/a?b=c#d"] {
            assert!(is_web_address(good), "{good}");
        }
        for bad in ["", "x", "/x", "javascript:alert(1)", "ftp://x/", "https://x/\r\nset-cookie: a"]
        {
            assert!(!is_web_address(bad), "{bad}");
        }
    }
}

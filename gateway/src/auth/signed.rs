//! What a signature of version 4 must cover, beyond what `s3s` makes sure of.
//!
//! S3 takes meaning from headers that begin with `x-amz-`: with `x-amz-copy-source`, the upload to
//! which a presigned URL invites becomes a copy of any object that its signer may read. So such
//! headers count only if they are signed.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};

/// What is wrong with a signature before it is even computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// `host` or a header that S3 takes meaning from is not signed.
    HeaderNotSigned,
    /// A presigned URL's life is not a number of seconds from 1 to a week.
    Expires,
    /// A parameter of a presigned URL is missing or there twice.
    Parameters,
}

/// The longest life of a presigned URL, in seconds: a week, as in S3.
const MAX_EXPIRES: u32 = 7 * 24 * 60 * 60;

/// What is wrong with a request's signature, if it has one.
pub(crate) fn flaw<B>(request: &Request<B>) -> Option<Flaw> {
    let query = request.uri().query().unwrap_or_default();
    let pairs = || form_urlencoded::parse(query.as_bytes());
    let headers = request.headers();
    if pairs().any(|(name, _)| name == "X-Amz-Signature") {
        let one = |wanted: &str| {
            let mut values = pairs().filter(|(name, _)| name == wanted).map(|(_, value)| value);
            values.next().filter(|_| values.next().is_none())
        };
        let complete = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature"]
            .iter()
            .all(|name| one(name).is_some());
        let (Some(names), Some(expires), true) =
            (one("X-Amz-SignedHeaders"), one("X-Amz-Expires"), complete)
        else {
            return Some(Flaw::Parameters);
        };
        let digits = expires.bytes().all(|c| c.is_ascii_digit());
        let seconds = expires.parse::<u32>().ok().filter(|_| digits);
        if !seconds.is_some_and(|s| (1..=MAX_EXPIRES).contains(&s)) {
            return Some(Flaw::Expires);
        }
        // The body's hash is compared with the body; who signed it does not matter.
        return (!covers(&names, headers, &["x-amz-content-sha256"]))
            .then_some(Flaw::HeaderNotSigned);
    }
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256")?;
    // One without it is not understood, and refused as such.
    let names = fields.split(',').find_map(|f| f.trim().strip_prefix("SignedHeaders="))?;
    // Both are part of what is signed in any case.
    let implied = ["x-amz-content-sha256", "x-amz-date"];
    (!covers(names, headers, &implied)).then_some(Flaw::HeaderNotSigned)
}

/// Whether `host` and all headers with a meaning are among `names`, which semicolons separate.
fn covers(names: &str, headers: &HeaderMap, implied: &[&str]) -> bool {
    let signed = |name: &str| names.split(';').any(|n| n.eq_ignore_ascii_case(name));
    signed("host")
        && headers
            .keys()
            .map(http::HeaderName::as_str)
            .all(|name| !name.starts_with("x-amz-") || implied.contains(&name) || signed(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, headers: &[(&str, &str)]) -> Option<Flaw> {
        let mut request = Request::builder().method("PUT").uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        flaw(&request.body(()).unwrap())
    }

    fn presigned(signed: &str, expires: &str) -> String {
        format!(
            "/b/k?X-Amz-Algorithm=A&X-Amz-Credential=C&X-Amz-Date=D&X-Amz-Expires={expires}\
             &X-Amz-SignedHeaders={signed}&X-Amz-Signature=S"
        )
    }

    #[test]
    fn headers_with_a_meaning_must_be_signed() {
        let copy = ("x-amz-copy-source", "/b/secret");
        let url = presigned("host", "60");
        assert_eq!(check(&url, &[("content-type", "x"), ("x-amz-content-sha256", "y")]), None);
        assert_eq!(check(&url, &[copy]), Some(Flaw::HeaderNotSigned));
        assert_eq!(check(&presigned("host%3Bx-amz-copy-source", "60"), &[copy]), None);
        assert_eq!(check(&presigned("date", "60"), &[]), Some(Flaw::HeaderNotSigned));

        let signed = |names: &str| {
            format!("AWS4-HMAC-SHA256 Credential=C, SignedHeaders={names}, Signature=S")
        };
        let header = |names: &str, other| {
            check("/b/k", &[("authorization", &signed(names)), ("x-amz-date", "D"), other])
        };
        assert_eq!(header("host;x-amz-date", copy), Some(Flaw::HeaderNotSigned));
        assert_eq!(header("host;x-amz-copy-source", copy), None);
        assert_eq!(header("x-amz-date", ("a", "b")), Some(Flaw::HeaderNotSigned));
    }

    #[test]
    fn presigned_urls_live_for_a_week_at_most() {
        for good in ["1", "604800"] {
            assert_eq!(check(&presigned("host", good), &[]), None, "{good}");
        }
        for bad in ["0", "604801", "-1", "%2B60", "1.5", "", "x", "99999999999"] {
            assert_eq!(check(&presigned("host", bad), &[]), Some(Flaw::Expires), "{bad}");
        }
        let twice = presigned("host", "60") + "&X-Amz-Expires=60";
        assert_eq!(check(&twice, &[]), Some(Flaw::Parameters));
        assert_eq!(check("/b/k?X-Amz-Signature=S", &[]), Some(Flaw::Parameters));
    }

    #[test]
    fn requests_without_such_a_signature_are_none_of_our_business() {
        assert_eq!(check("/b/k", &[("x-amz-copy-source", "/b/k")]), None);
        let bearer = ("authorization", "Bearer x");
        assert_eq!(check("/b/k", &[bearer, ("x-amz-copy-source", "/b/k")]), None);
    }
}

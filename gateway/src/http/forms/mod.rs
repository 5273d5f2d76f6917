//! Uploads from browsers' forms (`POST` with `multipart/form-data`).
//!
//! A form is read up to its file, its policy and signature are checked, and it goes on as the PUT
//! that it stands for: the same service, the same access check. The file is streamed, so that a
//! form costs no more memory than a PUT. `s3s` could serve forms too, but would hold the file in
//! memory, and before it asks whether the client may send it.
//!
//! | module | what |
//! |---|---|
//! | `fields` | a form's fields |
//! | `file` | the file behind them, as a body that streams |
//! | `policy` | what the form's policy says, and whether the form keeps to it |
//! | `signature` | who signed the policy |
//! | `request` | the PUT that a form stands for |
//! | `answer` | what a browser is told |

mod answer;
mod fields;
mod file;
mod policy;
mod request;
mod signature;

use super::failure::Failure;
use crate::auth::KeyRing;
use crate::auth::identity::{self, Identity};
use answer::Told;
use fields::Form;
use file::{Bounds, Verdict};
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use policy::PostPolicy;
use s3s::Body;
use std::sync::Arc;
use std::time::SystemTime;

const fn bad(code: &'static str, message: &'static str) -> Failure {
    Failure(StatusCode::BAD_REQUEST, code, message)
}

const fn denied(message: &'static str) -> Failure {
    Failure(StatusCode::FORBIDDEN, "AccessDenied", message)
}

const MALFORMED: Failure =
    bad("MalformedPOSTRequest", "The body of the POST request is not well-formed form data.");

/// Turns forms into requests.
#[derive(Debug, Clone)]
pub struct Forms {
    keys: KeyRing,
}

/// A form on its way: what is told when the request that it stands for has been answered.
pub(super) struct Pending {
    told: Told,
    verdict: Verdict,
}

impl Forms {
    /// Forms that are signed with these keys.
    pub fn new(keys: KeyRing) -> Self {
        Self { keys }
    }

    /// The boundary between the fields of a form, if the request is one.
    pub(super) fn boundary(request: &Request<Body>) -> Option<String> {
        let content_type = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if *request.method() != Method::POST
            || !kind.trim().eq_ignore_ascii_case("multipart/form-data")
        {
            return None;
        }
        let named = parameters.split(';').find_map(|p| {
            let (name, value) = p.split_once('=')?;
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
        });
        // Without one it is still a form, and a malformed one.
        Some(named.unwrap_or_default().to_owned())
    }

    /// Reads a form up to its file, and makes the request that it stands for.
    ///
    /// # Errors
    /// The answer to a form that is malformed, not signed as it should be, or does not keep to its
    /// policy.
    pub(super) async fn translate(
        &self,
        request: Request<Body>,
        boundary: &str,
    ) -> Result<(Request<Body>, Pending), Failure> {
        let (head, body) = request.into_parts();
        let (bucket, base) = request::place(&head)?;
        let form = Form::read(body, boundary).await?;
        let signer = signature::signer(&form, &self.keys)?;
        let key = request::key(&form)?;
        let bounds = match form.get("policy") {
            Some(text) => {
                PostPolicy::parse(text)?.check(&form, &bucket, &key, SystemTime::now())?
            }
            None => Bounds::default(),
        };
        let told = Told::new(&form, &head, (&bucket, &base), &key);
        let verdict = Verdict::default();
        let mut put = request::put(head, &form, &base, &key)?;
        if let Some(signer) = signer {
            speak_for(&mut put, signer);
        }
        let put = put.map(|()| form.file.into_body(bounds, verdict.clone()));
        Ok((put, Pending { told, verdict }))
    }
}

fn speak_for(request: &mut Request<()>, signer: Arc<Identity>) {
    identity::note(request.extensions(), &signer);
    request.extensions_mut().insert(signer);
}

impl Pending {
    /// What the browser is told, given the answer to the request that its form stood for.
    pub(super) fn answer(self, response: Response<Body>, request_id: &str) -> Response<Body> {
        match self.verdict.get() {
            Some(failure) => failure.response(request_id),
            None if response.status().is_success() => self.told.answer(response),
            None => response,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_by_their_type() {
        for (method, content_type, expected) in [
            ("POST", "multipart/form-data; boundary=x", Some("x")),
            ("POST", "Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", Some("a b")),
            ("POST", "multipart/form-data", Some("")),
            ("PUT", "multipart/form-data; boundary=x", None),
            ("POST", "multipart/mixed; boundary=x", None),
            ("POST", "application/xml", None),
        ] {
            let request = Request::builder().method(method).header(CONTENT_TYPE, content_type);
            let request = request.body(Body::empty()).unwrap();
            assert_eq!(Forms::boundary(&request).as_deref(), expected, "{content_type}");
        }
    }
}

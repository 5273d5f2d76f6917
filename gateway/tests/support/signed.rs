//! Signed requests that are sent once, as they are, and answers taken as they come.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coffer_client::object_store::aws::{AwsAuthorizer, AwsCredential};
use coffer_client::object_store::client::HttpRequest;
use coffer_client::transport::TransportError;
use coffer_client::{
    Client, ClientOptions, Credentials, Http3, Profile, ProfileOptions, RetryPolicy,
};
use http::{HeaderMap, StatusCode};
use std::path::Path;
use std::time::Duration;

/// How long a request may take until it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that signs, and neither repeats nor interprets.
#[derive(Clone)]
pub(crate) struct Signed {
    client: Client,
}

/// What came back, in full.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A request, as far as it differs from the plainest.
#[derive(Debug, Default, Clone)]
pub(crate) struct Extras<'a> {
    /// Encoded as it goes into the URL, without the question mark.
    pub(crate) query: &'a str,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Signed {
    /// For the client profile in `config`.
    pub(crate) fn new(config: &Path, http3: Http3) -> Self {
        let config = Some(config.to_owned());
        let options = ProfileOptions { config, ..ProfileOptions::default() };
        let mut profile = Profile::load_with(&options, &|_| None).unwrap();
        profile.http3 = http3;
        let options = ClientOptions { retry: RetryPolicy::none(), ..ClientOptions::default() };
        Self { client: Client::with_options(profile, options).unwrap() }
    }

    /// Over the connections of `client`.
    pub(crate) fn over(client: Client) -> Self {
        Self { client }
    }

    /// The same for someone else.
    pub(crate) fn speaking_for(&self, credentials: Credentials) -> Self {
        let mut profile = self.client.profile().clone();
        profile.credentials = credentials;
        let options = ClientOptions { retry: RetryPolicy::none(), ..ClientOptions::default() };
        Self { client: Client::with_options(profile, options).unwrap() }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request; without an answer it may have happened or not.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        extras: Extras<'_>,
    ) -> Result<Answer, TransportError> {
        let profile = self.client.profile();
        let query =
            if extras.query.is_empty() { String::new() } else { format!("?{}", extras.query) };
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}{query}", profile.endpoint));
        for (name, value) in &extras.headers {
            request = request.header(*name, value);
        }
        let mut request: HttpRequest = request.body(extras.body.into()).unwrap();
        match &profile.credentials {
            Credentials::AccessKey { id, secret, .. } => {
                let credential = AwsCredential {
                    key_id: id.clone(),
                    secret_key: secret.expose().to_owned(),
                    token: None,
                };
                AwsAuthorizer::new(&credential, "s3", &profile.region)
                    .try_authorize(&mut request, None)
                    .unwrap();
            }
            Credentials::Token(token) => {
                let bearer = format!("Bearer {}", token.expose()).parse().unwrap();
                request.headers_mut().insert("authorization", bearer);
            }
            Credentials::Anonymous => {}
        }
        let exchange = async {
            let response = self.client.transport().send(request).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.into_body().bytes().await.map_err(|e| TransportError::Broken {
                endpoint: profile.endpoint.clone(),
                reason: e.to_string(),
            })?;
            Ok(Answer { status, headers, body: body.to_vec() })
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        answer.unwrap_or_else(|_| panic!("{method} {path} hangs"))
    }

    /// As [`Signed::send`] where an answer is sure to come.
    pub(crate) async fn must(&self, method: &str, path: &str, extras: Extras<'_>) -> Answer {
        self.send(method, path, extras).await.unwrap()
    }

    /// Uploads `body` as the only part of an upload and returns the query and body that complete it.
    pub(crate) async fn upload(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(String, Vec<u8>), NotUploaded> {
        let extras = |query, body| Extras { query, body, ..Extras::default() };
        let begun = self.send("POST", path, extras("uploads", Vec::new())).await?.ok()?;
        let id = begun.text().between("<UploadId>", "</UploadId>").to_owned();
        let query = format!("partNumber=1&uploadId={id}");
        let part = self.send("PUT", path, extras(&query, body)).await?.ok()?;
        let xml = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
             </CompleteMultipartUpload>",
            part.etag()
        );
        Ok((format!("uploadId={id}"), xml.into_bytes()))
    }
}

/// A part that is not there, or not known to be.
#[derive(Debug)]
pub(crate) enum NotUploaded {
    Unanswered(TransportError),
    Refused(Box<Answer>),
}

impl From<TransportError> for NotUploaded {
    fn from(error: TransportError) -> Self {
        Self::Unanswered(error)
    }
}

impl Answer {
    fn ok(self) -> Result<Self, NotUploaded> {
        if self.status == 200 { Ok(self) } else { Err(NotUploaded::Refused(Box::new(self))) }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The S3 error code in the body, or nothing.
    pub(crate) fn code(&self) -> String {
        self.text().between("<Code>", "</Code>").to_owned()
    }

    /// The entity tag in the head, without quotes, or nothing.
    pub(crate) fn etag(&self) -> String {
        let etag = self.headers.get("etag").map(|v| v.to_str().unwrap().trim_matches('"'));
        etag.unwrap_or_default().to_owned()
    }
}

/// For taking XML apart that is known to be flat.
pub(crate) trait Between {
    /// What is between the first `open` and the `close` after it, or nothing.
    fn between(&self, open: &str, close: &str) -> &str;
}

impl Between for str {
    fn between(&self, open: &str, close: &str) -> &str {
        let inner = self.split_once(open).map_or("", |(_, rest)| rest);
        inner.split_once(close).map_or("", |(inner, _)| inner)
    }
}

//! How a request proves who sends it.

use crate::error::Error;
use crate::profile::Credentials;
use http::header::{AUTHORIZATION, HeaderValue};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;

impl Credentials {
    /// Signs `request` (SigV4, for `region`), or adds the token. `hash_body` has the signature cover
    /// the body, too, which costs its SHA-256: not needed where TLS guards it.
    ///
    /// # Errors
    /// If the credentials can't stand in a header.
    pub fn authorize(
        &self,
        request: &mut HttpRequest,
        region: &str,
        hash_body: bool,
    ) -> Result<(), Error> {
        match self {
            Self::AccessKey { id, secret, session_token } => {
                let credential = AwsCredential {
                    key_id: id.clone(),
                    secret_key: secret.expose().to_owned(),
                    token: session_token.as_ref().map(|token| token.expose().to_owned()),
                };
                AwsAuthorizer::new(&credential, "s3", region)
                    .with_sign_payload(hash_body)
                    .try_authorize(request, None)?;
            }
            Self::Token(token) => {
                let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                    .map_err(|error| Error::Request(error.to_string()))?;
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            Self::Anonymous => {}
        }
        Ok(())
    }
}

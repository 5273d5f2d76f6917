//! Access tokens from the gateway.

use super::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::secret::Secret;
use http::Method;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::time::Duration;

/// What a token may be asked to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Get objects and their properties.
    Read,
    /// Put objects.
    Write,
    /// Delete objects.
    Delete,
    /// List keys.
    List,
    /// Make and delete buckets, make tokens.
    Admin,
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "delete" => Ok(Self::Delete),
            "list" => Ok(Self::List),
            "admin" => Ok(Self::Admin),
            other => Err(format!("`{other}` is no verb: use read, write, delete, list or admin")),
        }
    }
}

/// The token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenRequest {
    /// Whom or what it is for; appears in the gateway's log.
    pub name: String,
    /// The only bucket it opens; any if absent.
    pub bucket: Option<String>,
    /// The only keys it opens; any if absent.
    pub prefix: Option<String>,
    /// What it allows.
    pub verbs: Vec<Verb>,
    /// How long it lasts, in whole seconds.
    #[serde(rename = "ttl_seconds", serialize_with = "seconds")]
    pub ttl: Duration,
}

/// A token just made. The gateway does not keep it: what is lost must be made anew.
#[derive(Debug, Clone, Deserialize)]
pub struct NewToken {
    /// The token itself.
    pub token: Secret,
    /// Its id, for the log and for revoking it.
    pub id: String,
    /// When it ends, RFC 3339.
    pub expires: String,
}

fn seconds<S: serde::Serializer>(ttl: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(ttl.as_secs())
}

impl Client {
    /// Makes an access token. Needs an administrator's key.
    ///
    /// # Errors
    /// Of kind [`crate::ErrorKind::AccessDenied`] if the credentials may not make tokens.
    pub async fn create_token(&self, request: &TokenRequest) -> Result<NewToken, Error> {
        let body = serde_json::to_vec(request).map_err(|e| Error::Request(e.to_string()))?;
        let answer = Call::new(Method::POST, ".coffer", "v1/tokens")
            .header("content-type", "application/json")?
            .body(body)
            .send(self)
            .await?;
        serde_json::from_slice(&answer.body).map_err(|error| answer.nonsense(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_agreed_form() {
        let request = TokenRequest {
            name: "job".to_owned(),
            bucket: Some("data".to_owned()),
            prefix: None,
            verbs: vec![Verb::Read, Verb::List],
            ttl: Duration::from_secs(3600),
        };
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"name":"job","bucket":"data","prefix":null,"verbs":["read","list"],"ttl_seconds":3600}"#
        );
    }
}

//! Static access keys: a file of key pairs with what each may do.

use super::identity::Identity;
use crate::setup::files::{self, FileError};
use coffer_core::access::Grant;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A secret of a key pair: wiped when dropped, never printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret in.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret as text, for signing or for writing to a protected file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A key pair and what its holder may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: Secret,
    /// Who holds it, for the log.
    pub name: String,
    /// What is allowed; everything else is denied.
    pub grants: Vec<Grant>,
}

/// The file `keys.toml`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// The key pairs.
    #[serde(default)]
    pub key: Vec<AccessKey>,
}

/// The access keys that a gateway knows.
#[derive(Debug, Clone)]
pub struct KeyRing {
    keys: Arc<HashMap<String, (Secret, Arc<Identity>)>>,
}

impl KeyRing {
    /// Reads `keys.toml`, which nobody but its owner may read.
    ///
    /// # Errors
    /// [`FileError`] with the file, what is wrong, and how to mend it.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let file: KeyFile = files::parse_toml(path, &files::read_secret(path)?)?;
        Self::new(file.key).map_err(|why| FileError::invalid(path, why))
    }

    /// A ring of the given keys.
    ///
    /// # Errors
    /// A sentence, when two keys share their public half.
    pub fn new(keys: Vec<AccessKey>) -> Result<Self, String> {
        let mut ring = HashMap::new();
        for key in keys {
            let identity = Arc::new(Identity::of_key(key.name, key.grants));
            if ring.insert(key.access_key.clone(), (key.secret_key, identity)).is_some() {
                return Err(format!("access key {} is listed twice", key.access_key));
            }
        }
        Ok(Self { keys: Arc::new(ring) })
    }

    /// The secret of a key, and whose it is.
    pub(crate) fn find(&self, access_key: &str) -> Option<(&Secret, Arc<Identity>)> {
        self.keys.get(access_key).map(|(secret, identity)| (secret, identity.clone()))
    }

    /// Whose key it is.
    pub fn identity(&self, access_key: &str) -> Option<Arc<Identity>> {
        self.keys.get(access_key).map(|(_, identity)| identity.clone())
    }
}

#[async_trait::async_trait]
impl S3Auth for KeyRing {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.keys.get(access_key) {
            Some((secret, _)) => Ok(SecretKey::from(secret.as_str())),
            None => Err(S3Error::with_message(
                S3ErrorCode::InvalidAccessKeyId,
                "The access key you provided does not exist in our records.".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(access_key: &str) -> AccessKey {
        AccessKey {
            access_key: access_key.into(),
            secret_key: Secret::new("very-secret".into()),
            name: "somebody".into(),
            grants: vec![Grant::root()],
        }
    }

    #[test]
    fn secrets_are_not_printed_and_keys_not_doubled() {
        let ring = KeyRing::new(vec![key("A")]).unwrap();
        assert!(!format!("{ring:?} {:?}", key("A")).contains("very-secret"));
        assert!(KeyRing::new(vec![key("A"), key("A")]).is_err());
        assert!(ring.identity("B").is_none());
    }

    #[tokio::test]
    async fn an_unknown_key_gets_the_s3_code() {
        let ring = KeyRing::new(vec![key("A")]).unwrap();
        let error = ring.get_secret_key("B").await.err().unwrap();
        assert_eq!(*error.code(), S3ErrorCode::InvalidAccessKeyId);
        assert!(ring.get_secret_key("A").await.is_ok());
    }
}

//! The client: one gateway, one identity, one pool of connections.

use crate::error::Error;
use crate::profile::{Credentials, Profile};
use crate::retry::RetryPolicy;
use crate::transport::{Timeouts, Transport};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::{ClientOptions as StoreOptions, ObjectStore};
use std::sync::Arc;

/// What a program may set that is no matter of the user's profile.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// When to try again.
    pub retry: RetryPolicy,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// A client of one gateway. Cheap to clone; clones share the connections.
///
/// Objects are read and written through [`Client::bucket`], which is an
/// [`ObjectStore`]; buckets, listings and tokens are methods here.
///
/// ```no_run
/// use coffer_client::{Client, Profile, ProfileOptions};
/// use object_store::{ObjectStoreExt, path::Path};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let profile = Profile::load(&ProfileOptions::default())?;
/// let client = Client::connect(profile)?;
/// client.create_bucket("data").await?;
/// let data = client.bucket("data")?;
/// data.put(&Path::from("greeting"), "hello".into()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    profile: Profile,
    options: ClientOptions,
    transport: Transport,
}

impl Client {
    /// A client with default options. Nothing is sent before the first request.
    ///
    /// # Errors
    /// If the trusted authorities can't be loaded.
    pub fn connect(profile: Profile) -> Result<Self, Error> {
        Self::with_options(profile, ClientOptions::default())
    }

    /// A client with the given options. Nothing is sent before the first request.
    ///
    /// # Errors
    /// If the trusted authorities can't be loaded.
    pub fn with_options(profile: Profile, options: ClientOptions) -> Result<Self, Error> {
        let transport = Transport::new(&profile, &options.timeouts)?;
        Ok(Self { inner: Arc::new(Inner { profile, options, transport }) })
    }

    /// The profile in use.
    pub fn profile(&self) -> &Profile {
        &self.inner.profile
    }

    /// The connections, for requests of other kinds.
    pub fn transport(&self) -> &Transport {
        &self.inner.transport
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// The bucket as an object store. Conditional puts (create, update by entity tag) work.
    ///
    /// # Errors
    /// If `bucket` is no bucket name. Whether it exists shows with the first request.
    pub fn bucket(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, Error> {
        Ok(Arc::new(self.s3(bucket)?))
    }

    /// As [`Client::bucket`], with the concrete type, which also signs URLs
    /// ([`object_store::signer::Signer`]) and uploads parts by number
    /// ([`object_store::multipart::MultipartStore`]).
    ///
    /// # Errors
    /// If `bucket` is no bucket name.
    pub fn s3(&self, bucket: &str) -> Result<AmazonS3, Error> {
        crate::S3Url::new(bucket, "")?;
        let profile = self.profile();
        let mut options = StoreOptions::new().with_allow_http(!profile.endpoint.is_secure());
        let mut builder = AmazonS3Builder::new()
            .with_endpoint(profile.endpoint.to_string())
            .with_region(&profile.region)
            .with_bucket_name(bucket)
            .with_virtual_hosted_style_request(false)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // TLS guards the body already; hashing it for the signature as well costs a core.
            .with_unsigned_payload(profile.endpoint.is_secure())
            .with_retry(self.options().retry.to_object_store())
            .with_http_connector(self.transport().clone());
        match &profile.credentials {
            Credentials::AccessKey { id, secret, session_token } => {
                builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
                if let Some(token) = session_token {
                    builder = builder.with_token(token.expose());
                }
            }
            Credentials::Token(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                    .map_err(|error| Error::Request(error.to_string()))?;
                value.set_sensitive(true);
                let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
                options = options.with_default_headers(headers);
                builder = builder.with_skip_signature(true);
            }
            Credentials::Anonymous => builder = builder.with_skip_signature(true),
        }
        Ok(builder.with_client_options(options).build()?)
    }

    /// Takes leave of the gateway, which then need not wait for this client's silence to mean it.
    /// Worth calling before a program ends; the client stays usable.
    pub async fn close(&self) {
        self.transport().close().await;
    }
}

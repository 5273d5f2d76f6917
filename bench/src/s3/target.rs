//! The store that is measured: where it is, who asks, how it is spoken to.

use super::{CustomerKey, trust};
use bytes::Bytes;
use coffer_client::object_store::client::HttpRequest;
use coffer_client::transport::{Timeouts, Transport, TransportError, client_config};
use coffer_client::{Credentials, Http3, Profile, ProfileError, ProfileOptions, Secret};
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// S3 leaves only the unreserved characters of RFC 3986 as they are.
const QUERY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// In paths the slash stays as well.
const PATH: AsciiSet = QUERY.remove(b'/');

/// The version of HTTP, which is spoken or the request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.1: as many connections as there are requests at a time.
    One,
    /// HTTP/2: all requests share a connection.
    Two,
    /// HTTP/3, likewise.
    Three,
}

impl FromStr for Http {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1" | "1.1" => Ok(Self::One),
            "2" => Ok(Self::Two),
            "3" => Ok(Self::Three),
            other => Err(format!("`{other}` is no version of HTTP: use 1.1, 2 or 3")),
        }
    }
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "1.1",
            Self::Two => "2",
            Self::Three => "3",
        })
    }
}

impl Http {
    /// Whether an answer of this version is one to a request of ours. HTTP/1.0 is how some servers
    /// answer when they are asked by 1.1.
    pub(super) fn is(self, version: http::Version) -> bool {
        match self {
            Self::One => [http::Version::HTTP_10, http::Version::HTTP_11].contains(&version),
            Self::Two => version == http::Version::HTTP_2,
            Self::Three => version == http::Version::HTTP_3,
        }
    }
}

/// How a target is described.
#[derive(Debug, Clone)]
pub struct TargetOptions {
    /// What it is called in tables.
    pub label: String,
    /// Where to look for what is not given here.
    pub profile: ProfileOptions,
    /// Access key id and secret key, in place of the profile's credentials.
    pub keys: Option<(String, Secret)>,
    /// An access token, in place of the profile's credentials.
    pub token: Option<Secret>,
    /// The authority to trust, in place of the profile's.
    pub ca_file: Option<PathBuf>,
    /// Trust anyone.
    pub insecure: bool,
    /// The version of HTTP.
    pub http: Http,
    /// How many pools of connections requests are dealt to.
    pub connections: usize,
    /// What signatures are scoped to, in place of the profile's.
    pub region: Option<String>,
    /// Whether signatures cover the bodies: by default only where there is no TLS.
    pub hash_bodies: Option<bool>,
    /// What the server is to encrypt objects with.
    pub customer_key: Option<CustomerKey>,
    /// The bucket.
    pub bucket: String,
}

/// Why a target can't be measured.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not enough is known, or something of it is wrong.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The trusted authorities can't be loaded.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The cryptography library refused its settings.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// HTTP/2 and 3 are spoken over TLS only.
    #[error("HTTP/{0} is spoken over https:// only: use --http 1.1 for http://")]
    Plain(Http),
    /// A request that must succeed did not.
    #[error("{what}: {why}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The server's answer, or why there is none.
        why: String,
    },
}

/// What is asked of a store.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The method.
    pub method: Method,
    /// The object's name; empty if it is about the bucket.
    pub key: &'a str,
    /// Names and values, in the order of names.
    pub query: &'a [(&'a str, &'a str)],
    /// The first and the last byte wanted, if not all.
    pub range: Option<(u64, u64)>,
    /// The body.
    pub body: Bytes,
}

impl<'a> Ask<'a> {
    /// About an object, or about the bucket if `key` is empty; the rest is empty.
    pub fn new(method: Method, key: &'a str) -> Self {
        Self { method, key, query: &[], range: None, body: Bytes::new() }
    }
}

/// A store, reached as its options say.
#[derive(Debug)]
pub struct Target {
    label: String,
    profile: Profile,
    http: Http,
    hash_bodies: bool,
    customer_key: Option<CustomerKey>,
    bucket: String,
    pools: Vec<Transport>,
    next: AtomicUsize,
}

impl Target {
    /// Resolves the options. Connects on the first request, not here.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn new(options: &TargetOptions) -> Result<Self, TargetError> {
        let mut profile = Profile::load(&options.profile)?;
        if let Some((id, secret)) = options.keys.clone() {
            profile.credentials = Credentials::AccessKey { id, secret, session_token: None };
        }
        if let Some(token) = options.token.clone() {
            profile.credentials = Credentials::Token(token);
        }
        if let Some(ca_file) = options.ca_file.clone() {
            profile.ca_file = Some(ca_file);
        }
        if let Some(region) = options.region.clone() {
            profile.region = region;
        }
        profile.http3 = if options.http == Http::Three { Http3::Always } else { Http3::Never };
        // One server is measured, not whichever answers.
        profile.others.clear();
        let secure = profile.endpoint.is_secure();
        if !secure && options.http != Http::One {
            return Err(TargetError::Plain(options.http));
        }
        let timeouts = Timeouts::default();
        let pool = || match secure {
            true => {
                let mut tls = match options.insecure {
                    true => trust::anyone()?,
                    false => client_config(profile.ca_file.as_deref())?,
                };
                tls.alpn_protocols = match options.http {
                    Http::One => vec![b"http/1.1".to_vec()],
                    Http::Two | Http::Three => vec![b"h2".to_vec()],
                };
                Ok::<_, TargetError>(Transport::with_tls(&profile, &timeouts, tls)?)
            }
            false => Ok(Transport::new(&profile, &timeouts)?),
        };
        Ok(Self {
            pools: (0..options.connections.max(1)).map(|_| pool()).collect::<Result<_, _>>()?,
            label: options.label.clone(),
            http: options.http,
            hash_bodies: options.hash_bodies.unwrap_or(!secure),
            customer_key: options.customer_key.clone(),
            bucket: options.bucket.clone(),
            next: AtomicUsize::new(0),
            profile,
        })
    }

    /// What it is called in tables.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        self.profile.endpoint.to_string()
    }

    /// The version of HTTP.
    pub fn http(&self) -> Http {
        self.http
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The signed request.
    ///
    /// # Errors
    /// If it can't be made, which is a matter of the key or the credentials.
    pub fn request(&self, ask: Ask<'_>) -> Result<HttpRequest, TargetError> {
        let Ask { method, key, query, range, body } = ask;
        let mut uri = format!("{}/{}", self.profile.endpoint, self.bucket);
        if !key.is_empty() {
            uri.push('/');
            uri.extend(utf8_percent_encode(key, &PATH));
        }
        for (position, (name, value)) in query.iter().enumerate() {
            uri.push(if position == 0 { '?' } else { '&' });
            uri.push_str(name);
            uri.push('=');
            uri.extend(utf8_percent_encode(value, &QUERY));
        }
        let refused = |why: String| TargetError::Refused { what: format!("{method} {uri}"), why };
        let mut builder = http::Request::builder().method(&method).uri(&uri);
        if let Some((first, last)) = range {
            builder = builder.header(http::header::RANGE, format!("bytes={first}-{last}"));
        }
        let mut request = builder.body(body.into()).map_err(|error| refused(error.to_string()))?;
        if let (Some(customer_key), false) = (&self.customer_key, key.is_empty()) {
            customer_key.add(&method, query, request.headers_mut());
        }
        self.profile
            .credentials
            .authorize(&mut request, &self.profile.region, self.hash_bodies)
            .map_err(|error| refused(error.to_string()))?;
        Ok(request)
    }

    /// The connections that the next request goes to.
    pub(super) fn pool(&self) -> &Transport {
        &self.pools[self.next.fetch_add(1, Ordering::Relaxed) % self.pools.len()]
    }

    /// Says goodbye.
    pub async fn close(&self) {
        for pool in &self.pools {
            pool.close().await;
        }
    }
}

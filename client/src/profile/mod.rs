//! Which server to talk to, as whom, and whom to trust: profiles in a configuration file, with
//! environment variables and command-line options above them.
//!
//! Each setting is taken from the first place that has it:
//!
//! 1. an option given by the caller ([`ProfileOptions`]),
//! 2. `COFFER_ENDPOINT`, `COFFER_REGION`, `COFFER_TOKEN`, `COFFER_TOKEN_FILE`, `COFFER_CA_FILE`,
//!    `COFFER_HTTP3`,
//! 3. `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_DEFAULT_REGION`,
//!    `AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` (and `AWS_SESSION_TOKEN`),
//!    `AWS_CA_BUNDLE`, unless the caller named a profile or a configuration file: keys meant for
//!    another service must not replace those asked for by name,
//! 4. the profile in the configuration file.
//!
//! A credential is taken as a whole from one place, never mixed from several.

mod file;
mod resolve;

use crate::endpoint::{Endpoint, EndpointError};
use crate::secret::Secret;
use std::path::PathBuf;
use std::str::FromStr;

/// The region used where none is configured. It only scopes signatures.
pub const DEFAULT_REGION: &str = "us-east-1";

/// Everything needed to reach a cluster.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The profile's name in the configuration file.
    pub name: String,
    /// The gateway that requests are made for, and that is tried first.
    pub endpoint: Endpoint,
    /// Further gateways of the same cluster, for when one does not answer.
    pub others: Vec<Endpoint>,
    /// Region that signatures are scoped to.
    pub region: String,
    /// Who asks.
    pub credentials: Credentials,
    /// PEM file of the only authorities to trust; the platform's authorities if absent.
    pub ca_file: Option<PathBuf>,
    /// Whether to speak HTTP/3.
    pub http3: Http3,
}

/// How requests prove who sends them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// An access key: requests are signed (SigV4).
    AccessKey {
        /// Access key id.
        id: String,
        /// Secret access key.
        secret: Secret,
        /// Session token of temporary keys.
        session_token: Option<Secret>,
    },
    /// An access token, sent as `Authorization: Bearer`.
    Token(Secret),
    /// Nothing: only what is public can be read.
    Anonymous,
}

/// Whether to speak HTTP/3 (QUIC over UDP) or HTTP/2 and 1.1 (over TCP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Http3 {
    /// HTTP/3 where it can be reached, else HTTP/2.
    #[default]
    Auto,
    /// HTTP/3 or failure.
    Always,
    /// Never HTTP/3.
    Never,
}

impl FromStr for Http3 {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => Err(ProfileError::Http3(other.to_owned())),
        }
    }
}

/// What the caller asks for before files and environment are looked at.
#[derive(Debug, Clone, Default)]
pub struct ProfileOptions {
    /// Configuration file instead of `$COFFER_CONFIG` or `~/.config/coffer/config.toml`.
    pub config: Option<PathBuf>,
    /// Profile instead of `$COFFER_PROFILE` or `default`.
    pub profile: Option<String>,
    /// Endpoint instead of the profile's, or several with commas between them.
    pub endpoint: Option<String>,
}

/// Why no usable profile could be made.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The configuration file can't be read.
    #[error("cannot read the configuration file {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file is not what it should be.
    #[error("{path} is not a valid configuration file: {reason}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why; values are left out, they may be secrets.
        reason: String,
    },
    /// A profile was asked for by name, and the file has none of that name.
    #[error("there is no [profile.{name}] in {path} (it has: {known})", path = path.display())]
    Unknown {
        /// The name asked for.
        name: String,
        /// The file.
        path: PathBuf,
        /// The names it has.
        known: String,
    },
    /// Nothing says where the gateway is.
    #[error(
        "no endpoint is configured: set `endpoint` in [profile.{profile}] of {path}, or pass \
         --endpoint, or set COFFER_ENDPOINT; `coffer-gateway dev --data DIR` writes a ready \
         file, used by `--config DIR/client.toml`",
        path = path.display()
    )]
    NoEndpoint {
        /// The profile in use.
        profile: String,
        /// The configuration file that was looked for.
        path: PathBuf,
    },
    /// An endpoint is given in two ways.
    #[error("[profile.{0}] has `endpoint` and `endpoints`: keep only one of them")]
    TwoEndpoints(String),
    /// Some endpoints are encrypted and some are not.
    #[error("the endpoints {0} differ in scheme: gateways of one cluster are all https://")]
    MixedEndpoints(String),
    /// The endpoint is not one.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Half a credential, or two at once.
    #[error("the credentials from {place} are incomplete or ambiguous: {reason}")]
    Credentials {
        /// Where they come from.
        place: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file with the access token can't be read.
    #[error("cannot read the token file {path}: {source}", path = path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An unknown word for `http3`.
    #[error("`{0}` is no value for http3: use \"auto\", \"always\" or \"never\"")]
    Http3(String),
    /// There is no home directory to look for a configuration in.
    #[error("neither COFFER_CONFIG nor XDG_CONFIG_HOME nor HOME is set: pass --config FILE")]
    NoHome,
}

impl Profile {
    /// Resolves a profile from options, the process's environment and the configuration file.
    ///
    /// # Errors
    /// If no endpoint is found, or anything that is found is unusable.
    pub fn load(options: &ProfileOptions) -> Result<Self, ProfileError> {
        Self::load_with(options, &|name| std::env::var(name).ok())
    }

    /// As [`Profile::load`], with `env` in place of the process's environment.
    ///
    /// # Errors
    /// As [`Profile::load`].
    pub fn load_with(
        options: &ProfileOptions,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ProfileError> {
        resolve::resolve(options, env)
    }
}

//! Puts options, environment and configuration file together.

use super::file::{self, ConfigFile, ProfileTable};
use super::{Credentials, DEFAULT_REGION, Http3, Profile, ProfileError, ProfileOptions};
use crate::endpoint::Endpoint;
use crate::secret::Secret;
use std::path::{Path, PathBuf};

const DEFAULT_PROFILE: &str = "default";

/// The environment, as far as it may be used.
struct Env<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    /// Whether `AWS_*` variables count (see the module's order of places).
    aws: bool,
}

impl Env<'_> {
    /// The first of `names` that is set and not empty.
    fn first(&self, names: &[&str]) -> Option<String> {
        names
            .iter()
            .filter(|name| self.aws || !name.starts_with("AWS_"))
            .find_map(|name| (self.get)(name).filter(|value| !value.is_empty()))
    }
}

pub(super) fn resolve(
    options: &ProfileOptions,
    get: &dyn Fn(&str) -> Option<String>,
) -> Result<Profile, ProfileError> {
    let named = options.profile.is_some() || options.config.is_some();
    let env = Env { get, aws: !named };
    let endpoint = options
        .endpoint
        .clone()
        .or_else(|| env.first(&["COFFER_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));

    let path = config_path(options, &env)?;
    let asked = options.profile.clone().or_else(|| env.first(&["COFFER_PROFILE"]));
    let name = asked.clone().unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
    let required = options.config.is_some() || env.first(&["COFFER_CONFIG"]).is_some();
    let mut config = match file::read(&path) {
        Err(ProfileError::Read { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound && !required =>
        {
            ConfigFile::default()
        }
        other => other?,
    };
    let table = match config.profile.remove(&name) {
        Some(table) => table,
        None if asked.is_some() => {
            let known = config.profile.keys().cloned().collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            return Err(ProfileError::Unknown { name, path, known });
        }
        None => ProfileTable::default(),
    };

    if table.endpoint.is_some() && table.endpoints.is_some() {
        return Err(ProfileError::TwoEndpoints(name));
    }
    let listed = || table.endpoints.as_ref().map(|endpoints| endpoints.join(","));
    let endpoints = endpoint.or_else(|| table.endpoint.clone()).or_else(listed);
    let Some(endpoints) = endpoints.filter(|endpoints| !endpoints.is_empty()) else {
        return Err(ProfileError::NoEndpoint { profile: name, path });
    };
    let (endpoint, others) = split_endpoints(&endpoints)?;
    let region = env.first(&["COFFER_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"]);
    let ca_file = env.first(&["COFFER_CA_FILE", "AWS_CA_BUNDLE"]).map(PathBuf::from);
    let http3 = env.first(&["COFFER_HTTP3"]).or_else(|| table.http3.clone());
    Ok(Profile {
        endpoint,
        others,
        region: region
            .or_else(|| table.region.clone())
            .unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        ca_file: ca_file.or_else(|| table.ca_file.clone()),
        http3: http3.map_or(Ok(Http3::Auto), |word| word.parse())?,
        credentials: match from_environment(&env)? {
            Some(credentials) => credentials,
            None => from_table(table, &name)?,
        },
        name,
    })
}

/// The endpoints in a list with commas, the first apart.
fn split_endpoints(list: &str) -> Result<(Endpoint, Vec<Endpoint>), ProfileError> {
    let mut endpoints = list.split(',').map(|endpoint| endpoint.trim().parse::<Endpoint>());
    let first = endpoints.next().unwrap_or_else(|| list.parse())?;
    let others = endpoints.collect::<Result<Vec<_>, _>>()?;
    if others.iter().any(|other| other.is_secure() != first.is_secure()) {
        return Err(ProfileError::MixedEndpoints(list.to_owned()));
    }
    Ok((first, others))
}

fn config_path(options: &ProfileOptions, env: &Env<'_>) -> Result<PathBuf, ProfileError> {
    if let Some(path) = &options.config {
        return Ok(path.clone());
    }
    if let Some(path) = env.first(&["COFFER_CONFIG"]) {
        return Ok(path.into());
    }
    let folder = match env.first(&["XDG_CONFIG_HOME"]) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&env.first(&["HOME"]).ok_or(ProfileError::NoHome)?).join(".config"),
    };
    Ok(folder.join("coffer/config.toml"))
}

fn from_environment(env: &Env<'_>) -> Result<Option<Credentials>, ProfileError> {
    let place = || "the environment".to_owned();
    if let Some(token) = env.first(&["COFFER_TOKEN"]) {
        return token_credentials(Secret::new(token), place()).map(Some);
    }
    if let Some(path) = env.first(&["COFFER_TOKEN_FILE"]) {
        return from_token_file(Path::new(&path)).map(Some);
    }
    let id = env.first(&["AWS_ACCESS_KEY_ID"]);
    let secret = env.first(&["AWS_SECRET_ACCESS_KEY"]).map(Secret::new);
    let session_token = env.first(&["AWS_SESSION_TOKEN"]).map(Secret::new);
    key_credentials(id, secret, session_token, place)
}

fn from_table(table: ProfileTable, name: &str) -> Result<Credentials, ProfileError> {
    let place = || format!("[profile.{name}]");
    let key = table.access_key.is_some() || table.secret_key.is_some();
    let given = [key, table.token.is_some(), table.token_file.is_some()];
    if given.iter().filter(|given| **given).count() > 1 {
        let reason = "give access_key with secret_key, or token, or token_file, but only one";
        return Err(ProfileError::Credentials { place: place(), reason });
    }
    if let Some(token) = table.token {
        return token_credentials(token, place());
    }
    if let Some(path) = &table.token_file {
        return from_token_file(path);
    }
    let key = key_credentials(table.access_key, table.secret_key, table.session_token, place)?;
    Ok(key.unwrap_or(Credentials::Anonymous))
}

fn key_credentials(
    id: Option<String>,
    secret: Option<Secret>,
    session_token: Option<Secret>,
    place: impl Fn() -> String,
) -> Result<Option<Credentials>, ProfileError> {
    let broken = |reason| ProfileError::Credentials { place: place(), reason };
    match (id, secret) {
        (Some(id), Some(secret)) => {
            let printable = Secret::new(id.clone()).fits_header()
                && secret.fits_header()
                && session_token.as_ref().is_none_or(Secret::fits_header);
            if !printable {
                return Err(broken("keys are printable ASCII without spaces"));
            }
            Ok(Some(Credentials::AccessKey { id, secret, session_token }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(broken("there is an access key id, but no secret key")),
        (None, Some(_)) => Err(broken("there is a secret key, but no access key id")),
    }
}

fn from_token_file(path: &Path) -> Result<Credentials, ProfileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ProfileError::TokenFile { path: path.to_owned(), source })?;
    file::warn_if_shared(path);
    token_credentials(Secret::new(text.trim()), path.display().to_string())
}

fn token_credentials(token: Secret, place: String) -> Result<Credentials, ProfileError> {
    if token.fits_header() {
        Ok(Credentials::Token(token))
    } else {
        let reason = "a token is printable ASCII without spaces";
        Err(ProfileError::Credentials { place, reason })
    }
}

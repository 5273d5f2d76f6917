//! The configuration file: TOML with one `[profile.NAME]` table per profile.

use super::ProfileError;
use crate::secret::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    #[serde(default)]
    pub(super) profile: BTreeMap<String, ProfileTable>,
}

/// One `[profile.NAME]` table, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileTable {
    pub(super) endpoint: Option<String>,
    pub(super) endpoints: Option<Vec<String>>,
    pub(super) region: Option<String>,
    pub(super) access_key: Option<String>,
    pub(super) secret_key: Option<Secret>,
    pub(super) session_token: Option<Secret>,
    pub(super) token: Option<Secret>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) http3: Option<String>,
}

/// Reads and checks a configuration file, and warns if others can read the secrets in it.
pub(super) fn read(path: &Path) -> Result<ConfigFile, ProfileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ProfileError::Read { path: path.to_owned(), source })?;
    let mut config: ConfigFile = toml::from_str(&text).map_err(|error| {
        // Only the message and the line: the error's own text quotes the line, secrets and all.
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        let reason = format!("line {line}: {}", without_value(error.message()));
        ProfileError::Parse { path: path.to_owned(), reason }
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for table in config.profile.values_mut() {
        for file in [&mut table.ca_file, &mut table.token_file].into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }
    let secret = |table: &ProfileTable| table.secret_key.is_some() || table.token.is_some();
    if config.profile.values().any(secret) {
        warn_if_shared(path);
    }
    Ok(config)
}

/// What was expected instead of a value of another type; the value may be a secret in the wrong
/// place.
fn without_value(message: &str) -> &str {
    let at = message.rfind(", expected ").filter(|_| message.starts_with("invalid "));
    at.map_or(message, |at| &message[at + 2..])
}

/// Warns if `path` may be read by others than its owner.
pub(super) fn warn_if_shared(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(metadata) = std::fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        let path = path.display();
        tracing::warn!("{path} holds secrets and others may read it: run `chmod 600 {path}`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_files_never_panic_and_errors_keep_secrets(
            text in "(\\[profile\\.a\\]\n|secret_key = |token = |profile = |\"s3cr3t-é\"|http3 = 1|\n|é|\\PC){0,12}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("config.toml");
            std::fs::write(&path, &text).unwrap();
            if let Err(error) = read(&path) {
                prop_assert!(!error.to_string().contains("s3cr3t"), "{}", error);
            }
        }
    }
}

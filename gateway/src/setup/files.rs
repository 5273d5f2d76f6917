//! Files: replaced atomically, and secret where they hold secrets.

use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What is wrong with a file, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A secret that others may read.
    #[error("{}: others may read this secret (mode {mode:o}); run: chmod 600 {}", .path.display(), .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its content is not what it should be.
    #[error("{}: {why}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl FileError {
    /// For content that is not what it should be.
    pub fn invalid(path: &Path, why: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), why: why.into() }
    }

    /// For `map_err` on an operation on `path`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Writes a file that anyone may read, so that after a crash there is the whole file or none.
///
/// # Errors
/// [`FileError::Io`].
pub fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    write_with(path, content, 0o644)
}

/// As [`write`], for a file that only its owner may read.
///
/// # Errors
/// [`FileError::Io`].
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), FileError> {
    write_with(path, content, 0o600)
}

fn write_with(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let attempt = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    };
    attempt().map_err(FileError::io(path))
}

/// Reads a file that is no secret.
///
/// # Errors
/// [`FileError::Io`].
pub fn read(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(FileError::io(path))
}

/// Reads a secret, which must be readable by nobody but its owner.
///
/// # Errors
/// [`FileError::Exposed`] or [`FileError::Io`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let mode = std::fs::metadata(path).map_err(FileError::io(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    read(path).map(Zeroizing::new)
}

/// Parses TOML; the error names the file, the line and the field, but shows no values.
///
/// # Errors
/// [`FileError::Invalid`].
pub fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|s| text[..s.start.min(text.len())].lines().count().max(1));
        let place = line.map(|l| format!("line {l}: ")).unwrap_or_default();
        FileError::invalid(path, format!("{place}{}", without_value(error.message())))
    })
}

/// What was expected instead of a value of another type; the value may be a secret in the wrong
/// place.
fn without_value(message: &str) -> &str {
    let at = message.rfind(", expected ").filter(|_| message.starts_with("invalid "));
    at.map_or(message, |at| &message[at + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::KeyFile;
    use crate::setup::config::{GatewayConfig, load_cluster};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_files_never_panic_and_errors_keep_values(
            text in "(\\[\\[key\\]\\]\n|listen = |code = |memory_mib = |secret_key = |\"hüsh-123\"|-1|9{30}|\n|é|\\PC){0,12}",
        ) {
            let path = Path::new("x.toml");
            let errors = [
                parse_toml::<GatewayConfig>(path, &text).err(),
                parse_toml::<KeyFile>(path, &text).err(),
            ];
            for error in errors.into_iter().flatten() {
                prop_assert!(!error.to_string().contains("hüsh-123"), "{}", error);
            }
        }

        #[test]
        fn arbitrary_cluster_maps_never_panic(
            text in "(\\{\"version\":1,\"nodes\":\\[|\\{\"id\":\"[0-9a-f]{31,33}\"|,\"weight\":(-1|0|1e999|1)|\\}|\\]|,|\\PC){0,12}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("cluster.json");
            write(&path, text.as_bytes()).unwrap();
            let _ = load_cluster(&path);
        }
    }

    #[test]
    fn a_secret_is_written_for_its_owner_only_and_refused_when_exposed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_secret(&path, b"abc").unwrap();
        assert_eq!(read_secret(&path).unwrap().as_str(), "abc");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_secret(&path).unwrap_err();
        assert!(matches!(error, FileError::Exposed { mode: 0o640, .. }));
        assert!(error.to_string().contains("chmod 600"));
    }

    #[test]
    fn errors_name_file_and_line_but_no_values() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)]
        struct T {
            secret: u32,
        }
        let error = parse_toml::<T>(Path::new("x.toml"), "\nsecret = \"hush\"\n").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("x.toml: line ") && !text.contains("hush\"\n"), "{text}");
    }
}

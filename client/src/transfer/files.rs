//! Local files: walking a folder, and the safe way from keys to paths.

use crate::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// How many files a walk runs ahead of its reader.
const WALK_AHEAD: usize = 1024;

/// A file found by [`walk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its place below the walk's root, with `/` between segments.
    pub relative: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Walks a folder in the order of names and sends its files as it finds them.
///
/// Links to files are followed, links to folders are not: they may lead in circles. What is
/// neither file nor folder is passed over. Must be called within a Tokio runtime.
pub fn walk(root: PathBuf) -> mpsc::Receiver<Result<LocalFile, Error>> {
    let (sender, receiver) = mpsc::channel(WALK_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut folders = vec![(root, String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            match read_folder(&folder, &prefix) {
                Ok((mut below, files)) => {
                    for file in files {
                        if sender.blocking_send(file).is_err() {
                            return; // nobody listens any more
                        }
                    }
                    below.reverse();
                    folders.append(&mut below);
                }
                Err(error) => {
                    if sender.blocking_send(Err(error)).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}

type Folder = (Vec<(PathBuf, String)>, Vec<Result<LocalFile, Error>>);

fn read_folder(folder: &Path, prefix: &str) -> Result<Folder, Error> {
    let failed = |error| Error::file("read the folder", folder)(error);
    let mut entries =
        fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            let source = std::io::Error::other("its name is not UTF-8, as keys must be");
            files.push(Err(Error::File { action: "upload", path, source }));
            continue;
        };
        let relative = format!("{prefix}{name}");
        match kind(&entry) {
            Ok(Kind::Folder) => folders.push((path, format!("{relative}/"))),
            Ok(Kind::File(size)) => files.push(Ok(LocalFile { path, relative, size })),
            Ok(Kind::Other) => tracing::debug!("passing over {}", path.display()),
            Err(error) => files.push(Err(Error::file("look at", path)(error))),
        }
    }
    Ok((folders, files))
}

enum Kind {
    Folder,
    File(u64),
    Other,
}

fn kind(entry: &fs::DirEntry) -> std::io::Result<Kind> {
    let file_type = entry.file_type()?;
    if file_type.is_dir() {
        return Ok(Kind::Folder);
    }
    let metadata = fs::metadata(entry.path())?;
    Ok(if metadata.is_file() { Kind::File(metadata.len()) } else { Kind::Other })
}

/// The place of `relative` (a key below the transfer's prefix) within `folder`.
///
/// # Errors
/// If it would lie outside of `folder` or has no such place: a key is chosen by whoever wrote the
/// object, and must not decide where on this machine a file appears.
pub fn local_path(folder: &Path, relative: &str) -> Result<PathBuf, Error> {
    let safe =
        |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(['\0', '\\']);
    if relative.split('/').all(safe) {
        Ok(folder.join(relative))
    } else {
        Err(Error::UnsafeKey(relative.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    #[tokio::test]
    async fn walks_in_order_and_does_not_follow_folder_links() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("b/c")).unwrap();
        for (name, text) in [("z", "zz"), ("a", "a"), ("b/c/d", "dddd"), ("b/e", "")] {
            fs::write(root.path().join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(root.path(), root.path().join("b/loop")).unwrap();
        std::os::unix::fs::symlink(root.path().join("z"), root.path().join("link")).unwrap();
        let mut files = walk(root.path().to_owned());
        let mut found = Vec::new();
        while let Some(file) = files.recv().await {
            let file = file.unwrap();
            found.push((file.relative, file.size));
        }
        let expected = [("a", 1), ("link", 2), ("z", 2), ("b/e", 0), ("b/c/d", 4)];
        assert_eq!(found, expected.map(|(name, size)| (name.to_owned(), size)));
    }

    #[tokio::test]
    async fn an_absent_root_is_an_error() {
        let mut files = walk(PathBuf::from("/nonexistent/folder"));
        assert!(files.recv().await.unwrap().is_err());
        assert!(files.recv().await.is_none());
    }

    #[test]
    fn keys_stay_within_the_folder() {
        let folder = Path::new("/data");
        assert_eq!(local_path(folder, "a/b c").unwrap(), Path::new("/data/a/b c"));
        for key in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/.", "a/", "a\\b", "a\0"] {
            assert!(matches!(local_path(folder, key), Err(Error::UnsafeKey(_))), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn no_key_escapes(key in "[a./\\\\\\x00é ]{0,24}") {
            if let Ok(path) = local_path(Path::new("/data"), &key) {
                prop_assert!(path.starts_with("/data"));
                prop_assert!(path.components().all(|c| c != Component::ParentDir));
                prop_assert!(path != Path::new("/data"));
            }
        }
    }
}

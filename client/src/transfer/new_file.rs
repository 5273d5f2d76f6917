//! A local file that appears only when it is whole.

use crate::error::Error;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that is being written beside its place, under another name.
#[derive(Debug)]
pub(crate) struct NewFile {
    temporary: NamedTempFile,
    place: PathBuf,
    folder: PathBuf,
}

/// What to do about a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Replace,
    Refuse,
}

impl NewFile {
    /// A file that is to be at `place`, whose folder is made if it isn't there: only within one
    /// file system can a file be renamed.
    pub(crate) fn beside(place: &Path) -> Result<Self, Error> {
        let folder = match place.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let failed = |error| Error::file("create a file in", &folder)(error);
        fs::create_dir_all(&folder).map_err(failed)?;
        let temporary = tempfile::Builder::new()
            .prefix(".coffer-")
            .suffix(".part")
            // As any program would create the file itself: the umask takes its share.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&folder)
            .map_err(failed)?;
        Ok(Self { temporary, place: place.to_owned(), folder })
    }

    /// To write to.
    pub(crate) fn handle(&self) -> &File {
        self.temporary.as_file()
    }

    /// Makes the file durable, checks that it has `bytes`, and gives it its name.
    pub(crate) fn put_in_place(self, bytes: u64, existing: Existing) -> Result<(), Error> {
        let place = self.place;
        let failed = |error| Error::file("write", &place)(error);
        self.temporary.as_file().sync_all().map_err(failed)?;
        let length = self.temporary.as_file().metadata().map_err(failed)?.len();
        if length != bytes {
            let error = std::io::Error::other(format!("{length} bytes instead of {bytes}"));
            return Err(failed(error));
        }
        let named = match existing {
            Existing::Replace => self.temporary.persist(&place),
            Existing::Refuse => self.temporary.persist_noclobber(&place),
        };
        named.map_err(|error| failed(error.error))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

//! Where the parts of an upload come from.

use crate::error::Error;
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Gives the bytes of an upload in order.
pub(super) trait Source: Send {
    /// The next `size` bytes, fewer only at the end; `None` when there are no more.
    fn next(&mut self, size: u64) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;

    /// Called once after the last part, before the upload is completed.
    fn finish(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }
}

/// A local file.
pub(super) struct FileSource {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
    at: u64,
}

impl FileSource {
    pub(super) async fn open(path: PathBuf) -> Result<Self, Error> {
        let open = move || {
            let look = || {
                let file = File::open(&path)?;
                let metadata = file.metadata()?;
                Ok((file, metadata))
            };
            let (file, metadata) = look().map_err(Error::file("open", &path))?;
            if metadata.is_dir() {
                let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
                return Err(Error::File { action: "upload", path, source });
            }
            let (size, modified) = (metadata.len(), metadata.modified().ok());
            Ok(Self { file: Arc::new(file), path, size, modified, at: 0 })
        };
        blocking(open).await
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether the file has a size that can be relied on; pipes and devices have none.
    pub(super) fn is_regular(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.is_file())
    }

    /// The file as a stream.
    pub(super) fn into_reader(self) -> Result<tokio::fs::File, Error> {
        let file = self.file.try_clone().map_err(Error::file("open", &self.path))?;
        Ok(tokio::fs::File::from_std(file))
    }
}

impl Source for FileSource {
    async fn next(&mut self, size: u64) -> Result<Option<Bytes>, Error> {
        let length = size.min(self.size - self.at);
        if length == 0 {
            return Ok(None);
        }
        let (file, path, at) = (Arc::clone(&self.file), self.path.clone(), self.at);
        self.at += length;
        let read = move || {
            let mut data = vec![0; in_memory(length)?];
            match file.read_exact_at(&mut data, at) {
                Ok(()) => Ok(Some(Bytes::from(data))),
                // The file got shorter than it was when we opened it.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Err(Error::SourceChanged(path))
                }
                Err(error) => Err(Error::file("read", path)(error)),
            }
        };
        blocking(read).await
    }

    /// A file that was written to meanwhile may have given parts of different states.
    async fn finish(&mut self) -> Result<(), Error> {
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        let before = (self.size, self.modified);
        let check = move || {
            let metadata = file.metadata().map_err(Error::file("look at", &path))?;
            if (metadata.len(), metadata.modified().ok()) == before {
                Ok(())
            } else {
                Err(Error::SourceChanged(path))
            }
        };
        blocking(check).await
    }
}

/// A stream of unknown length.
pub(super) struct StreamSource<R>(pub(super) R);

impl<R: AsyncRead + Unpin + Send> Source for StreamSource<R> {
    async fn next(&mut self, size: u64) -> Result<Option<Bytes>, Error> {
        let mut data = BytesMut::new();
        let mut limited = (&mut self.0).take(size);
        loop {
            let read = limited.read_buf(&mut data).await;
            if read.map_err(|source| Error::Stream { action: "read the input", source })? == 0 {
                return Ok((!data.is_empty()).then(|| data.freeze()));
            }
        }
    }
}

/// Runs file operations where they may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            let source = std::io::Error::other(error);
            Err(Error::Stream { action: "finish a file operation", source })
        }
    }
}

/// A length as a size in memory.
pub(super) fn in_memory(length: u64) -> Result<usize, Error> {
    usize::try_from(length).map_err(|_| Error::TooLarge {
        size: length,
        limit: u64::try_from(usize::MAX).unwrap_or(u64::MAX),
    })
}

//! Downloads: parallel ranges into a file that appears only when it is whole, or in order into a
//! stream.

use super::files::local_path;
use super::new_file::{Existing, NewFile};
use super::plan::PartPlan;
use super::source::blocking;
use super::{Transfer, Transferred, store_path};
use crate::error::Error;
use crate::url::S3Url;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path as StorePath;
use object_store::{GetOptions, GetRange, ObjectStore};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;

/// Bytes of an object, as in an HTTP Range header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From an offset up to and including another; to the end if that is absent.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Last(u64),
}

impl ByteRange {
    /// The bytes meant in an object of `size` bytes.
    pub fn within(self, size: u64) -> Range<u64> {
        match self {
            Self::From(start, end) => {
                let end = end.map_or(size, |end| end.saturating_add(1).min(size));
                start.min(end)..end
            }
            Self::Last(length) => size.saturating_sub(length)..size,
        }
    }
}

impl std::str::FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("`{text}` is no range: write FIRST-LAST, FIRST- or -COUNT");
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| usage());
        let (start, end) = text.split_once('-').ok_or_else(usage)?;
        match (start, end) {
            ("", count) => Ok(Self::Last(number(count)?)),
            (start, "") => Ok(Self::From(number(start)?, None)),
            (start, end) => {
                let (start, end) = (number(start)?, number(end)?);
                if start <= end { Ok(Self::From(start, Some(end))) } else { Err(usage()) }
            }
        }
    }
}

/// One state of one object: what is read belongs together or is not read at all.
#[derive(Clone)]
struct Reading {
    transfer: Transfer,
    store: Arc<dyn ObjectStore>,
    path: StorePath,
    from: S3Url,
    etag: Option<String>,
}

impl Transfer {
    /// Downloads an object into `file`, which is replaced in one step when all is there.
    ///
    /// # Errors
    /// If the object is absent or changes meanwhile, or the file can't be written. `file` is then
    /// as it was.
    pub async fn download_file(&self, from: &S3Url, file: &Path) -> Result<Transferred, Error> {
        let info = self.unless_cancelled(self.client.head(from)).await?;
        self.download_known(from, info.size, info.etag, file).await
    }

    /// As [`Transfer::download_file`], for an object whose size and entity tag are known from a
    /// listing.
    ///
    /// # Errors
    /// As [`Transfer::download_file`].
    pub async fn download_known(
        &self,
        from: &S3Url,
        size: u64,
        etag: Option<String>,
        file: &Path,
    ) -> Result<Transferred, Error> {
        let reading = self.reading(from, etag)?;
        if is_special(file) {
            let output = tokio::fs::OpenOptions::new().write(true).open(file).await;
            let output = output.map_err(Error::file("open", file))?;
            return self.unless_cancelled(reading.stream(0..size, output)).await;
        }
        self.unless_cancelled(reading.into_file(size, file.to_owned())).await
    }

    /// Downloads an object from a listing below `prefix` to its place within `folder`.
    ///
    /// # Errors
    /// As [`Transfer::download_file`], and if the key has no safe place there.
    pub async fn download_into(
        &self,
        prefix: &S3Url,
        object: &crate::ObjectEntry,
        folder: &Path,
    ) -> Result<Transferred, Error> {
        let relative = object.key.strip_prefix(&prefix.folder()).unwrap_or(&object.key);
        let file = local_path(folder, relative)?;
        let from = S3Url::new(prefix.bucket(), &object.key)?;
        self.download_known(&from, object.size, object.etag.clone(), &file).await
    }

    /// Writes an object, or a range of it, to `output` in order.
    ///
    /// # Errors
    /// If the object is absent or changes meanwhile, or `output` fails.
    pub async fn download_stream(
        &self,
        from: &S3Url,
        range: Option<ByteRange>,
        output: impl AsyncWrite + Unpin,
    ) -> Result<Transferred, Error> {
        let work = async {
            let info = self.client.head(from).await?;
            let range = range.map_or(0..info.size, |range| range.within(info.size));
            self.reading(from, info.etag)?.stream(range, output).await
        };
        self.unless_cancelled(work).await
    }

    fn reading(&self, from: &S3Url, etag: Option<String>) -> Result<Reading, Error> {
        let (store, path) = (self.client.bucket(from.bucket())?, store_path(from)?);
        Ok(Reading { transfer: self.clone(), store, path, from: from.clone(), etag })
    }
}

impl Reading {
    /// Fetches one range into memory.
    async fn fetch(&self, range: Range<u64>) -> Result<Vec<Bytes>, Error> {
        let wanted = range.end - range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.etag.clone(),
            ..GetOptions::default()
        };
        let result = self.store.get_opts(&self.path, options).await.map_err(Error::from);
        let result = result.map_err(|error| error.or_changed(&self.from))?;
        let mut body = result.into_stream();
        let (mut pieces, mut got) = (Vec::new(), 0);
        while let Some(piece) = body.try_next().await? {
            got += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.transfer.progress.advance(u64::try_from(piece.len()).unwrap_or(0));
            pieces.push(piece);
        }
        if got != wanted {
            let reason = format!("{got} bytes came where {wanted} were asked for");
            return Err(Error::Answer { request: format!("GET {}", self.from), reason });
        }
        Ok(pieces)
    }

    /// Writes `range` to `output` in order, the next parts being fetched meanwhile.
    async fn stream(
        self,
        range: Range<u64>,
        mut output: impl AsyncWrite + Unpin,
    ) -> Result<Transferred, Error> {
        let failed = |source| Error::Stream { action: "write the output", source };
        let bytes = range.end - range.start;
        let plan = PartPlan::over(range, self.transfer.options.part_bytes);
        let budget = &self.transfer.budget;
        let mut parts = stream::iter(plan.parts())
            .map(|part| async {
                let share = budget.share(plan.part_bytes()).await?;
                Ok::<_, Error>((self.fetch(part).await?, share))
            })
            .buffered(budget.shares(plan.part_bytes()));
        while let Some((pieces, _share)) = parts.try_next().await? {
            for piece in pieces {
                output.write_all(&piece).await.map_err(failed)?;
            }
        }
        output.flush().await.map_err(failed)?;
        drop(parts);
        Ok(Transferred { bytes, etag: self.etag })
    }

    /// Fetches the object into a temporary file beside `file`, and puts that in its place.
    async fn into_file(self, size: u64, file: PathBuf) -> Result<Transferred, Error> {
        let create = {
            let file = file.clone();
            move || {
                let new = NewFile::beside(&file)?;
                let sized = new.handle().set_len(size).and_then(|()| new.handle().try_clone());
                let handle = sized.map_err(Error::file("write", file))?;
                Ok((new, Arc::new(handle)))
            }
        };
        let (new, handle) = blocking(create).await?;

        let plan = PartPlan::over(0..size, self.transfer.options.part_bytes);
        let mut running = JoinSet::new();
        for part in plan.parts() {
            let share = loop {
                tokio::select! {
                    share = self.transfer.budget.share(part.end - part.start) => break share?,
                    Some(done) = running.join_next() => flatten(done)?,
                }
            };
            let (reading, handle, target) = (self.clone(), Arc::clone(&handle), file.clone());
            running.spawn(async move {
                let at = part.start;
                let pieces = reading.fetch(part).await?;
                let write = move || write_at(&handle, &pieces, at, &target);
                blocking(write).await?;
                drop(share);
                Ok(())
            });
        }
        while let Some(done) = running.join_next().await {
            flatten(done)?;
        }
        blocking(move || new.put_in_place(size, Existing::Replace)).await?;
        Ok(Transferred { bytes: size, etag: self.etag })
    }
}

fn write_at(handle: &File, pieces: &[Bytes], mut at: u64, target: &Path) -> Result<(), Error> {
    for piece in pieces {
        handle.write_all_at(piece, at).map_err(Error::file("write", target))?;
        at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
    }
    Ok(())
}

/// Whether `file` exists and is something to write into rather than to replace, as `/dev/null`.
fn is_special(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn flatten(done: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    done.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(Error::Stream { action: "download a part", source })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_in_http_and_cut_to_the_object() {
        for (text, size, range) in [
            ("0-9", 100, 0..10),
            ("90-200", 100, 90..100),
            ("90-", 100, 90..100),
            ("-10", 100, 90..100),
            ("-200", 100, 0..100),
            ("5-5", 100, 5..6),
            ("200-300", 100, 100..100),
            ("0-18446744073709551615", 100, 0..100),
            ("0-0", 0, 0..0),
        ] {
            assert_eq!(text.parse::<ByteRange>().unwrap().within(size), range, "{text}");
        }
        for text in ["", "-", "5", "9-5", "a-b", "1-2-3", "+1-2x"] {
            assert!(text.parse::<ByteRange>().is_err(), "{text}");
        }
    }
}

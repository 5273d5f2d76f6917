//! Uploads: one request for small objects, parallel parts for others.

use super::plan::{PartPlan, stream_part_bytes};
use super::source::{FileSource, Source, StreamSource};
use super::{Transfer, Transferred, content_type, store_path};
use crate::error::Error;
use crate::url::S3Url;
use object_store::{
    Attribute, AttributeValue, Attributes, MultipartUpload, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::task::JoinSet;

/// How long to try to tell the gateway that an upload will not be completed.
const ABORT_LIMIT: Duration = Duration::from_secs(5);

impl Transfer {
    /// Uploads a file. Its name's ending gives the media type, unless one is given.
    ///
    /// # Errors
    /// If the file can't be read, changes meanwhile, or the gateway does not take it. The object
    /// is then not visible in part.
    pub async fn upload_file(
        &self,
        file: &Path,
        to: &S3Url,
        media_type: Option<&str>,
    ) -> Result<Transferred, Error> {
        let source = FileSource::open(file.to_owned()).await?;
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let media_type = media_type.unwrap_or_else(|| content_type(name));
        if !source.is_regular() {
            return self.upload_stream(source.into_reader()?, to, media_type).await;
        }
        let plan = PartPlan::new(source.size(), self.options.part_bytes)?;
        let part = plan.part_bytes();
        self.upload(source, to, media_type, move |_| part).await
    }

    /// Uploads what `input` gives until it ends.
    ///
    /// # Errors
    /// If `input` fails or the gateway does not take the object.
    pub async fn upload_stream<R>(
        &self,
        input: R,
        to: &S3Url,
        media_type: &str,
    ) -> Result<Transferred, Error>
    where
        R: AsyncRead + Unpin + Send,
    {
        let wanted = self.options.part_bytes;
        let sizes = move |index| stream_part_bytes(wanted, index);
        self.upload(StreamSource(input), to, media_type, sizes).await
    }

    /// Uploads `source`; part `i` has `part_bytes(i)` bytes.
    async fn upload(
        &self,
        mut source: impl Source,
        to: &S3Url,
        media_type: &str,
        part_bytes: impl Fn(u64) -> u64 + Send,
    ) -> Result<Transferred, Error> {
        let media_type = AttributeValue::from(media_type.to_owned());
        let attributes = Attributes::from_iter([(Attribute::ContentType, media_type)]);
        let store = self.client.bucket(to.bucket())?;
        let path = store_path(to)?;
        let first_bytes = part_bytes(0);

        let share = self.budget.share(first_bytes).await?;
        let first = self.unless_cancelled(source.next(first_bytes)).await?.unwrap_or_default();
        let length = u64_len(&first);
        if length < first_bytes {
            // The whole object, found out without knowing its size.
            source.finish().await?;
            let options = PutOptions { attributes, ..PutOptions::default() };
            let put = store.put_opts(&path, first.into(), options);
            let put = async { put.await.map_err(Error::from) };
            let result = self.unless_cancelled(put).await?;
            drop(share);
            self.progress.advance(length);
            return Ok(Transferred { bytes: length, etag: result.e_tag });
        }

        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let create = store.put_multipart_opts(&path, options);
        let create = async { create.await.map_err(Error::from) };
        let mut upload = self.unless_cancelled(create).await?;
        let mut parts = Parts { transfer: self, running: JoinSet::new(), bytes: 0 };
        let work = async {
            parts.start(&mut *upload, first.into(), share);
            parts.run(&mut *upload, &mut source, part_bytes).await?;
            source.finish().await?;
            Ok::<PutResult, Error>(upload.complete().await?)
        };
        match self.unless_cancelled(work).await {
            Ok(result) => Ok(Transferred { bytes: parts.bytes, etag: result.e_tag }),
            Err(error) => {
                parts.running.shutdown().await;
                abandon(upload.abort(), to).await;
                Err(error)
            }
        }
    }
}

/// Tells the gateway to forget the parts it has.
pub(super) async fn abandon(abort: impl Future<Output = object_store::Result<()>>, to: &S3Url) {
    match tokio::time::timeout(ABORT_LIMIT, abort).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("cannot abort the upload to {to}: {error}"),
        Err(_) => tracing::warn!("cannot abort the upload to {to}: no answer"),
    }
}

/// The parts of one upload that are under way.
struct Parts<'a> {
    transfer: &'a Transfer,
    /// Tasks, so that parts move while the source is waited for.
    running: JoinSet<Result<u64, Error>>,
    bytes: u64,
}

impl Parts<'_> {
    /// Reads and sends part after part, as many at a time as the memory budget has room for.
    async fn run(
        &mut self,
        upload: &mut dyn MultipartUpload,
        source: &mut impl Source,
        part_bytes: impl Fn(u64) -> u64,
    ) -> Result<(), Error> {
        for index in 1.. {
            let size = part_bytes(index);
            let share = loop {
                tokio::select! {
                    share = self.transfer.budget.share(size) => break share?,
                    Some(done) = self.running.join_next() => self.finished(done)?,
                }
            };
            let Some(data) = source.next(size).await? else { break };
            self.start(upload, data.into(), share);
        }
        while let Some(done) = self.running.join_next().await {
            self.finished(done)?;
        }
        Ok(())
    }

    fn start(
        &mut self,
        upload: &mut dyn MultipartUpload,
        data: PutPayload,
        share: super::budget::Share,
    ) {
        let length = u64::try_from(data.content_length()).unwrap_or(u64::MAX);
        let sending = upload.put_part(data);
        self.running.spawn(async move {
            sending.await?;
            drop(share);
            Ok(length)
        });
    }

    fn finished(
        &mut self,
        done: Result<Result<u64, Error>, tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let length = done.map_err(|error| {
            let source = std::io::Error::other(error);
            Error::Stream { action: "upload a part", source }
        })??;
        self.bytes += length;
        self.transfer.progress.advance(length);
        Ok(())
    }
}

fn u64_len(data: &[u8]) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

//! Copies from object to object, made by the gateway; no byte passes through this machine.

use super::plan::PartPlan;
use super::{Transfer, Transferred, store_path};
use crate::error::Error;
use crate::s3::{ObjectInfo, PartCopy};
use crate::url::S3Url;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::{Attribute, Attributes, PutMultipartOptions};

/// How many parts of one copy the gateway makes at a time.
const PARTS_AT_A_TIME: usize = 4;

impl Transfer {
    /// Copies an object, in parts if it is large. Media type and metadata go along.
    ///
    /// # Errors
    /// If the object is absent, changes meanwhile or may not be read, or the copy may not be
    /// written.
    pub async fn copy(&self, from: &S3Url, to: &S3Url) -> Result<Transferred, Error> {
        let info = self.unless_cancelled(self.client.head(from)).await?;
        if info.size > self.options.copy_bytes {
            return self.copy_in_parts(from, to, info).await;
        }
        let etag = self.unless_cancelled(self.client.copy(from, to)).await?;
        self.progress.advance(info.size);
        Ok(Transferred { bytes: info.size, etag })
    }

    async fn copy_in_parts(
        &self,
        from: &S3Url,
        to: &S3Url,
        info: ObjectInfo,
    ) -> Result<Transferred, Error> {
        let plan = PartPlan::new(info.size, self.options.copy_bytes)?;
        let (store, path) = (self.client.s3(to.bucket())?, store_path(to)?);
        let attributes = attributes(&info);
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let id = store.create_multipart_opts(&path, options).await?;
        let work = async {
            let part = |(index, range): (usize, std::ops::Range<u64>)| {
                let length = range.end - range.start;
                let part = PartCopy {
                    from,
                    etag: info.etag.as_deref(),
                    range,
                    to,
                    upload_id: &id,
                    number: index + 1,
                };
                async move {
                    let copied = self.client.copy_part(part).await;
                    let content_id = copied.map_err(|error| error.or_changed(from))?;
                    self.progress.advance(length);
                    Ok::<_, Error>(PartId { content_id })
                }
            };
            let parts = stream::iter(plan.parts().enumerate()).map(part);
            let parts = parts.buffered(PARTS_AT_A_TIME).try_collect().await?;
            Ok(store.complete_multipart(&path, &id, parts).await?)
        };
        match self.unless_cancelled(work).await {
            Ok(result) => Ok(Transferred { bytes: info.size, etag: result.e_tag }),
            Err(error) => {
                super::upload::abandon(store.abort_multipart(&path, &id), to).await;
                Err(error)
            }
        }
    }
}

/// What CopyObject would take along by itself.
fn attributes(info: &ObjectInfo) -> Attributes {
    let mut attributes = Attributes::new();
    if let Some(media_type) = &info.content_type {
        attributes.insert(Attribute::ContentType, media_type.clone().into());
    }
    for (name, value) in &info.metadata {
        attributes.insert(Attribute::Metadata(name.clone().into()), value.clone().into());
    }
    attributes
}

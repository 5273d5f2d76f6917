//! Copies from object to object.

use super::plan::PartPlan;
use super::source::ObjectSource;
use super::{Transfer, Transferred};
use crate::error::Error;
use crate::s3::COPY_LIMIT;
use crate::url::S3Url;
use object_store::{Attribute, Attributes};

impl Transfer {
    /// Copies an object, by the gateway itself up to 5 GiB, through this client above that. Media
    /// type and metadata go along.
    ///
    /// # Errors
    /// If the object is absent or may not be read, or the copy may not be written.
    pub async fn copy(&self, from: &S3Url, to: &S3Url) -> Result<Transferred, Error> {
        let info = self.unless_cancelled(self.client.head(from)).await?;
        if info.size <= COPY_LIMIT {
            let etag = self.unless_cancelled(self.client.copy(from, to)).await?;
            self.progress.advance(info.size);
            return Ok(Transferred { bytes: info.size, etag });
        }
        let mut attributes = Attributes::new();
        if let Some(media_type) = info.content_type {
            attributes.insert(Attribute::ContentType, media_type.into());
        }
        for (name, value) in info.metadata {
            attributes.insert(Attribute::Metadata(name.into()), value.into());
        }
        let part = PartPlan::new(info.size, self.options.part_bytes)?.part_bytes();
        let source = ObjectSource::new(&self.client, from, info.size, info.etag)?;
        self.upload_with(source, to, attributes, move |_| part).await
    }
}

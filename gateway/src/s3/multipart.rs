//! Multipart uploads.

use super::checksums::{Promised, checksum_type, show_checksums};
use super::conditions::preconditions;
use super::convert::{self, refuse_unsupported};
use super::encryption::{
    CustomerKey, check_customer, customer_key, show_encryption, show_managed, sse_headers,
};
use super::errors::{s3, to_s3};
use super::new_object::new_object;
use super::put::{body_length, check_length, committed_version};
use super::{CofferS3, lifecycle, now_ms, shown_version, upload_checksums};
use coffer_core::catalog::records::{Encryption, PartRecord, UploadRecord};
use coffer_core::catalog::{CatalogError, Command, Outcome, Scope};
use coffer_core::ids::{BucketName, ObjectKey, PartNumber, UploadId, VersionId};
use coffer_core::manifest::{Checksums, ETag};
use s3s::dto::*;
use s3s::{Body, S3ErrorCode, S3Request, S3Result};

impl CofferS3 {
    pub(super) async fn begin_upload(
        &self,
        mut input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        refuse_unsupported!(input);
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = UploadId::from_bytes(self.random_id()?);
        let object = new_object!(input)?;
        let sse = sse_headers!(input)?;
        let checksum = upload_checksums::asked(
            input.checksum_algorithm.as_ref(),
            input.checksum_type.as_ref(),
        )?;
        let opened = self.open_bucket(&bucket).await?;
        let encryption = self.encryption_of(&sse, &opened.record.settings)?;
        let mut output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload.to_string()),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: checksum.as_ref().map(upload_checksums::type_of),
            ..CreateMultipartUploadOutput::default()
        };
        show_encryption!(output, &encryption, sse.customer.as_ref());
        let record = UploadRecord {
            initiated_ms: now_ms(),
            headers: object.headers,
            tags: object.tags,
            lock: object.lock,
            encryption,
            checksum,
        };
        (output.abort_date, output.abort_rule_id) =
            lifecycle::abort(&opened.record.settings, &key, record.initiated_ms);
        let command = Command::CreateUpload { bucket, key, upload, record };
        self.catalog.submit(command).await.map_err(to_s3)?;
        Ok(output)
    }

    /// An upload in progress.
    pub(super) async fn begun_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
    ) -> S3Result<UploadRecord> {
        let scope = Scope::Object(bucket, key);
        self.catalog.read(scope, |c| c.upload(bucket, key, upload)).await.map_err(to_s3)
    }

    pub(super) async fn put_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<UploadPartOutput> {
        let mut input = req.input;
        let customer = customer_key!(input)?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = convert::upload_id(&input.upload_id)?;
        let number = PartNumber::new(i64::from(input.part_number)).map_err(to_s3)?;
        let expected = body_length(input.content_length)?;
        let promised = Promised::from_headers(&req.headers, req.trailing_headers)?;
        // Before the body is taken in: a part of no upload would only be thrown away.
        let begun = self.begun_upload(&bucket, &key, upload).await?;
        let opened = self.open_bucket(&bucket).await?;
        let keys = self.keys_for(&opened, &begun.encryption, customer.as_ref())?;
        let algorithm = begun.checksum.as_ref().map(|c| c.algorithm.as_str());

        let body = input.body.unwrap_or_else(|| StreamingBlob::from(Body::empty()));
        let hasher = promised.part_hasher(algorithm)?;
        let (mut part, hasher) =
            self.engine.write_part(&keys, body, expected, hasher).await.map_err(to_s3)?;
        part.checksums = check_length(expected, part.size)
            .and_then(|()| promised.verify(part.md5, hasher))
            .inspect_err(|_| self.engine.discard(part.clone()))?;
        let mut output = UploadPartOutput {
            e_tag: Some(convert::etag(ETag::Whole(part.md5))),
            ..UploadPartOutput::default()
        };
        show_encryption!(output, &begun.encryption, customer.as_ref());
        show_checksums!(output, &part.checksums);
        let record = Box::new(PartRecord { modified_ms: now_ms(), part: part.clone() });
        self.commit(Command::PutPart { bucket, key, upload, number, record }, part).await?;
        Ok(output)
    }

    pub(super) async fn complete(
        &self,
        mut input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let customer = customer_key!(input)?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = convert::upload_id(&input.upload_id)?;
        match self.complete_new(&bucket, &key, upload, &input, customer.as_ref()).await {
            // The answer to a first completion may have been lost.
            Err(error) if *error.code() == S3ErrorCode::NoSuchUpload => {
                self.completed_before(&bucket, &key, upload).await?.ok_or(error)
            }
            outcome => outcome,
        }
    }

    async fn complete_new(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        input: &CompleteMultipartUploadInput,
        customer: Option<&CustomerKey>,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let requested = requested_parts(input.multipart_upload.as_ref())?;
        let scope = Scope::Object(bucket, key);
        let find =
            self.catalog.read(scope, |c| Ok((c.upload(bucket, key, upload)?, c.parts(upload)?)));
        let (begun, uploaded) = find.await.map_err(to_s3)?;
        // As in S3, the client's key is needed only where there are checksums.
        if customer.is_some() || begun.checksum.is_some() {
            check_customer(&begun.encryption, customer)?;
        }
        // That these are the parts that will be chosen, the catalog makes sure by their etags.
        let mut chosen = Vec::with_capacity(requested.len());
        for (number, _, named) in &requested {
            let missing = || to_s3(CatalogError::InvalidPart(*number));
            let part = &uploaded.get(number).ok_or_else(missing)?.part;
            upload_checksums::check_part(named, part)?;
            chosen.push(part);
        }
        let size: u64 = chosen.iter().map(|part| part.size).sum();
        if input.mpu_object_size.is_some_and(|asked| u64::try_from(asked) != Ok(size)) {
            let message = format!("The parts have {size} bytes, not what was announced.");
            return Err(s3(S3ErrorCode::InvalidRequest, message));
        }
        let checksums = upload_checksums::of_object(begun.checksum.as_ref(), &chosen)?;
        upload_checksums::check_object(input, &checksums)?;
        let command = Command::CompleteUpload {
            bucket: bucket.clone(),
            key: key.clone(),
            upload,
            parts: requested.into_iter().map(|(number, etag, _)| (number, etag)).collect(),
            version: VersionId::from_bytes(self.random_id()?),
            checksums: checksums.clone(),
            preconditions: preconditions(input.if_match.clone(), input.if_none_match.clone()),
            at_ms: now_ms(),
        };
        let outcome = self.catalog.submit(command).await.map_err(to_s3)?;
        let mut output = completed(bucket, key, &begun.encryption, &checksums);
        output.version_id = committed_version(&outcome);
        output.expiration = self.expiration_of(bucket, key).await;
        if let Outcome::Committed { etag, .. } = outcome {
            output.e_tag = Some(convert::etag(etag));
        }
        Ok(output)
    }

    /// What a completion of this upload was answered, if its object is still the current one.
    async fn completed_before(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
    ) -> S3Result<Option<CompleteMultipartUploadOutput>> {
        let record = self.bucket_record(bucket).await?;
        let scope = Scope::Object(bucket, key);
        let current = self.catalog.read(scope, |c| c.current(bucket, key)).await.map_err(to_s3)?;
        Ok(current.filter(|c| c.record.upload == Some(upload)).map(|current| {
            let object = &current.record;
            let mut output = completed(bucket, key, &object.encryption, &object.checksums);
            output.e_tag = Some(convert::etag(object.etag));
            output.version_id = shown_version(&record, current.name());
            output
        }))
    }

    pub(super) async fn abort(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let command = Command::AbortUpload {
            bucket: convert::bucket(&input.bucket)?,
            key: convert::key(&input.key)?,
            upload: convert::upload_id(&input.upload_id)?,
            at_ms: now_ms(),
        };
        self.catalog.submit(command).await.map_err(to_s3)?;
        Ok(AbortMultipartUploadOutput::default())
    }
}

/// The answer to a completion, but for etag and version.
fn completed(
    bucket: &BucketName,
    key: &ObjectKey,
    encryption: &Encryption,
    checksums: &Checksums,
) -> CompleteMultipartUploadOutput {
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{key}")),
        bucket: Some(bucket.to_string()),
        key: Some(key.to_string()),
        ..CompleteMultipartUploadOutput::default()
    };
    show_managed!(output, encryption);
    show_checksums!(output, checksums);
    output.checksum_type = checksum_type(checksums);
    output
}

/// The parts that a completion names, with number and etag.
fn requested_parts(
    upload: Option<&CompletedMultipartUpload>,
) -> S3Result<Vec<(PartNumber, String, &CompletedPart)>> {
    let malformed = |what: &str| s3(S3ErrorCode::MalformedXML, what.to_owned());
    let parts = upload
        .and_then(|u| u.parts.as_ref())
        .filter(|p| !p.is_empty())
        .ok_or_else(|| malformed("The completion names no parts."))?;
    parts
        .iter()
        .map(|part| {
            let number = part.part_number.ok_or_else(|| malformed("A part has no number."))?;
            let number = PartNumber::new(i64::from(number)).map_err(to_s3)?;
            let etag = part.e_tag.clone().ok_or_else(|| malformed("A part has no ETag."))?;
            Ok((number, etag.into_value(), part))
        })
        .collect()
}

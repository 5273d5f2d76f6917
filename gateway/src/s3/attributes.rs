//! What is known of an object, as far as the client asks: GetObjectAttributes.

use super::checksums::{checksum_type, show_checksums};
use super::convert;
use super::encryption::{check_customer, customer_key};
use super::errors::{s3, to_s3};
use super::{Answer, CofferS3, shown_version};
use coffer_core::catalog::Scope;
use coffer_core::manifest::{self, Manifest};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Response, S3Result};

/// The most parts of one answer (as in S3).
const MAX_PARTS: usize = 1000;

impl CofferS3 {
    pub(super) async fn attributes(
        &self,
        mut input: GetObjectAttributesInput,
    ) -> Answer<GetObjectAttributesOutput> {
        let customer = customer_key!(input)?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let name = convert::version(input.version_id.as_deref())?;
        // One header with commas is as good as several headers.
        let wanted: Vec<&str> = input
            .object_attributes
            .iter()
            .flat_map(|names| names.as_str().split(','))
            .map(str::trim)
            .collect();
        check_names(&wanted)?;
        let wants = |attribute: &str| wanted.contains(&attribute);
        let settings = self.bucket_record(&bucket).await?;
        let scope = Scope::Object(&bucket, &key);
        let find = self.catalog.read(scope, |c| c.version_with_manifest(&bucket, &key, name));
        let (version, manifest) = find.await.map_err(to_s3)?;
        let record = &version.record;
        check_customer(&record.encryption, customer.as_ref())?;

        let mut output = GetObjectAttributesOutput {
            last_modified: Some(convert::timestamp(record.modified_ms)),
            version_id: shown_version(&settings, version.name()),
            ..GetObjectAttributesOutput::default()
        };
        if wants(ObjectAttributes::ETAG) {
            output.e_tag = Some(convert::etag(record.etag));
        }
        if wants(ObjectAttributes::OBJECT_SIZE) {
            output.object_size = Some(convert::signed(record.size));
        }
        if wants(ObjectAttributes::STORAGE_CLASS) {
            output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
        }
        if wants(ObjectAttributes::CHECKSUM) && !record.checksums.is_empty() {
            let mut checksum = Checksum::default();
            show_checksums!(checksum, &record.checksums);
            checksum.checksum_type = checksum_type(&record.checksums);
            output.checksum = Some(checksum);
        }
        let multipart = matches!(record.etag, manifest::ETag::Multipart(..));
        if wants(ObjectAttributes::OBJECT_PARTS) && multipart {
            output.object_parts =
                Some(parts(&manifest, input.max_parts, input.part_number_marker)?);
        }
        Ok(S3Response::new(output))
    }
}

fn check_names(wanted: &[&str]) -> S3Result<()> {
    const KNOWN: [&str; 5] = [
        ObjectAttributes::ETAG,
        ObjectAttributes::CHECKSUM,
        ObjectAttributes::OBJECT_PARTS,
        ObjectAttributes::STORAGE_CLASS,
        ObjectAttributes::OBJECT_SIZE,
    ];
    match wanted.iter().find(|name| !KNOWN.contains(name)) {
        Some(name) => Err(s3(
            S3ErrorCode::InvalidArgument,
            format!("The attribute {name:?} is unknown; use {KNOWN:?}."),
        )),
        None if wanted.is_empty() => {
            Err(s3(S3ErrorCode::InvalidArgument, "x-amz-object-attributes names no attribute."))
        }
        None => Ok(()),
    }
}

/// A page of an object's parts.
fn parts(
    manifest: &Manifest,
    most: Option<i32>,
    after: Option<i32>,
) -> S3Result<GetObjectAttributesParts> {
    let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let unsigned = |n: i32| {
        let message = "max-parts and part-number-marker can't be negative.";
        usize::try_from(n).map_err(|_| s3(S3ErrorCode::InvalidArgument, message))
    };
    let limit = most.map(unsigned).transpose()?.unwrap_or(MAX_PARTS).min(MAX_PARTS);
    let after = after.map(unsigned).transpose()?.unwrap_or(0);
    let page: Vec<ObjectPart> = (1..)
        .zip(&manifest.parts)
        .skip(after)
        .take(limit)
        .map(|(n, part)| {
            let mut shown = ObjectPart {
                part_number: Some(n),
                size: Some(convert::signed(part.size)),
                ..ObjectPart::default()
            };
            show_checksums!(shown, &part.checksums);
            shown
        })
        .collect();
    let end = after.saturating_add(page.len());
    Ok(GetObjectAttributesParts {
        is_truncated: Some(end < manifest.parts.len()),
        max_parts: Some(number(limit)),
        next_part_number_marker: Some(number(end)),
        part_number_marker: Some(number(after)),
        parts: Some(page),
        total_parts_count: Some(number(manifest.parts.len())),
    })
}

//! List the versions of objects.

use super::errors::to_s3;
use super::listing::{Encoder, max_keys};
use super::{CofferS3, acl, convert};
use coffer_core::catalog::records::VersionState;
use coffer_core::catalog::{AfterVersion, VersionEntry, VersionQuery};
use s3s::S3Result;
use s3s::dto::*;

impl CofferS3 {
    pub(super) async fn versions_in(
        &self,
        input: ListObjectVersionsInput,
    ) -> S3Result<ListObjectVersionsOutput> {
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        let limit = max_keys(input.max_keys)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().unwrap_or_default();
        let marker = input.key_marker.clone().unwrap_or_default();
        let after = match convert::version(input.version_id_marker.as_deref())? {
            _ if marker.is_empty() => None,
            Some(version) => Some(AfterVersion::Version(convert::key(&marker)?, version)),
            None if super::listing::is_rolled_up(&marker, &prefix, &delimiter) => {
                Some(AfterVersion::Prefix(marker.clone()))
            }
            None => Some(AfterVersion::Key(marker.clone())),
        };
        let query = VersionQuery { prefix, delimiter, after, limit };
        let bucket = convert::bucket(&input.bucket)?;
        let list = self
            .catalog
            .list(bucket, move |c, b| Ok((c.list_versions(b, &query)?, c.bucket(b)?.owner)));
        let (listing, owner) = list.await.map_err(to_s3)?;
        let (next_key, next_version) = match listing.next {
            None => (None, None),
            Some(AfterVersion::Key(key) | AfterVersion::Prefix(key)) => (Some(key), None),
            Some(AfterVersion::Version(key, name)) => (Some(key.into()), Some(name.to_string())),
        };
        let mut output = ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(encoder.encode(input.prefix.unwrap_or_default())),
            delimiter: input.delimiter.map(|d| encoder.encode(d)),
            key_marker: Some(encoder.encode(marker)),
            version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
            max_keys: i32::try_from(limit).ok(),
            is_truncated: Some(next_key.is_some()),
            next_key_marker: next_key.map(|k| encoder.encode(k)),
            next_version_id_marker: next_version,
            encoding_type: input.encoding_type,
            ..ListObjectVersionsOutput::default()
        };
        for entry in listing.entries {
            add(&mut output, entry, &encoder, &owner);
        }
        Ok(output)
    }
}

fn add(output: &mut ListObjectVersionsOutput, entry: VersionEntry, encoder: &Encoder, owner: &str) {
    let (key, version, is_latest) = match entry {
        VersionEntry::Version { key, version, is_latest } => (key, version, is_latest),
        VersionEntry::CommonPrefix(prefix) => {
            let prefix = CommonPrefix { prefix: Some(encoder.encode(prefix)) };
            return output.common_prefixes.get_or_insert_default().push(prefix);
        }
    };
    let version_id = Some(version.name().to_string());
    let key = Some(encoder.encode(key.into()));
    let owner = Some(acl::owner(owner));
    match version.state {
        VersionState::Object(record) => {
            output.versions.get_or_insert_default().push(ObjectVersion {
                key,
                version_id,
                is_latest: Some(is_latest),
                e_tag: Some(convert::etag(record.etag)),
                last_modified: Some(convert::timestamp(record.modified_ms)),
                size: Some(convert::signed(record.size)),
                owner,
                storage_class: Some(ObjectVersionStorageClass::from_static(
                    ObjectVersionStorageClass::STANDARD,
                )),
                ..ObjectVersion::default()
            });
        }
        VersionState::Marker(marker) => {
            output.delete_markers.get_or_insert_default().push(DeleteMarkerEntry {
                key,
                version_id,
                is_latest: Some(is_latest),
                last_modified: Some(convert::timestamp(marker.modified_ms)),
                owner,
            });
        }
    }
}

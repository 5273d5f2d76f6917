//! The additional checksum of a multipart upload: what it was begun with, and what its parts add up
//! to.
//!
//! A composite checksum is the hash over the parts' hashes, with the number of parts behind it. A
//! full-object checksum is what one pass over all bytes would give: CRCs of adjacent pieces can be
//! combined (`crc32_combine` of zlib; here by `crc-fast`). Source of the defaults: Amazon S3 User
//! Guide, "Checking object integrity".

use super::checksums::{Hasher, checksum_fields, computed, hasher_named};
use super::errors::s3;
use crate::engine::write::Observer as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_core::catalog::records::UploadChecksum;
use coffer_core::manifest::{Checksums, Part};
use crc_fast::{CrcAlgorithm, checksum_combine};
use s3s::dto::{ChecksumAlgorithm, ChecksumType, CompleteMultipartUploadInput, CompletedPart};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// What a request to begin an upload asks for.
///
/// # Errors
/// `InvalidRequest` for an algorithm that does not exist or can't be of that type.
pub(super) fn asked(
    algorithm: Option<&ChecksumAlgorithm>,
    kind: Option<&ChecksumType>,
) -> S3Result<Option<UploadChecksum>> {
    let invalid = |message: String| s3(S3ErrorCode::InvalidRequest, message);
    let Some(algorithm) = algorithm.map(ChecksumAlgorithm::as_str) else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(invalid("A checksum type needs a checksum algorithm.".into())),
        };
    };
    hasher_named(Some(algorithm))?;
    let combinable = crc(algorithm).is_some();
    let only_full = algorithm == ChecksumAlgorithm::CRC64NVME;
    let full_object = match kind.map(ChecksumType::as_str) {
        None => only_full,
        Some(ChecksumType::FULL_OBJECT) if combinable => true,
        Some(ChecksumType::COMPOSITE) if !only_full => false,
        Some(kind) => {
            return Err(invalid(format!("The checksum type {kind} does not go with {algorithm}.")));
        }
    };
    Ok(Some(UploadChecksum { algorithm: algorithm.to_owned(), full_object }))
}

/// The type of an upload's checksum, as S3 names it.
pub(super) fn type_of(checksum: &UploadChecksum) -> ChecksumType {
    ChecksumType::from_static(if checksum.full_object {
        ChecksumType::FULL_OBJECT
    } else {
        ChecksumType::COMPOSITE
    })
}

/// The checksums that a line of a completion names must be those of the part.
///
/// # Errors
/// `InvalidPart`.
pub(super) fn check_part(named: &CompletedPart, part: &Part) -> S3Result<()> {
    for (algorithm, value) in checksum_fields!(named) {
        if part.checksums.get(algorithm).is_some_and(|own| own != value) {
            let message = format!("The {algorithm} of a part is not what was uploaded.");
            return Err(s3(S3ErrorCode::InvalidPart, message));
        }
    }
    Ok(())
}

/// The checksums of the object that `parts` make.
///
/// # Errors
/// `InvalidRequest` when a part lacks the checksum.
pub(super) fn of_object(checksum: Option<&UploadChecksum>, parts: &[&Part]) -> S3Result<Checksums> {
    let Some(UploadChecksum { algorithm, full_object }) = checksum else {
        return Ok(Checksums::new());
    };
    let values = parts.iter().map(|part| {
        let value = part.checksums.get(algorithm).and_then(|v| STANDARD.decode(v).ok());
        value.map(|v| (v, part.size)).ok_or_else(|| missing(algorithm))
    });
    let value = match crc(algorithm).filter(|_| *full_object) {
        Some(crc) => combined(crc, values)?,
        None => {
            let mut hasher: Hasher = hasher_named(Some(algorithm))?;
            for value in values {
                hasher.update(&value?.0);
            }
            let sum = computed(hasher).remove(algorithm).ok_or_else(|| missing(algorithm))?;
            format!("{sum}-{}", parts.len())
        }
    };
    Ok(Checksums::from([(algorithm.clone(), value)]))
}

/// The checksums that a completion promises must be those of the object.
///
/// # Errors
/// `BadDigest`, or `InvalidRequest` when the object has no checksum of that algorithm.
pub(super) fn check_object(
    promised: &CompleteMultipartUploadInput,
    own: &Checksums,
) -> S3Result<()> {
    for (algorithm, value) in checksum_fields!(promised) {
        let Some(own) = own.get(algorithm) else {
            let message = format!("The upload was not begun with the checksum {algorithm}.");
            return Err(s3(S3ErrorCode::InvalidRequest, message));
        };
        let without_count = own.split_once('-').map(|(sum, _)| sum);
        if value != own && Some(value.as_str()) != without_count {
            let message = format!("The {algorithm} you specified did not match what we received.");
            return Err(s3(S3ErrorCode::BadDigest, message));
        }
    }
    Ok(())
}

fn missing(algorithm: &str) -> S3Error {
    let message = format!("The upload was begun with {algorithm}, which a part lacks.");
    s3(S3ErrorCode::InvalidRequest, message)
}

fn crc(algorithm: &str) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::CRC32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::CRC32C => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::CRC64NVME => Some(CrcAlgorithm::Crc64Nvme),
        _ => None,
    }
}

/// The CRC of pieces in a row, each given by its big-endian CRC and its length.
fn combined(
    algorithm: CrcAlgorithm,
    pieces: impl Iterator<Item = S3Result<(Vec<u8>, u64)>>,
) -> S3Result<String> {
    let (mut sum, mut width) = (0, 0);
    for piece in pieces {
        let (value, len) = piece?;
        width = value.len().min(8);
        let value = value.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        sum = checksum_combine(algorithm, sum, value, len);
    }
    Ok(STANDARD.encode(&sum.to_be_bytes()[8 - width..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::ids::BlobId;
    use coffer_core::manifest::Content;
    use proptest::prelude::*;

    fn sums(algorithm: &str, data: &[u8]) -> Checksums {
        let mut hasher = hasher_named(Some(algorithm)).unwrap();
        hasher.update(data);
        computed(hasher)
    }

    fn part(algorithm: &str, data: &[u8]) -> Part {
        Part {
            blob: BlobId::from_bytes([0; 16]),
            wrapped_key: vec![],
            size: data.len() as u64,
            md5: [0; 16],
            checksums: sums(algorithm, data),
            content: Content::Inline(vec![]),
        }
    }

    fn begun(algorithm: &str, kind: Option<&'static str>) -> Result<bool, S3ErrorCode> {
        let algorithm = ChecksumAlgorithm::from(algorithm.to_owned());
        asked(Some(&algorithm), kind.map(ChecksumType::from_static).as_ref())
            .map(|c| c.unwrap().full_object)
            .map_err(|e| e.code().clone())
    }

    #[test]
    fn types_go_with_algorithms_as_in_s3() {
        let invalid = Err(S3ErrorCode::InvalidRequest);
        assert_eq!(begun("CRC32", None), Ok(false));
        assert_eq!(begun("CRC32", Some("FULL_OBJECT")), Ok(true));
        assert_eq!(begun("CRC64NVME", None), Ok(true));
        assert_eq!(begun("CRC64NVME", Some("COMPOSITE")), invalid);
        assert_eq!(begun("SHA256", Some("COMPOSITE")), Ok(false));
        assert_eq!(begun("SHA256", Some("FULL_OBJECT")), invalid);
        assert_eq!(begun("MD4", None), invalid);
        assert!(asked(None, Some(&ChecksumType::from_static("COMPOSITE"))).is_err());
    }

    #[test]
    fn a_composite_checksum_hashes_the_hashes() {
        let parts = [part("SHA256", b"one"), part("SHA256", b"two")];
        let digests: Vec<u8> =
            parts.iter().flat_map(|p| STANDARD.decode(&p.checksums["SHA256"]).unwrap()).collect();
        let expected = format!("{}-2", sums("SHA256", &digests)["SHA256"]);
        let kind = UploadChecksum { algorithm: "SHA256".into(), full_object: false };
        let own = of_object(Some(&kind), &[&parts[0], &parts[1]]).unwrap();
        assert_eq!(own["SHA256"], expected);

        let promise = |value: &str| CompleteMultipartUploadInput {
            checksum_sha256: Some(value.to_owned()),
            ..Default::default()
        };
        assert!(check_object(&promise(&expected), &own).is_ok());
        assert!(check_object(&promise(expected.trim_end_matches("-2")), &own).is_ok());
        let wrong = check_object(&promise("bad"), &own).unwrap_err();
        assert_eq!(*wrong.code(), S3ErrorCode::BadDigest);
    }

    proptest! {
        #[test]
        fn combined_crcs_are_those_of_the_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
        ) {
            for algorithm in ["CRC32", "CRC32C", "CRC64NVME"] {
                let parts: Vec<Part> = pieces.iter().map(|p| part(algorithm, p)).collect();
                let kind = UploadChecksum { algorithm: algorithm.into(), full_object: true };
                let own = of_object(Some(&kind), &parts.iter().collect::<Vec<_>>()).unwrap();
                prop_assert_eq!(own, sums(algorithm, &pieces.concat()));
            }
        }
    }
}

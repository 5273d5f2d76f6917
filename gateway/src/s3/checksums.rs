//! Content-MD5 and x-amz-checksum-*: computed while the body goes by, compared when it has ended.

use super::errors::s3;
use crate::engine::write::Observer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_core::manifest::Checksums;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, ChecksumType};
use s3s::{S3ErrorCode, S3Result, TrailingHeaders};

/// The algorithms, by the names that S3 uses.
const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];
/// Headers that begin as those with checksums do.
const NO_CHECKSUMS: [&str; 3] =
    ["x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"];

/// What the client said about the body, before or after it.
#[derive(Debug)]
pub(crate) struct Promised {
    md5: Option<[u8; 16]>,
    /// Value by algorithm, from the headers.
    values: Vec<(&'static str, String)>,
    /// Algorithms whose value comes in the trailers.
    trailing: Vec<&'static str>,
    trailers: Option<TrailingHeaders>,
}

/// Computes the promised checksums.
#[derive(Default)]
pub(crate) struct Hasher(ChecksumHasher);

impl Observer for Hasher {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn is_curious(&self) -> bool {
        let ChecksumHasher { crc32, crc32c, sha1, sha256, crc64nvme } = &self.0;
        crc32.is_some()
            || crc32c.is_some()
            || sha1.is_some()
            || sha256.is_some()
            || crc64nvme.is_some()
    }
}

impl Promised {
    /// Reads the promises from a request's headers.
    ///
    /// # Errors
    /// `InvalidDigest` when Content-MD5 is not a base64 MD5, `InvalidRequest` when a checksum is not
    /// of an algorithm of S3 or not of its length: it must not go unchecked.
    pub(crate) fn from_headers(
        headers: &HeaderMap,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<Self> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let announced = text("x-amz-trailer").unwrap_or_default().to_ascii_lowercase();
        let announced: Vec<&str> = announced.split(',').map(str::trim).collect();
        let names = headers.keys().map(http::HeaderName::as_str).chain(announced.iter().copied());
        for name in names.filter(|n| n.starts_with("x-amz-checksum-") && !NO_CHECKSUMS.contains(n))
        {
            if !ALGORITHMS.into_iter().any(|a| header_name(a) == name) {
                let message = format!("{name} is not a checksum that is supported.");
                return Err(s3(S3ErrorCode::InvalidRequest, message));
            }
        }
        let mut values = Vec::new();
        let mut trailing = Vec::new();
        for algorithm in ALGORITHMS {
            let name = header_name(algorithm);
            if let Some(value) = headers.get(&name) {
                let value = value.to_str().unwrap_or_default();
                if STANDARD.decode(value).map(|v| v.len()) != Ok(checksum_len(algorithm)) {
                    let message = format!("Value for {name} header is invalid.");
                    return Err(s3(S3ErrorCode::InvalidRequest, message));
                }
                values.push((algorithm, value.to_owned()));
            } else if announced.contains(&name.as_str()) {
                trailing.push(algorithm);
            }
        }
        Ok(Self { values, trailing, trailers, ..Self::md5_from_headers(headers)? })
    }

    /// As [`Promised::from_headers`], without the checksums.
    ///
    /// # Errors
    /// `InvalidDigest`.
    pub(crate) fn md5_from_headers(headers: &HeaderMap) -> S3Result<Self> {
        let md5 = headers.get("content-md5").map(|v| v.to_str().unwrap_or_default());
        let md5 = md5.map(parse_md5).transpose()?;
        Ok(Self { md5, values: Vec::new(), trailing: Vec::new(), trailers: None })
    }

    /// A hasher for the algorithms that were promised.
    pub(crate) fn hasher(&self) -> Hasher {
        hasher_for(self.algorithms())
    }

    /// A hasher for a part of an upload that was begun with `algorithm`.
    ///
    /// # Errors
    /// `InvalidRequest` when the part promises another algorithm.
    pub(super) fn part_hasher(&self, algorithm: Option<&str>) -> S3Result<Hasher> {
        let Some(begun) = algorithm.and_then(|a| ALGORITHMS.into_iter().find(|b| a == *b)) else {
            return Ok(self.hasher());
        };
        if let Some(other) = self.algorithms().find(|a| *a != begun) {
            let message =
                format!("The upload was begun with {begun}, the part comes with {other}.");
            return Err(s3(S3ErrorCode::InvalidRequest, message));
        }
        Ok(hasher_for(std::iter::once(begun)))
    }

    fn algorithms(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(a, _)| *a).chain(self.trailing.iter().copied())
    }

    /// Compares what was promised with what came.
    ///
    /// # Errors
    /// `BadDigest` when they differ, `InvalidRequest` when a promised trailer is missing.
    pub(crate) fn verify(self, md5: [u8; 16], hasher: Hasher) -> S3Result<Checksums> {
        if self.md5.is_some_and(|promised| promised != md5) {
            let message = "The Content-MD5 you specified did not match what we received.";
            return Err(s3(S3ErrorCode::BadDigest, message));
        }
        let computed = to_map(hasher.0.finalize());
        let mut promised = self.values;
        for algorithm in self.trailing {
            let name = header_name(algorithm);
            let value = self.trailers.as_ref().and_then(|t| {
                t.read(|h| h.get(&name).and_then(|v| v.to_str().ok()).map(str::to_owned)).flatten()
            });
            let Some(value) = value else {
                let message = format!("The trailer {name} was announced but did not come.");
                return Err(s3(S3ErrorCode::InvalidRequest, message));
            };
            promised.push((algorithm, value));
        }
        for (algorithm, value) in promised {
            if computed.get(algorithm).is_none_or(|c| *c != value) {
                let message =
                    format!("The {algorithm} you specified did not match what we received.");
                return Err(s3(S3ErrorCode::BadDigest, message));
            }
        }
        Ok(computed)
    }
}

/// A hasher for the algorithm that a request names, if it names one.
///
/// # Errors
/// `InvalidRequest` when it is not one of S3's.
pub(super) fn hasher_named(algorithm: Option<&str>) -> S3Result<Hasher> {
    match algorithm {
        None => Ok(Hasher::default()),
        Some(name) => match ALGORITHMS.into_iter().find(|a| *a == name) {
            Some(algorithm) => Ok(hasher_for(std::iter::once(algorithm))),
            None => Err(s3(
                S3ErrorCode::InvalidRequest,
                format!("Checksum algorithm {name} is unknown; use one of {ALGORITHMS:?}."),
            )),
        },
    }
}

/// The checksums that a hasher has computed.
pub(super) fn computed(hasher: Hasher) -> Checksums {
    to_map(hasher.0.finalize())
}

fn hasher_for(algorithms: impl Iterator<Item = &'static str>) -> Hasher {
    let mut hasher = ChecksumHasher::default();
    for algorithm in algorithms {
        match algorithm {
            "CRC32" => hasher.crc32 = Some(Crc32::new()),
            "CRC32C" => hasher.crc32c = Some(Crc32c::new()),
            "CRC64NVME" => hasher.crc64nvme = Some(Crc64Nvme::new()),
            "SHA1" => hasher.sha1 = Some(Sha1::new()),
            _ => hasher.sha256 = Some(Sha256::new()),
        }
    }
    Hasher(hasher)
}

fn header_name(algorithm: &str) -> String {
    format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase())
}

/// Bytes of a checksum.
fn checksum_len(algorithm: &str) -> usize {
    match algorithm {
        "CRC32" | "CRC32C" => 4,
        "CRC64NVME" => 8,
        "SHA1" => 20,
        _ => 32,
    }
}

fn parse_md5(text: &str) -> S3Result<[u8; 16]> {
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        s3(S3ErrorCode::InvalidDigest, "Content-MD5 is not the base64 form of an MD5.")
    })
}

fn to_map(sums: Checksum) -> Checksums {
    [
        ("CRC32", sums.checksum_crc32),
        ("CRC32C", sums.checksum_crc32c),
        ("CRC64NVME", sums.checksum_crc64nvme),
        ("SHA1", sums.checksum_sha1),
        ("SHA256", sums.checksum_sha256),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// Puts checksums into an output that has fields for them.
macro_rules! show_checksums {
    ($output:expr, $checksums:expr) => {{
        let sums: &coffer_core::manifest::Checksums = $checksums;
        $output.checksum_crc32 = sums.get("CRC32").cloned();
        $output.checksum_crc32c = sums.get("CRC32C").cloned();
        $output.checksum_crc64nvme = sums.get("CRC64NVME").cloned();
        $output.checksum_sha1 = sums.get("SHA1").cloned();
        $output.checksum_sha256 = sums.get("SHA256").cloned();
    }};
}
pub(super) use show_checksums;

/// The checksums in an input that has fields for them, with the names of their algorithms.
macro_rules! checksum_fields {
    ($input:expr) => {
        [
            ("CRC32", &$input.checksum_crc32),
            ("CRC32C", &$input.checksum_crc32c),
            ("CRC64NVME", &$input.checksum_crc64nvme),
            ("SHA1", &$input.checksum_sha1),
            ("SHA256", &$input.checksum_sha256),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
    };
}
pub(super) use checksum_fields;

/// Whether checksums are over all bytes; those over the parts' checksums end with their number.
pub(super) fn checksum_type(checksums: &Checksums) -> Option<ChecksumType> {
    let composite = checksums.values().next()?.contains('-');
    Some(ChecksumType::from_static(if composite {
        ChecksumType::COMPOSITE
    } else {
        ChecksumType::FULL_OBJECT
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use md5::Digest as _;
    use proptest::prelude::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    fn verify(pairs: &[(&'static str, &str)], body: &[u8]) -> Result<Checksums, S3ErrorCode> {
        use md5::{Digest, Md5};
        let code = |e: s3s::S3Error| e.code().clone();
        let promised = Promised::from_headers(&headers(pairs), None).map_err(code)?;
        let mut hasher = promised.hasher();
        hasher.update(body);
        promised.verify(Md5::digest(body).into(), hasher).map_err(code)
    }

    #[test]
    fn right_promises_pass_and_wrong_ones_do_not() {
        // The check value of CRC-32/ISO-HDLC for "123456789" is 0xCBF43926.
        let sums = verify(&[("x-amz-checksum-crc32", "y/Q5Jg==")], b"123456789").unwrap();
        assert_eq!(sums.get("CRC32").map(String::as_str), Some("y/Q5Jg=="));
        let wrong = verify(&[("x-amz-checksum-crc32", "AAAAAA==")], b"123456789");
        assert_eq!(wrong, Err(S3ErrorCode::BadDigest));
        // MD5 of the empty string.
        assert!(verify(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")], b"").is_ok());
        let wrong = verify(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")], b"x");
        assert_eq!(wrong, Err(S3ErrorCode::BadDigest));
        assert_eq!(verify(&[("content-md5", "nonsense")], b""), Err(S3ErrorCode::InvalidDigest));
    }

    #[test]
    fn what_can_not_be_checked_is_refused() {
        for (name, value) in [
            ("x-amz-checksum-crc32", "!!!"),
            ("x-amz-checksum-crc32", "AAAAAAAAAAA="),
            ("x-amz-checksum-sha256", ""),
            ("x-amz-checksum-foo", "AAAAAA=="),
            ("x-amz-trailer", "x-amz-checksum-foo"),
        ] {
            assert_eq!(verify(&[(name, value)], b"x"), Err(S3ErrorCode::InvalidRequest), "{name}");
        }
        assert!(verify(&[("x-amz-checksum-algorithm", "CRC32")], b"x").is_ok());
    }

    #[test]
    fn an_announced_trailer_must_come() {
        let missing = verify(&[("x-amz-trailer", "x-amz-checksum-crc32c")], b"x");
        assert_eq!(missing, Err(S3ErrorCode::InvalidRequest));
    }

    proptest! {
        #[test]
        fn arbitrary_promises_never_panic_and_hold_only_if_true(value: String, body: Vec<u8>) {
            for name in ["content-md5", "x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-trailer"] {
                // What can't be in a header does not come this far.
                if value.parse::<http::HeaderValue>().is_ok()
                    && let Ok(sums) = verify(&[(name, &value)], &body)
                {
                    let own = sums.values().all(|sum| *sum == value);
                    let md5 = STANDARD.encode(&md5::Md5::digest(&body)[..]);
                    prop_assert!(own && (name != "content-md5" || value == md5), "{name}: {value}");
                }
            }
        }
    }
}

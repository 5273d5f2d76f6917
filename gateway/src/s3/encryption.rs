//! Server-side encryption as S3 words it.
//!
//! Everything is encrypted under a key of its own, wrapped by the bucket's key: that is SSE-S3
//! (`AES256`). With SSE-KMS (`aws:kms`) the data keys are wrapped by a named key as well: one of
//! those that `kms_keys` in `gateway.toml` lists, which derive from the master key, or the default
//! key. With SSE-C they are wrapped by the client's key as well, which is never stored.

use super::errors::{s3, to_s3};
use super::{CofferS3, OpenBucket};
use crate::engine::keys::{BucketKeys, SecondLock};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_core::bucket::{BucketSettings, DefaultEncryption, Setting};
use coffer_core::catalog::records::Encryption;
use coffer_core::seal::Key;
use md5::{Digest, Md5};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Result};
use zeroize::Zeroizing;

/// The named key of objects that name none.
const DEFAULT_KEY: &str = "aws/s3";

/// All keys that may lock an object's data key a second time, beside those of clients.
pub(crate) fn named_keys(configured: &[String]) -> Vec<String> {
    std::iter::once(DEFAULT_KEY.to_owned()).chain(configured.iter().cloned()).collect()
}

/// A client's own key, for one request.
pub(super) struct CustomerKey {
    lock: SecondLock,
    /// As the client sent it; it is shown in the answer.
    md5: String,
}

/// What a request says about encryption.
#[derive(Default)]
pub(super) struct SseHeaders {
    pub(super) algorithm: Option<ServerSideEncryption>,
    pub(super) key_id: Option<SSEKMSKeyId>,
    pub(super) context: Option<SSEKMSEncryptionContext>,
    pub(super) customer: Option<CustomerKey>,
}

/// The client's key, out of any input that can bring one.
macro_rules! customer_key {
    ($input:expr) => {
        $crate::s3::encryption::CustomerKey::read(
            $input.sse_customer_algorithm.as_deref(),
            $input.sse_customer_key.take(),
            $input.sse_customer_key_md5.as_deref(),
        )
    };
}
pub(super) use customer_key;

/// What a request that makes an object says about encryption.
macro_rules! sse_headers {
    ($input:expr) => {
        $crate::s3::encryption::customer_key!($input).map(|customer| {
            $crate::s3::encryption::SseHeaders {
                algorithm: $input.server_side_encryption.take(),
                key_id: $input.ssekms_key_id.take(),
                context: $input.ssekms_encryption_context.take(),
                customer,
            }
        })
    };
}
pub(super) use sse_headers;

/// Tells in an answer how an object is encrypted.
macro_rules! show_encryption {
    ($output:expr, $encryption:expr, $customer:expr) => {{
        use coffer_core::catalog::records::Encryption;
        let customer: Option<&$crate::s3::encryption::CustomerKey> = $customer;
        match $encryption {
            Encryption::Customer { .. } => {
                $output.sse_customer_algorithm = Some("AES256".to_owned());
                $output.sse_customer_key_md5 = customer.map(|c| c.md5().to_owned());
            }
            managed => $crate::s3::encryption::show_managed!($output, managed),
        }
    }};
}
pub(super) use show_encryption;

/// As [`show_encryption`], for answers that have no fields for a client's key.
macro_rules! show_managed {
    ($output:expr, $encryption:expr) => {{
        let (algorithm, key_id) = $crate::s3::encryption::managed($encryption);
        $output.server_side_encryption = algorithm;
        $output.ssekms_key_id = key_id;
    }};
}
pub(super) use show_managed;

/// The algorithm and the named key that clients are told about.
pub(super) fn managed(
    encryption: &Encryption,
) -> (Option<ServerSideEncryption>, Option<SSEKMSKeyId>) {
    match encryption {
        Encryption::Managed => {
            (Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256)), None)
        }
        Encryption::Named { key_id } => (
            Some(ServerSideEncryption::from_static(ServerSideEncryption::AWS_KMS)),
            Some(key_id.clone()),
        ),
        Encryption::Customer { .. } => (None, None),
    }
}

fn invalid(message: &str) -> S3Error {
    s3(S3ErrorCode::InvalidArgument, message)
}

impl CustomerKey {
    /// Reads the headers of SSE-C: all three, or none.
    pub(super) fn read(
        algorithm: Option<&str>,
        key: Option<String>,
        md5: Option<&str>,
    ) -> S3Result<Option<Self>> {
        let key = key.map(Zeroizing::new);
        let (algorithm, key, md5) = match (algorithm, key, md5) {
            (None, None, None) => return Ok(None),
            (Some(algorithm), Some(key), Some(md5)) => (algorithm, key, md5),
            _ => {
                return Err(invalid(
                    "SSE-C needs the headers for algorithm, key and key-MD5, all three.",
                ));
            }
        };
        if algorithm != "AES256" {
            let code = S3ErrorCode::InvalidEncryptionAlgorithmError;
            return Err(s3(code, "The algorithm of SSE-C is AES256."));
        }
        let malformed = || invalid("The key of SSE-C is not the base64 form of 256 bits.");
        let mut bytes = Zeroizing::new([0u8; Key::LEN]);
        let decoded = Zeroizing::new(STANDARD.decode(key.as_bytes()).map_err(|_| malformed())?);
        if decoded.len() != Key::LEN {
            return Err(malformed());
        }
        bytes.copy_from_slice(&decoded);
        if STANDARD.decode(md5).ok().as_deref() != Some(&Md5::digest(*bytes)[..]) {
            return Err(invalid("The MD5 of the SSE-C key does not match the key."));
        }
        let lock = SecondLock::of_customer(&Key::from_bytes(*bytes));
        Ok(Some(Self { lock, md5: md5.to_owned() }))
    }

    pub(super) fn md5(&self) -> &str {
        &self.md5
    }
}

impl CofferS3 {
    /// How a new object is to be encrypted: as its request says, or as the bucket does.
    pub(super) fn encryption_of(
        &self,
        asked: &SseHeaders,
        bucket: &BucketSettings,
    ) -> S3Result<Encryption> {
        if asked.context.is_some() {
            // Silence would say that it is bound to the data key.
            return super::convert::refuse(true, "An encryption context")
                .map(|()| Encryption::Managed);
        }
        let algorithm = asked.algorithm.as_ref().map(ServerSideEncryption::as_str);
        match (algorithm, &asked.key_id, &asked.customer) {
            (None, None, Some(customer)) => {
                let check = customer.lock.new_check(self.engine.random()).map_err(to_s3)?;
                Ok(Encryption::Customer { check })
            }
            (_, _, Some(_)) => Err(invalid("SSE-C can't be combined with other encryption.")),
            (None, None, None) => match &bucket.encryption {
                None | Some(DefaultEncryption::S3Managed) => Ok(Encryption::Managed),
                Some(DefaultEncryption::Kms { key_id }) => self.named(key_id.as_deref()),
            },
            (Some(ServerSideEncryption::AES256), None, None) => Ok(Encryption::Managed),
            (Some(ServerSideEncryption::AWS_KMS), key_id, None) => self.named(key_id.as_deref()),
            (Some(ServerSideEncryption::AWS_KMS_DSSE), ..) => Err(s3(
                S3ErrorCode::NotImplemented,
                "Dual-layer encryption (aws:kms:dsse) is not supported.",
            )),
            (_, Some(_), None) => Err(invalid("A KMS key id needs the encryption aws:kms.")),
            (Some(_), None, None) => {
                Err(invalid("The encryption method is unknown; use AES256 or aws:kms."))
            }
        }
    }

    fn named(&self, key_id: Option<&str>) -> S3Result<Encryption> {
        let key_id = key_id.unwrap_or(DEFAULT_KEY);
        if key_id != DEFAULT_KEY && !self.settings.kms_keys.iter().any(|k| k == key_id) {
            let code = S3ErrorCode::Custom("KMS.NotFoundException".into());
            let mut error = s3(code, format!("There is no KMS key {key_id:?} here."));
            error.set_status_code(http::StatusCode::BAD_REQUEST);
            return Err(error);
        }
        Ok(Encryption::Named { key_id: key_id.to_owned() })
    }

    /// The bucket's keys, with the second lock that an object's encryption needs.
    ///
    /// # Errors
    /// `InvalidRequest` when a client's key is missing, wrong, or not asked for.
    pub(super) fn keys_for(
        &self,
        bucket: &OpenBucket,
        encryption: &Encryption,
        customer: Option<&CustomerKey>,
    ) -> S3Result<BucketKeys> {
        check_customer(encryption, customer)?;
        let second = match encryption {
            Encryption::Managed => None,
            Encryption::Named { key_id } => Some(self.master.named(key_id)),
            Encryption::Customer { .. } => customer.map(|c| c.lock.clone()),
        };
        Ok(bucket.keys.clone().also_under(second))
    }

    pub(super) async fn bucket_encryption(
        &self,
        input: GetBucketEncryptionInput,
    ) -> S3Result<GetBucketEncryptionOutput> {
        let record = self.bucket_record(&super::convert::bucket(&input.bucket)?).await?;
        let none = || {
            let code = S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError;
            s3(code, "The server side encryption configuration was not found.")
        };
        let (algorithm, key_id) = match record.settings.encryption.ok_or_else(none)? {
            DefaultEncryption::S3Managed => (ServerSideEncryption::AES256, None),
            DefaultEncryption::Kms { key_id } => (ServerSideEncryption::AWS_KMS, key_id),
        };
        let default = ServerSideEncryptionByDefault {
            kms_master_key_id: key_id,
            sse_algorithm: ServerSideEncryption::from_static(algorithm),
        };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(default),
            bucket_key_enabled: Some(false),
        };
        Ok(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(ServerSideEncryptionConfiguration {
                rules: vec![rule],
            }),
        })
    }

    pub(super) async fn encrypt_bucket(
        &self,
        input: PutBucketEncryptionInput,
    ) -> S3Result<PutBucketEncryptionOutput> {
        let malformed = || s3(S3ErrorCode::MalformedXML, "There is one rule with a default.");
        let mut rules = input.server_side_encryption_configuration.rules;
        let rule = rules.pop().filter(|_| rules.is_empty()).ok_or_else(malformed)?;
        let default = rule.apply_server_side_encryption_by_default.ok_or_else(malformed)?;
        let asked = SseHeaders {
            algorithm: Some(default.sse_algorithm),
            key_id: default.kms_master_key_id.clone(),
            ..SseHeaders::default()
        };
        let encryption = match self.encryption_of(&asked, &BucketSettings::default())? {
            Encryption::Named { .. } => {
                DefaultEncryption::Kms { key_id: default.kms_master_key_id }
            }
            Encryption::Managed | Encryption::Customer { .. } => DefaultEncryption::S3Managed,
        };
        self.set(&input.bucket, Setting::Encryption(Some(encryption))).await?;
        Ok(PutBucketEncryptionOutput::default())
    }

    pub(super) async fn forget_bucket_encryption(
        &self,
        input: DeleteBucketEncryptionInput,
    ) -> S3Result<DeleteBucketEncryptionOutput> {
        self.set(&input.bucket, Setting::Encryption(None)).await?;
        Ok(DeleteBucketEncryptionOutput::default())
    }
}

/// Whether a request brings the client's key where one is needed, and only there.
pub(super) fn check_customer(
    encryption: &Encryption,
    customer: Option<&CustomerKey>,
) -> S3Result<()> {
    let refusal = |message: &str| Err(s3(S3ErrorCode::InvalidRequest, message));
    match (encryption, customer) {
        (Encryption::Customer { .. }, None) => refusal(
            "The object is stored under a key of the client's (SSE-C); the request must bring it.",
        ),
        (Encryption::Customer { check }, Some(key)) if !key.lock.opens(check) => {
            refusal("The SSE-C key is not the one that the object was stored under.")
        }
        (Encryption::Customer { .. }, Some(_)) => Ok(()),
        (_, Some(_)) => refusal("The object is not stored under a key of the client's (SSE-C)."),
        (_, None) => Ok(()),
    }
}

/// Reads never say how an object is encrypted: it is what it is.
pub(super) fn refuse_on_read(headers: &http::HeaderMap) -> S3Result<()> {
    if headers.contains_key("x-amz-server-side-encryption") {
        return Err(invalid("x-amz-server-side-encryption is not for reads."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1321's MD5 over 32 zero bytes, and over nothing.
    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn read(algorithm: &str, key: &str, md5: &str) -> Result<bool, S3ErrorCode> {
        CustomerKey::read(Some(algorithm), Some(key.into()), Some(md5))
            .map(|c| c.is_some())
            .map_err(|e| e.code().clone())
    }

    #[test]
    fn a_customers_key_comes_whole_or_not_at_all() {
        let md5 = STANDARD.encode(Md5::digest([0; 32]));
        assert_eq!(read("AES256", ZEROS, &md5), Ok(true));
        assert_eq!(read("AES256", ZEROS, "AAAA"), Err(S3ErrorCode::InvalidArgument));
        assert_eq!(read("AES256", "AAAA", &md5), Err(S3ErrorCode::InvalidArgument));
        assert_eq!(read("AES256", "?", &md5), Err(S3ErrorCode::InvalidArgument));
        let other = Err(S3ErrorCode::InvalidEncryptionAlgorithmError);
        assert_eq!(read("DES", ZEROS, &md5), other);
        assert!(CustomerKey::read(None, None, None).is_ok_and(|c| c.is_none()));
        assert!(CustomerKey::read(Some("AES256"), None, None).is_err());
        assert!(CustomerKey::read(None, Some(ZEROS.into()), Some(&md5)).is_err());
    }
}

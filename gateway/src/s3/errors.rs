//! Our errors as S3 error codes.
//!
//! The client learns what it can act on. What only the operator can act on goes to the log, and the
//! client gets `InternalError` or `ServiceUnavailable` without details.

use crate::engine::fetch::ReadError;
use crate::engine::write::{BodyError, WriteError};
use coffer_core::bucket::cors::CorsError;
use coffer_core::bucket::policy::PolicyError;
use coffer_core::bucket::{SettingError, TagError};
use coffer_core::catalog::CatalogError;
use coffer_core::ids::{NameError, VersionName};
use coffer_core::random::RandomUnavailable;
use coffer_core::seal::SealError;
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode};

/// An error that has an S3 code.
pub trait S3Coded {
    /// The S3 error that the client gets.
    fn coded(self) -> S3Error;
}

/// For `map_err`.
pub fn to_s3(error: impl S3Coded) -> S3Error {
    error.coded()
}

/// An S3 error with a message for the client.
pub fn s3(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}

/// An S3 error with a code that `s3s` does not know.
pub fn custom(code: &'static str, status: StatusCode, message: &str) -> S3Error {
    let mut error = s3(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

fn internal(error: &dyn std::fmt::Display) -> S3Error {
    tracing::error!(%error, "request failed");
    s3(S3ErrorCode::InternalError, "We encountered an internal error. Please try again.")
}

const TOO_FEW_NODES: &str = "Too few storage nodes are available at the moment. Please try again.";
const NO_CATALOG: &str = "The catalog is not available at the moment. Please try again.";

fn unavailable(error: &dyn std::fmt::Display, message: &str) -> S3Error {
    tracing::warn!(%error, "request failed for now");
    s3(S3ErrorCode::ServiceUnavailable, message)
}

impl S3Coded for CatalogError {
    fn coded(self) -> S3Error {
        let code = match &self {
            Self::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            Self::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
            Self::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            Self::NoSuchKey | Self::Deleted(_) => S3ErrorCode::NoSuchKey,
            Self::NoSuchVersion => S3ErrorCode::NoSuchVersion,
            Self::IsDeleteMarker(_) => S3ErrorCode::MethodNotAllowed,
            Self::Locked(_) => S3ErrorCode::AccessDenied,
            Self::NoObjectLock => S3ErrorCode::InvalidRequest,
            Self::InvalidBucketState(_) => S3ErrorCode::InvalidBucketState,
            Self::QuotaExceeded { .. } => S3ErrorCode::Custom("QuotaExceeded".into()),
            Self::NoSuchUpload(_) => S3ErrorCode::NoSuchUpload,
            Self::InvalidPart(_) => S3ErrorCode::InvalidPart,
            Self::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            Self::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
            Self::PreconditionFailed => S3ErrorCode::PreconditionFailed,
            Self::Moved(_) | Self::ClusterChanged(_) => S3ErrorCode::OperationAborted,
            Self::InvalidCluster(_) => S3ErrorCode::InvalidArgument,
            Self::BlobRefused(_) => {
                return unavailable(&self, "The data was not committed in time. Please try again.");
            }
            Self::Kv(error) => return internal(error),
            Self::Unavailable(_) | Self::Stopped(_) => return unavailable(&self, NO_CATALOG),
        };
        let mut error = s3(code, sentence(&self));
        match &self {
            Self::Deleted(marker) | Self::IsDeleteMarker(marker) => {
                show_marker(&mut error, *marker)
            }
            Self::QuotaExceeded { .. } => error.set_status_code(StatusCode::FORBIDDEN),
            _ => {}
        }
        error
    }
}

/// Tells which delete marker is in the way.
fn show_marker(error: &mut S3Error, marker: VersionName) {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(version) = HeaderValue::from_str(&marker.to_string()) {
        headers.insert("x-amz-version-id", version);
    }
    error.set_headers(headers);
}

impl S3Coded for TagError {
    fn coded(self) -> S3Error {
        s3(S3ErrorCode::InvalidTag, sentence(&self))
    }
}

impl S3Coded for PolicyError {
    fn coded(self) -> S3Error {
        s3(S3ErrorCode::MalformedPolicy, sentence(&self))
    }
}

impl S3Coded for CorsError {
    fn coded(self) -> S3Error {
        let code = match &self {
            Self::Count(_) => S3ErrorCode::MalformedXML,
            Self::Method(_) | Self::Rule { .. } => S3ErrorCode::InvalidRequest,
        };
        s3(code, sentence(&self))
    }
}

impl S3Coded for SettingError {
    fn coded(self) -> S3Error {
        s3(S3ErrorCode::InvalidArgument, sentence(&self))
    }
}

impl S3Coded for WriteError {
    fn coded(self) -> S3Error {
        match self {
            Self::Body(error) => body_error(error),
            Self::BodyTooLong { announced: Some(_) } => {
                s3(S3ErrorCode::IncompleteBody, sentence(&self))
            }
            Self::BodyTooLong { announced: None } => {
                s3(S3ErrorCode::EntityTooLarge, sentence(&self))
            }
            Self::BodyStalled(_) => s3(S3ErrorCode::RequestTimeout, sentence(&self)),
            Self::TooFewNodes(_) | Self::NoQuorum { .. } => unavailable(&self, TOO_FEW_NODES),
            Self::Seal(_) | Self::Code(_) | Self::Shape(_) | Self::Worker(_) => internal(&self),
        }
    }
}

/// What is wrong with a request body, as its stream says. `s3s` keeps its streams' error types to
/// itself, so that their text has to tell.
fn body_error(error: BodyError) -> S3Error {
    let error = match error.downcast::<ReadError>() {
        // The body was another object: a copy.
        Ok(source) => return source.coded(),
        Err(error) => error,
    };
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let message =
            "The provided 'x-amz-content-sha256' header does not match what was computed.";
        let mut error = s3(S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()), message);
        error.set_status_code(StatusCode::BAD_REQUEST);
        error
    } else if text.contains("SignatureMismatch") {
        s3(S3ErrorCode::SignatureDoesNotMatch, "A chunk of the body has a wrong signature.")
    } else if text.contains("FormatError") || text.contains("ChunkMeta") {
        s3(S3ErrorCode::InvalidRequest, "The body is not valid aws-chunked encoding.")
    } else {
        s3(S3ErrorCode::IncompleteBody, "The request body ended before its announced length.")
    }
}

impl S3Coded for ReadError {
    fn coded(self) -> S3Error {
        match self {
            Self::Unavailable { .. } => unavailable(&self, TOO_FEW_NODES),
            Self::Damaged { .. } | Self::Seal(_) | Self::Code(_) | Self::Worker(_) => {
                internal(&self)
            }
        }
    }
}

impl S3Coded for NameError {
    fn coded(self) -> S3Error {
        let code = match &self {
            Self::Bucket { .. } => S3ErrorCode::InvalidBucketName,
            Self::Key(_) | Self::Hex(_) | Self::Version(_) | Self::Part(_) => {
                S3ErrorCode::InvalidArgument
            }
        };
        s3(code, sentence(&self))
    }
}

impl S3Coded for SealError {
    fn coded(self) -> S3Error {
        internal(&self)
    }
}

impl S3Coded for RandomUnavailable {
    fn coded(self) -> S3Error {
        internal(&self)
    }
}

/// An error's text as S3 words its messages: a capital in front, a full stop behind.
pub(super) fn sentence(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => text,
    }
}

//! Who signed a form's policy, in version 4 or 2.
//!
//! Elsewhere version 2 is refused, since what it signs can be repeated forever. In forms both
//! versions sign the same, the policy, which tells its own end and what may be sent; pages with
//! forms of version 2 are still about.
//!
//! Source: Amazon S3 API Reference, "Authenticating requests: browser-based uploads using POST";
//! of version 2, Amazon S3 Developer Guide (API version 2006-03-01), "Browser-Based Uploads".

use super::fields::Form;
use super::{bad, denied};
use crate::auth::KeyRing;
use crate::auth::identity::Identity;
use crate::auth::keys::Secret;
use crate::http::failure::Failure;
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use std::sync::Arc;

const INCOMPLETE: Failure = bad(
    "InvalidArgument",
    "A signed form needs the fields policy, x-amz-algorithm, x-amz-credential, x-amz-date and \
     x-amz-signature; or, in version 2, policy, AWSAccessKeyId and signature.",
);
const ALGORITHM: Failure = bad(
    "InvalidRequest",
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
);
const CREDENTIAL: Failure = bad(
    "AuthorizationQueryParametersError",
    "x-amz-credential must have the form KEY/DATE/REGION/s3/aws4_request, of the day of x-amz-date.",
);
const UNKNOWN: Failure = Failure(
    StatusCode::FORBIDDEN,
    "InvalidAccessKeyId",
    "The access key you provided does not exist in our records.",
);
const WRONG: Failure = Failure(
    StatusCode::FORBIDDEN,
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided.",
);
const TEMPORARY: Failure = denied("Security tokens are not supported in forms.");

/// Verifies a form's signature. `None`: it has neither signature nor policy, and speaks for whoever
/// sent it.
pub(super) fn signer(form: &Form, keys: &KeyRing) -> Result<Option<Arc<Identity>>, Failure> {
    if form.get("x-amz-security-token").is_some() {
        return Err(TEMPORARY);
    }
    let part = |name| form.get(name);
    let version_4 = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];
    let version_2 = ["awsaccesskeyid", "signature"];
    match (part("policy"), version_4.map(part), version_2.map(part)) {
        (None, [None, None, None, None], [None, None]) => Ok(None),
        (
            Some(policy),
            [Some(algorithm), Some(credential), Some(date), Some(signature)],
            [None, None],
        ) => {
            if algorithm != "AWS4-HMAC-SHA256" {
                return Err(ALGORITHM);
            }
            verify_4(keys, policy, credential, date, signature).map(Some)
        }
        (Some(policy), [None, None, None, None], [Some(access_key), Some(signature)]) => {
            verify_2(keys, policy, access_key, signature).map(Some)
        }
        _ => Err(INCOMPLETE),
    }
}

fn verify_2(
    keys: &KeyRing,
    policy: &str,
    access_key: &str,
    signature: &str,
) -> Result<Arc<Identity>, Failure> {
    let (secret, identity) = keys.find(access_key).ok_or(UNKNOWN)?;
    let signature = STANDARD.decode(signature).map_err(|_| WRONG)?;
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_str().as_bytes());
    hmac::verify(&key, policy.as_bytes(), &signature).map_err(|_| WRONG)?;
    Ok(identity)
}

fn verify_4(
    keys: &KeyRing,
    policy: &str,
    credential: &str,
    date: &str,
    signature: &str,
) -> Result<Arc<Identity>, Failure> {
    let scope: Vec<&str> = credential.split('/').collect();
    let [access_key, day, region, "s3", "aws4_request"] = scope[..] else {
        return Err(CREDENTIAL);
    };
    if day.len() != 8 || !date.starts_with(day) {
        return Err(CREDENTIAL);
    }
    let (secret, identity) = keys.find(access_key).ok_or(UNKNOWN)?;
    let signature = hex::decode(signature).map_err(|_| WRONG)?;
    let key = hmac::Key::new(HMAC_SHA256, signing_key(secret, day, region).as_ref());
    hmac::verify(&key, policy.as_bytes(), &signature).map_err(|_| WRONG)?;
    Ok(identity)
}

/// The key for a day, a region and S3.
fn signing_key(secret: &Secret, day: &str, region: &str) -> hmac::Tag {
    let seed = zeroize::Zeroizing::new(format!("AWS4{}", secret.as_str()));
    let sign =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text.as_bytes());
    let of_day = sign(seed.as_bytes(), day);
    let of_region = sign(of_day.as_ref(), region);
    let of_service = sign(of_region.as_ref(), "s3");
    sign(of_service.as_ref(), "aws4_request")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of AWS's documentation of signing keys, with S3 in place of its service, as
    /// botocore computes it.
    #[test]
    fn keys_are_derived_as_by_others() {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into());
        let key = signing_key(&secret, "20120215", "us-east-1");
        assert_eq!(
            hex::encode(key.as_ref()),
            "f22dfcb5da3bb8d6c924d26e9bb28e9f96ba691a1b1791d907c06f10ede94251"
        );
    }
}

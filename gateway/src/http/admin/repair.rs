//! How far repair is.

use super::{administrator, answer};
use crate::auth::Identity;
use crate::engine::repair::Repairer;
use crate::s3::errors::{s3, to_s3};
use http::Method;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};

/// `GET /.coffer/v1/repair`, for the cluster's administrators. The gateway that leads repairs; the
/// others ask it.
pub(super) async fn serve(
    repairer: &Repairer,
    caller: &Identity,
    request: &S3Request<Body>,
) -> S3Result<S3Response<Body>> {
    administrator(caller)?;
    if request.method != Method::GET {
        return Err(s3(S3ErrorCode::MethodNotAllowed, "Repair's progress is shown by GET."));
    }
    answer(&repairer.status_of_leader().await.map_err(to_s3)?)
}

//! Comparing catalog and nodes, told line by line while it goes on.

use super::administrator;
use crate::auth::Identity;
use crate::engine::fsck::report::Record;
use crate::engine::fsck::{self, FsckOptions};
use crate::engine::repair::Repairer;
use crate::s3::errors::{s3, to_s3};
use bytes::Bytes;
use coffer_core::catalog::Scope;
use coffer_core::ids::BucketName;
use futures::{Stream, StreamExt, stream};
use http::{HeaderValue, Method};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Records that wait for the client.
const WAITING: usize = 64;

/// One check at a time is enough for a gateway.
#[derive(Debug, Clone)]
pub(super) struct Checks(Arc<Semaphore>);

impl Default for Checks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Checks {
    /// `POST /.coffer/v1/fsck?bucket=NAME&repair`, both optional, for the cluster's administrators;
    /// any gateway checks. The answer is [`Record`]s, one JSON object a line; it ends with a summary
    /// or with why there is none. The check ends when the client goes.
    pub(super) async fn serve(
        &self,
        repairer: &Repairer,
        caller: &Identity,
        request: &S3Request<Body>,
    ) -> S3Result<S3Response<Body>> {
        administrator(caller)?;
        if request.method != Method::POST {
            return Err(s3(S3ErrorCode::MethodNotAllowed, "A check is begun by POST."));
        }
        let options = options(request.uri.query().unwrap_or_default())?;
        let catalog = repairer.catalog();
        if let Some(bucket) = &options.bucket {
            catalog.read(Scope::Bucket(bucket), |c| c.bucket(bucket)).await.map_err(to_s3)?;
        }
        let permit = self.0.clone().try_acquire_owned().map_err(|_| {
            let message = "This gateway is checking already. Wait until that has ended.";
            s3(S3ErrorCode::OperationAborted, message)
        })?;
        tracing::info!(?options, by = caller.name(), "catalog and nodes are compared");
        let (out, records) = mpsc::channel(WAITING);
        let check = fsck::run(repairer.engine().clone(), catalog.clone(), options, out);
        tokio::spawn(async move {
            let _permit = permit;
            check.await;
        });
        let frames = lines(records).map(|line| Ok::<_, std::io::Error>(Frame::data(line)));
        let body = StreamBody::new(Box::pin(frames));
        let mut response = S3Response::new(Body::http_body_unsync(body));
        let kind = HeaderValue::from_static("application/x-ndjson");
        response.headers.insert(http::header::CONTENT_TYPE, kind);
        Ok(response)
    }
}

fn options(query: &str) -> S3Result<FsckOptions> {
    let mut options = FsckOptions::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "bucket" => options.bucket = Some(BucketName::new(value.as_ref()).map_err(to_s3)?),
            "repair" => options.repair = true,
            _ => {
                let message = format!("A check knows `bucket` and `repair`, not {name:?}.");
                return Err(s3(S3ErrorCode::InvalidArgument, message));
            }
        }
    }
    Ok(options)
}

fn lines(records: mpsc::Receiver<Record>) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(records, |mut records| async {
        let record = records.recv().await?;
        // All of it is text and numbers.
        let mut line = serde_json::to_vec(&record).unwrap_or_default();
        line.push(b'\n');
        Some((Bytes::from(line), records))
    })
}

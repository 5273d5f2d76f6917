//! A store in memory, with a hook before each request that may delay it, fail it, or lose its answer.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Put,
    Get,
    List,
    Delete,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It's done and answered.
    Answered,
    /// It's done, its answer gets lost, and the client sends it again.
    AnswerLost,
}

/// Called before each request with its kind, the name of the object, and the bytes to be put.
pub(crate) type Hook =
    Arc<dyn Fn(Request, &str, usize) -> BoxFuture<'static, Result<Fate>> + Send + Sync>;

/// The store. Clones with other hooks share the objects.
#[derive(Clone)]
pub(crate) struct Hooked {
    pub(crate) inner: Arc<InMemory>,
    hook: Hook,
}

impl Hooked {
    pub(crate) fn new(inner: Arc<InMemory>, hook: Hook) -> Self {
        Self { inner, hook }
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl fmt::Display for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

#[async_trait]
impl ObjectStore for Hooked {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let fate = (self.hook)(Request::Put, location.as_ref(), payload.content_length()).await?;
        if fate == Fate::AnswerLost {
            let _ = self.inner.put_opts(location, payload.clone(), opts.clone()).await;
        }
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        (self.hook)(Request::Get, location.as_ref(), 0).await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, hook) = (Arc::clone(&self.inner), Arc::clone(&self.hook));
        let delete = move |location: Result<Path>| {
            let (inner, hook) = (Arc::clone(&inner), Arc::clone(&hook));
            async move {
                let location = location?;
                hook(Request::Delete, location.as_ref(), 0).await?;
                let one = stream::iter([Ok(location.clone())]).boxed();
                inner.delete_stream(one).try_collect::<Vec<_>>().await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, hook) = (Arc::clone(&self.inner), Arc::clone(&self.hook));
        let prefix = prefix.cloned();
        let listed = async move {
            let name = prefix.as_ref().map(ToString::to_string).unwrap_or_default();
            hook(Request::List, &name, 0).await?;
            Ok::<_, object_store::Error>(inner.list(prefix.as_ref()))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

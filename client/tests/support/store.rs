//! A store in memory that counts reads, and breaks them as it's told.

#![allow(dead_code)]

use async_trait::async_trait;
use bytes::Bytes;
use coffer_client::object_store::memory::InMemory;
use coffer_client::object_store::path::Path;
use coffer_client::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use coffer_client::place::Place;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// What happens to one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails.
    Fail,
    /// It fails after half of the object.
    Break,
    /// It never ends.
    Hang,
    /// It gives half of the object, and then nothing.
    Stall,
    /// A bit of it is wrong.
    Flip,
    /// It's refused.
    Deny,
}

#[derive(Debug, Default)]
struct State {
    reads: BTreeMap<String, usize>,
    faults: BTreeMap<String, VecDeque<Fault>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    inner: Arc<InMemory>,
    state: Arc<Mutex<State>>,
}

impl Store {
    pub(crate) fn place(&self) -> Place {
        Place::new(Arc::new(self.clone()), "memory://test")
    }

    /// Has the next reads of an object meet these faults, one after the other.
    pub(crate) fn faults(&self, name: &str, faults: &[Fault]) {
        let faults = faults.iter().copied();
        self.state.lock().unwrap().faults.entry(name.to_owned()).or_default().extend(faults);
    }

    /// Has reads meet no more faults.
    pub(crate) fn forget_faults(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// How often objects whose names end like that were read.
    pub(crate) fn reads(&self, suffix: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.reads.iter().filter(|(name, _)| name.ends_with(suffix)).map(|(_, n)| n).sum()
    }
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, data, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            *state.reads.entry(at.to_string()).or_default() += 1;
            state.faults.get_mut(at.as_ref()).and_then(VecDeque::pop_front)
        };
        let failed = || Error::Generic { store: "test", source: "as told".into() };
        match fault {
            Some(Fault::Fail) => return Err(failed()),
            Some(Fault::Deny) => {
                let (path, source) = (at.to_string(), "as told".into());
                return Err(Error::PermissionDenied { path, source });
            }
            Some(Fault::Hang) => return std::future::pending().await,
            _ => {}
        }
        let found = self.inner.get_opts(at, options).await?;
        let GetResult { meta, range, attributes, extensions, .. } = &found;
        let (meta, range, attributes, extensions) =
            (meta.clone(), range.clone(), attributes.clone(), extensions.clone());
        let data = found.bytes().await?;
        let half = || stream::iter([Ok(data.slice(..data.len() / 2))]);
        let chunks = match fault {
            Some(Fault::Break) => half().chain(stream::iter([Err(failed())])).boxed(),
            Some(Fault::Stall) => half().chain(stream::pending()).boxed(),
            Some(Fault::Flip) => {
                let mut wrong = data.to_vec();
                let middle = wrong.len() / 2;
                wrong[middle] ^= 1;
                stream::iter([Ok(Bytes::from(wrong))]).boxed()
            }
            _ => stream::iter([Ok(data)]).boxed(),
        };
        let payload = GetResultPayload::Stream(chunks);
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(
        &self,
        at: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

//! Which operation comes next, made ready to be sent.

use super::large::made;
use super::work::{Work, Workload};
use crate::data::{Check, Content, Dice};
use crate::measure::Operation;
use crate::s3::{Ask, Reader};
use bytes::Bytes;
use coffer_client::object_store::client::HttpRequest;
use http::Method;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// An operation that is ready to be sent.
#[derive(Debug)]
pub enum Ready {
    /// One request.
    One(Box<One>),
    /// An upload in parts.
    Multipart {
        /// The object's name.
        key: String,
        /// What it consists of.
        parts: Vec<Bytes>,
        /// Parts under way at a time.
        at_once: usize,
    },
    /// Fresh objects.
    Burst {
        /// The number of the first.
        first: u64,
        /// How many.
        count: u64,
        /// Objects under way at a time.
        at_once: usize,
    },
    /// A request that could not even be made.
    Unmakeable(Operation),
}

/// One request that is an operation.
#[derive(Debug)]
pub struct One {
    /// What it is.
    pub(super) operation: Operation,
    /// The request, signed.
    pub(super) request: HttpRequest,
    /// What becomes of the answer.
    pub(super) reader: Reader,
    /// The size that a header of the answer must give, if any.
    pub(super) size: Option<u64>,
    /// Bytes of object in the request's body.
    pub(super) stores: u64,
    /// The fresh object that will be there, and may be deleted again.
    pub(super) creates: Option<u64>,
}

impl Work {
    pub(super) async fn next(&self, dice: &mut Dice) -> Option<Ready> {
        let operation = match &self.workload {
            Workload::Put => Operation::Put,
            Workload::Get => Operation::Get,
            Workload::Range(_) => Operation::Range,
            Workload::Stat => Operation::Stat,
            Workload::List(_) => Operation::List,
            Workload::Delete => Operation::Delete,
            Workload::Mixed(mix, ..) => mix.draw(dice),
            Workload::Shards => Operation::Shard,
            Workload::Samples => Operation::Sample,
            Workload::Multipart(part, at_once) => {
                return Some(self.multipart(*part, *at_once).await);
            }
            Workload::Burst(count, at_once) => {
                let first = self.next_fresh.fetch_add(*count, Ordering::Relaxed);
                return Some(Ready::Burst { first, count: *count, at_once: *at_once });
            }
        };
        let one = match operation {
            Operation::Put => self.put().await,
            Operation::List => self.list(dice),
            Operation::Shard | Operation::Sample => self.next_of_epoch(operation)?,
            Operation::Delete => match self.next_to_delete()? {
                Some(key) => self.one(operation, Ask::new(Method::DELETE, &key), Reader::Document),
                // There is nothing to delete yet.
                None => self.put().await,
            },
            operation => self.look(operation, dice),
        };
        Some(one.map_or(Ready::Unmakeable(operation), |one| Ready::One(Box::new(one))))
    }

    /// `None` if the request can't be made.
    fn one(&self, operation: Operation, ask: Ask<'_>, reader: Reader) -> Option<One> {
        let stores = u64::try_from(ask.body.len()).unwrap_or(u64::MAX);
        let request = self.target.request(ask).ok()?;
        Some(One { operation, request, reader, size: None, stores, creates: None })
    }

    /// A piece of an object (offset and length), or all of it.
    fn read(
        &self,
        operation: Operation,
        key: &str,
        content: Content,
        piece: Option<(u64, u64)>,
    ) -> Option<One> {
        let (offset, len) = piece.unwrap_or((0, content.len()));
        let range = piece.map(|(offset, len)| (offset, offset + len.max(1) - 1));
        let reader = match self.check {
            true => Reader::Verify(Check::new(content, offset, len)),
            false => Reader::Discard(Some(len)),
        };
        self.one(operation, Ask { range, ..Ask::new(Method::GET, key) }, reader)
    }

    /// The next shard, or the next sample of one. The outer `None` means that there is none at all.
    fn next_of_epoch(&self, operation: Operation) -> Option<Option<One>> {
        let number = self.epochs.at(self.position.fetch_add(1, Ordering::Relaxed));
        let (shard, piece) = match operation {
            Operation::Sample => {
                let (shard, offset, len) = *self.samples.get(number)?;
                (shard, Some((offset, len)))
            }
            _ => (number, None),
        };
        let content = self.shards.get(shard)?.clone();
        let key = self.base.population.key(u64::try_from(shard).unwrap_or(0));
        Some(self.read(operation, &key, content, piece))
    }

    /// GET, range or HEAD of one of the objects that were there before.
    fn look(&self, operation: Operation, dice: &mut Dice) -> Option<One> {
        let number = dice.below(self.base.count);
        let key = self.base.population.key(number);
        let content = self.base.population.content(number);
        let len = content.len();
        match (operation, &self.workload) {
            (Operation::Stat, _) => {
                let ask = Ask::new(Method::HEAD, &key);
                let one = self.one(operation, ask, Reader::Discard(None))?;
                Some(One { size: self.check.then_some(len), ..one })
            }
            (Operation::Range, Workload::Range(sizes) | Workload::Mixed(_, sizes, _))
                if len > 0 =>
            {
                let piece = sizes.draw(dice).clamp(1, len);
                let offset = dice.below(len - piece + 1);
                self.read(operation, &key, content, Some((offset, piece)))
            }
            _ => self.read(operation, &key, content, None),
        }
    }

    /// A page of names, from anywhere on.
    fn list(&self, dice: &mut Dice) -> Option<One> {
        let most = match self.workload {
            Workload::List(most) | Workload::Mixed(_, _, most) => most.to_string(),
            _ => "1000".to_owned(),
        };
        let number = dice.below(self.base.count);
        let folder = self.base.population.folder(number);
        let after = self.base.population.key(number);
        let query = [
            ("list-type", "2"),
            ("max-keys", most.as_str()),
            ("prefix", folder.as_str()),
            ("start-after", after.as_str()),
        ];
        let ask = Ask { query: &query, ..Ask::new(Method::GET, "") };
        self.one(Operation::List, ask, Reader::Document)
    }

    async fn put(&self) -> Option<One> {
        let number = self.next_fresh.fetch_add(1, Ordering::Relaxed);
        let body = made(self.fresh.content(number)).await;
        let key = self.fresh.key(number);
        let ask = Ask { body, ..Ask::new(Method::PUT, &key) };
        let one = self.one(Operation::Put, ask, Reader::Document)?;
        let creates = matches!(self.workload, Workload::Mixed(..)).then_some(number);
        Some(One { creates, ..one })
    }

    /// The name of what is to be deleted. The outer `None` means that all is deleted, the inner one
    /// that nothing has been stored yet.
    fn next_to_delete(&self) -> Option<Option<String>> {
        if let Workload::Delete = self.workload {
            let number = self.next_deleted.fetch_add(1, Ordering::Relaxed);
            return (number < self.base.count).then(|| Some(self.base.population.key(number)));
        }
        let oldest = self.stored.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Some(oldest.map(|number| self.fresh.key(number)))
    }

    async fn multipart(&self, part: u64, at_once: usize) -> Ready {
        let number = self.next_fresh.fetch_add(1, Ordering::Relaxed);
        let mut whole = made(self.fresh.content(number)).await;
        let part = usize::try_from(part.max(1)).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        while whole.len() > part {
            parts.push(whole.split_to(part));
        }
        parts.push(whole);
        Ready::Multipart { key: self.fresh.key(number), parts, at_once }
    }
}

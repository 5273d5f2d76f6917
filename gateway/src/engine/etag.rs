//! The MD5 of bodies, for etags, several at a time.
//!
//! A chunk's hash is not needed before its part is complete, or the part's next chunk is to be
//! hashed. So a chunk waits until somebody can't wait any longer, or as many wait as can be hashed
//! side by side ([`coffer_core::md5`]); whoever begins takes along what the others have waiting. At
//! most half of the processors hash at a time: what comes meanwhile waits, and goes together, too.

use super::budget::Held;
use super::write::{INLINE_WORK, WriteError};
use bytes::Bytes;
use coffer_core::md5::{LANES, Md5, advance};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a chunk waits for others while its part has nothing else to do.
const PATIENCE: Duration = Duration::from_millis(20);

/// Hashes chunks for all parts that are being written.
#[derive(Debug, Clone)]
pub(super) struct Etags(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    waiting: Vec<Entry>,
    next: u64,
    /// Batches that are being hashed, and the most that may be.
    running: usize,
    most: usize,
}

/// A chunk that waits.
#[derive(Debug)]
struct Entry {
    number: u64,
    urgent: bool,
    md5: Md5,
    data: Bytes,
    reply: oneshot::Sender<Md5>,
    /// The memory that it takes.
    held: Arc<Held>,
}

impl Queue {
    /// The next chunks to be hashed together, if it is time for them.
    fn due(&mut self) -> Option<Vec<Entry>> {
        let any = self.waiting.len() >= LANES || self.waiting.iter().any(|e| e.urgent);
        if !any || self.running >= self.most {
            return None;
        }
        self.running += 1;
        // The sort is stable: of equals, those that have waited longest.
        self.waiting.sort_by_key(|entry| !entry.urgent);
        Some(self.waiting.drain(..self.waiting.len().min(LANES)).collect())
    }
}

impl Etags {
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let most = (processors / 2).max(1);
        Self(Arc::new(Mutex::new(Queue { waiting: Vec::new(), next: 0, running: 0, most })))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a chunk hashed, the next of a part of which `md5` has all that came before.
    fn submit(&self, md5: Md5, data: Bytes, held: Arc<Held>) -> Waiting {
        let (reply, answer) = oneshot::channel();
        let mut queue = self.lock();
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push(Entry { number, urgent: false, md5, data, reply, held });
        drop(queue);
        self.begin();
        Waiting { etags: self.clone(), number, answer }
    }

    /// Begins what is due.
    fn begin(&self) {
        loop {
            let due = self.lock().due();
            let Some(mut batch) = due else { return };
            let etags = self.clone();
            tokio::task::spawn_blocking(move || {
                let done = Done(etags);
                advance(batch.iter_mut().map(|entry| (&mut entry.md5, &entry.data[..])));
                for entry in batch {
                    // Of a part that was given up, nobody asks.
                    let _ = entry.reply.send(entry.md5);
                    drop(entry.held);
                }
                drop(done);
            });
        }
    }
}

/// A batch that is being hashed. Its end, however it comes, makes room for the next.
struct Done(Etags);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.begin();
    }
}

/// A chunk that was submitted. Dropping it takes it back if it still waits.
struct Waiting {
    etags: Etags,
    number: u64,
    answer: oneshot::Receiver<Md5>,
}

impl Waiting {
    fn urge(&self) {
        let mut queue = self.etags.lock();
        let entry = queue.waiting.iter_mut().find(|entry| entry.number == self.number);
        let Some(entry) = entry else { return };
        entry.urgent = true;
        drop(queue);
        self.etags.begin();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.etags.lock().waiting.retain(|entry| entry.number != self.number);
    }
}

/// The hash of one part's body.
pub(super) struct Etag {
    etags: Etags,
    state: State,
}

enum State {
    Idle(Md5),
    Hashing(Waiting),
}

impl Etag {
    pub(super) fn new(etags: &Etags) -> Self {
        Self { etags: etags.clone(), state: State::default() }
    }

    /// Takes in the next bytes. Returns when all that came before is hashed.
    pub(super) async fn add(&mut self, data: Bytes, held: &Arc<Held>) -> Result<(), WriteError> {
        let mut md5 = self.settle().await?;
        self.state = if data.len() <= INLINE_WORK {
            md5.update(&data);
            State::Idle(md5)
        } else {
            State::Hashing(self.etags.submit(md5, data, held.clone()))
        };
        Ok(())
    }

    /// Waits for `work`, and if that takes long, has what waits hashed meanwhile: it holds memory
    /// that the work may be waiting for.
    pub(super) async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
            return done;
        }
        self.urge();
        work.await
    }

    /// Says that what waits is wanted now.
    pub(super) fn urge(&self) {
        if let State::Hashing(waiting) = &self.state {
            waiting.urge();
        }
    }

    /// The hash of all that came.
    pub(super) async fn finish(mut self) -> Result<[u8; 16], WriteError> {
        Ok(self.settle().await?.finish())
    }

    /// The hash as far as it has come, taken out.
    async fn settle(&mut self) -> Result<Md5, WriteError> {
        self.urge();
        match std::mem::take(&mut self.state) {
            State::Idle(md5) => Ok(md5),
            State::Hashing(mut waiting) => (&mut waiting.answer)
                .await
                .map_err(|_| WriteError::Worker("a hash was lost".to_owned())),
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Idle(Md5::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::budget::Budget;
    use futures::future::join_all;
    use md5::Digest as _;

    const LONG: usize = INLINE_WORK + 1000;

    async fn held() -> Arc<Held> {
        Arc::new(Budget::new(1).take(0).await)
    }

    fn chunk(part: usize, number: usize) -> Bytes {
        let len = if (part + number).is_multiple_of(3) { 100 } else { LONG + 64 * part + number };
        (0..len).map(|i| (i * 31 + part * 7 + number) as u8).collect()
    }

    #[tokio::test]
    async fn parts_that_are_hashed_together_have_their_own_hashes() {
        let etags = Etags::new();
        let parts = (0..11).map(|part| {
            let mut etag = Etag::new(&etags);
            async move {
                let held = held().await;
                let mut whole = md5::Md5::new();
                for number in 0..part {
                    whole.update(chunk(part, number));
                    etag.add(chunk(part, number), &held).await.unwrap();
                }
                assert_eq!(etag.finish().await.unwrap(), <[u8; 16]>::from(whole.finalize()));
            }
        });
        join_all(parts).await;
        let queue = etags.lock();
        assert!(queue.waiting.is_empty());
    }

    #[tokio::test]
    async fn a_chunk_waits_for_others_until_it_is_urgent_and_takes_them_along() {
        let etags = Etags::new();
        let mut parts = [Etag::new(&etags), Etag::new(&etags)];
        for part in &mut parts {
            part.add(chunk(1, 0), &held().await).await.unwrap();
        }
        assert_eq!(etags.lock().waiting.len(), 2);
        parts[0].urge();
        assert_eq!(etags.lock().waiting.len(), 0);
        for part in parts {
            assert_eq!(
                part.finish().await.unwrap(),
                <[u8; 16]>::from(md5::Md5::digest(chunk(1, 0)))
            );
        }
    }

    #[tokio::test]
    async fn what_holds_memory_does_not_wait_for_long_and_a_part_given_up_takes_its_chunk_back() {
        let etags = Etags::new();
        let mut part = Etag::new(&etags);
        part.add(chunk(1, 0), &held().await).await.unwrap();
        drop(part);
        assert_eq!(etags.lock().waiting.len(), 0);

        // The next chunk's room is what the first one holds.
        let budget = Budget::new(1024);
        let first = Arc::new(budget.take(1024).await);
        let mut part = Etag::new(&etags);
        part.add(chunk(1, 0), &first).await.unwrap();
        drop(first);
        part.meanwhile(budget.take(1024)).await;
    }
}

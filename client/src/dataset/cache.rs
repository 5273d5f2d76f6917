//! A bounded cache of shards in a local directory.
//!
//! A file is named by the BLAKE3 of its content and checked by it on each read, so whatever a crash,
//! a bad disk or another program leaves there is at worst read anew. Files appear by rename, whole.
//! The directory is the only state: any number of processes may share it, and datasets that have
//! shards in common have them there once. The files hold the samples in the clear, and only their
//! owner may read them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::{Digest, Error};

/// How the names of shards end.
const SUFFIX: &str = ".shard";
/// How the names of unfinished files start.
const UNFINISHED: &str = ".unfinished-";
/// When an unfinished file is taken to be left over by a process that is gone.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A cache of shards. Clones share it.
#[derive(Debug, Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limit: u64,
    /// Set once a file could not be written: the disk is full, or worse.
    broken: AtomicBool,
}

/// A file of the cache.
struct Kept {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
    finished: bool,
}

impl Cache {
    /// A cache of at most `limit` bytes in `dir`, which is made if it isn't there.
    ///
    /// # Errors
    /// If the directory can't be made or read.
    pub fn open(dir: &Path, limit: u64) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(Error::file("open the cache", dir))?;
        let inner = Inner { dir: dir.to_owned(), limit, broken: AtomicBool::new(false) };
        // The limit may have been another one before.
        inner.make_room(0).map_err(Error::file("clear", dir))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The content of that hash, if it's there and sound. Blocks.
    pub(super) fn get(&self, digest: Digest) -> Option<Bytes> {
        let path = self.inner.path(digest);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("can't read {} of the cache: {error}", path.display());
                return None;
            }
        };
        if Digest::of(&content) != digest {
            tracing::warn!("{} of the cache is damaged; it is fetched anew", path.display());
            // Whoever has mended it meanwhile will have to do so again.
            let _ = fs::remove_file(&path);
            return None;
        }
        // When it was last used. If that can't be noted, it's evicted sooner.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(content.into())
    }

    /// Keeps `content`, whose hash is `digest`, and evicts what was not used for longest. If that
    /// fails, it is said once, and nothing is written any more. Blocks.
    pub(super) fn put(&self, digest: Digest, content: &Bytes) {
        let inner = &*self.inner;
        let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if bytes > inner.limit || inner.broken.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = inner.write(digest, content, bytes)
            && !inner.broken.swap(true, Ordering::Relaxed)
        {
            let dir = inner.dir.display();
            tracing::warn!("can't write to the cache {dir}: {error}; going on without it");
        }
    }
}

impl Inner {
    fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{digest}{SUFFIX}"))
    }

    fn write(&self, digest: Digest, content: &Bytes, bytes: u64) -> io::Result<()> {
        self.make_room(bytes)?;
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.dir)?;
        file.write_all(content)?;
        // No fsync: what a crash leaves torn fails its check.
        file.persist(self.path(digest)).map_err(|error| error.error)?;
        // Others may have written at the same time.
        self.make_room(0)
    }

    /// Removes files, those first that were not used for longest, until `bytes` more fit.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut kept = self.kept()?;
        let mut total: u64 = kept.iter().map(|file| file.bytes).sum();
        kept.sort_by_key(|file| file.used);
        let now = SystemTime::now();
        for file in kept {
            let age = now.duration_since(file.used).unwrap_or_default();
            let evict = if file.finished { total + bytes > self.limit } else { age > ABANDONED };
            if evict {
                match fs::remove_file(&file.path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => total -= file.bytes,
                }
            }
        }
        Ok(())
    }

    /// The cache's own files; those of others are left alone.
    fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let finished = name.ends_with(SUFFIX);
            if !finished && !name.starts_with(UNFINISHED) {
                continue;
            }
            // What is gone meanwhile was evicted by another process.
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            kept.push(Kept { path: entry.path(), bytes: metadata.len(), used, finished });
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(at: u8) -> (Digest, Bytes) {
        let bytes = Bytes::from(vec![at; 100]);
        (Digest::of(&bytes), bytes)
    }

    fn put(cache: &Cache, at: u8) {
        let (digest, bytes) = content(at);
        cache.put(digest, &bytes);
    }

    fn has(cache: &Cache, at: u8) -> bool {
        cache.get(content(at).0).is_some()
    }

    /// Sets when a file was last used; the clock is too coarse for a test.
    fn used(cache: &Cache, at: u8, seconds_ago: u64) {
        let file = File::options().write(true).open(cache.inner.path(content(at).0)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_limit_holds() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("new/folder"), 350).unwrap();
        for at in 0..3 {
            put(&cache, at);
            used(&cache, at, 100 - u64::from(at));
        }
        assert!(has(&cache, 0), "which makes it the last one used");
        put(&cache, 3);
        assert_eq!([0, 1, 2, 3].map(|at| has(&cache, at)), [true, false, true, true]);
        let total: u64 = cache.inner.kept().unwrap().iter().map(|file| file.bytes).sum();
        assert_eq!(total, 300);
        let large = Bytes::from(vec![9; 400]);
        cache.put(Digest::of(&large), &large);
        assert!(has(&cache, 0), "what doesn't fit at all evicts nothing");
    }

    #[test]
    fn damage_is_a_miss_and_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1000).unwrap();
        put(&cache, 1);
        let path = cache.inner.path(content(1).0);
        for damage in [&b"short"[..], &[1; 99], &[2; 100]] {
            fs::write(&path, damage).unwrap();
            assert!(!has(&cache, 1));
            assert!(!path.exists());
            put(&cache, 1);
            assert!(has(&cache, 1));
        }
    }

    #[test]
    fn leftovers_go_and_files_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1000).unwrap();
        let [old, new, other] =
            [".unfinished-a", ".unfinished-b", "other"].map(|name| dir.path().join(name));
        for path in [&old, &new, &other] {
            fs::write(path, b"x").unwrap();
        }
        let long_ago = SystemTime::now() - ABANDONED * 2;
        for path in [&old, &other] {
            File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
        }
        put(&cache, 1);
        assert_eq!([old, new, other].map(|path| path.exists()), [false, true, true]);
    }

    #[test]
    fn where_nothing_can_be_written_it_goes_on_without() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cache");
        let cache = Cache::open(&folder, 1000).unwrap();
        fs::remove_dir(&folder).unwrap();
        fs::write(&folder, b"in the way").unwrap();
        put(&cache, 1);
        assert!(!has(&cache, 1));
        assert!(cache.inner.broken.load(Ordering::Relaxed));
        assert!(Cache::open(&folder, 1000).is_err());
    }

    #[test]
    fn many_may_share_it() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let cache = Cache::open(dir.path(), 500).unwrap();
                    for round in 0..200u8 {
                        let (digest, bytes) = content(round % 9);
                        cache.put(digest, &bytes);
                        if let Some(found) = cache.get(digest) {
                            assert_eq!(found, bytes);
                        }
                    }
                    assert!(!cache.inner.broken.load(Ordering::Relaxed));
                });
            }
        });
        let cache = Cache::open(dir.path(), 500).unwrap();
        put(&cache, 0);
        let kept = cache.inner.kept().unwrap();
        assert!(kept.iter().map(|file| file.bytes).sum::<u64>() <= 500);
        assert!(kept.iter().all(|file| file.finished));
    }
}

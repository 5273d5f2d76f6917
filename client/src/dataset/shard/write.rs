//! Writing a shard.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use super::{Sample, ShardError, split_name};
use crate::Digest;

const BLOCK: u64 = 512;
/// Longest name that always fits into a header.
const SHORT_NAME: usize = 100;

/// Writes samples as a tar to `W`, and hashes it on the way.
pub struct ShardWriter<W: Write> {
    tar: tar::Builder<Hashed<W>>,
    samples: usize,
    fields: BTreeSet<String>,
    /// Key and field that were written last.
    last: Option<(String, String)>,
}

/// What a shard has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Samples in it.
    pub samples: usize,
    /// Its size in bytes.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub blake3: Digest,
    /// The fields that its samples have.
    pub fields: BTreeSet<String>,
}

impl<W: Write> ShardWriter<W> {
    /// A shard that goes to `out`.
    pub fn new(out: W) -> Self {
        let out = Hashed { out, hasher: blake3::Hasher::new() };
        let tar = tar::Builder::new(out);
        Self { tar, samples: 0, fields: BTreeSet::new(), last: None }
    }

    /// Number of samples so far.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Adds a sample.
    ///
    /// # Errors
    /// If it has no fields, its names are none, or `out` fails.
    pub fn push(&mut self, sample: &Sample) -> Result<(), ShardError> {
        if sample.fields.is_empty() {
            return Err(ShardError::NoFields(sample.key.clone()));
        }
        for (name, content) in &sample.fields {
            let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
            self.field(&sample.key, name, size, &content[..])?;
        }
        Ok(())
    }

    /// Adds one field of a sample: the first `size` bytes of `content`. The fields of a sample must
    /// follow each other, in the order of their names.
    ///
    /// # Errors
    /// If the name is none or out of order, `content` is shorter, or it or `out` fails. The shard
    /// can't be used then.
    pub fn field(
        &mut self,
        key: &str,
        field: &str,
        size: u64,
        content: impl Read,
    ) -> Result<(), ShardError> {
        let name = format!("{key}.{field}");
        let reads_back = split_name(&name).is_some_and(|(k, f)| (k, f.as_str()) == (key, field));
        let plain = |segment: &str| !matches!(segment, "" | "." | "..");
        if !(reads_back && key.split('/').all(plain) && !name.contains('\0')) {
            return Err(ShardError::Name { key: key.to_owned(), field: field.to_owned() });
        }
        match &self.last {
            Some((last, before)) if last == key => {
                if before.as_str() >= field {
                    return Err(ShardError::Field { key: key.to_owned(), field: field.to_owned() });
                }
            }
            _ => self.samples += 1,
        }
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.tar.append_data(&mut header, name, Exact { content, left: size })?;
        self.last = Some((key.to_owned(), field.to_owned()));
        if !self.fields.contains(field) {
            self.fields.insert(field.to_owned());
        }
        Ok(())
    }

    /// Ends the shard.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn finish(self) -> Result<(W, Written), ShardError> {
        let Hashed { out, hasher } = self.tar.into_inner()?;
        let (bytes, blake3) = (hasher.count(), hasher.finalize().into());
        Ok((out, Written { samples: self.samples, bytes, blake3, fields: self.fields }))
    }
}

/// Bytes that one field of `size` bytes takes in a shard, at most.
pub fn member_bytes(key: &str, field: &str, size: u64) -> u64 {
    let name = key.len() + 1 + field.len();
    // A name that doesn't fit into the header stands before it, like a file of its own.
    let extra = match u64::try_from(name) {
        Ok(long) if name > SHORT_NAME => BLOCK + padded(long + 1),
        _ => 0,
    };
    extra + BLOCK + padded(size)
}

fn padded(size: u64) -> u64 {
    size.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Hashes what passes through.
struct Hashed<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(data)?;
        self.hasher.update(data.get(..taken).unwrap_or(data));
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Exactly so many bytes: an end before that is an error, since the header has promised them.
struct Exact<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.content.read(buffer.get_mut(..most).unwrap_or_default())?;
        if read == 0 && most > 0 {
            return Err(io::Error::other("the content is shorter than it was said to be"));
        }
        self.left -= u64::try_from(read).unwrap_or(self.left);
        Ok(read)
    }
}

//! Records are cut into parts and sealed; parts are opened and joined.

use super::Record;
use crate::erasure::Code;
use crate::layout::{MAX_SEGMENT, TAG_LEN};
use crate::random::Random;
use crate::seal::{Envelope, SealError};
use crate::shard::ShardInfo;
use bytes::Bytes;
use zeroize::Zeroizing;

/// Bytes of a record in one part.
pub const PART: usize = 1 << 20;

const VERSION: u8 = 1;
const HASH: usize = blake3::OUT_LEN;

/// What is wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// It does not open: it was changed, is in the wrong place, or was sealed under another key.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It has another version, or is cut short.
    #[error("its format is not known here")]
    Format,
    /// It comes after the last part.
    #[error("it comes after the record's end")]
    AfterEnd,
    /// It is the last part, and the parts before are not those that it belongs to.
    #[error("the record's hash is another one: its parts are not of one record")]
    Hash,
    /// There are more parts than can be numbered.
    #[error("the record has too many parts")]
    TooLong,
}

fn context(record: Record, part: u32) -> Vec<u8> {
    [b"journal\0".as_slice(), &record.key(part, 0).to_bytes()].concat()
}

/// What a node is told of a part of `len` bytes that is stored `copies` times.
pub fn shard_info(len: usize, copies: usize) -> ShardInfo {
    let spare = u8::try_from(copies.saturating_sub(1)).unwrap_or(u8::MAX).clamp(1, Code::MAX_M);
    let code = Code::new(1, spare).unwrap_or(Code::DEFAULT);
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    ShardInfo { code, block_size: MAX_SEGMENT + TAG_LEN, len }
}

/// Cuts a record into sealed parts, as its bytes come.
pub struct Cutter<'a> {
    envelope: &'a Envelope,
    random: &'a dyn Random,
    record: Record,
    next: u32,
    waiting: Vec<u8>,
    hash: blake3::Hasher,
}

impl<'a> Cutter<'a> {
    /// Begins a record.
    pub fn new(envelope: &'a Envelope, random: &'a dyn Random, record: Record) -> Self {
        let hash = blake3::Hasher::new();
        Self { envelope, random, record, next: 0, waiting: Vec::new(), hash }
    }

    /// Takes bytes of the record.
    pub fn push(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.waiting.extend_from_slice(bytes);
    }

    /// The next part with its number, if there is enough for one.
    ///
    /// # Errors
    /// When there is no randomness, or the record is too long.
    pub fn next_part(&mut self) -> Result<Option<(u32, Bytes)>, PartError> {
        if self.waiting.len() < PART {
            return Ok(None);
        }
        let rest = self.waiting.split_off(PART);
        let body = std::mem::replace(&mut self.waiting, rest);
        let part = self.seal(&[&[VERSION, 0], body.as_slice()].concat())?;
        Ok(Some(part))
    }

    /// The last part with its number, when all others have been taken.
    ///
    /// # Errors
    /// As [`Cutter::next_part`].
    pub fn finish(mut self) -> Result<(u32, Bytes), PartError> {
        let hash = self.hash.finalize();
        let body = std::mem::take(&mut self.waiting);
        self.seal(&[&[VERSION, 1], hash.as_bytes().as_slice(), &body].concat())
    }

    fn seal(&mut self, plain: &[u8]) -> Result<(u32, Bytes), PartError> {
        let number = self.next;
        self.next = number.checked_add(1).ok_or(PartError::TooLong)?;
        let sealed = self.envelope.seal(&context(self.record, number), plain, self.random)?;
        Ok((number, sealed.into()))
    }
}

/// Opens a record's parts in their order.
pub struct Joiner<'a> {
    envelope: &'a Envelope,
    record: Record,
    next: u32,
    hash: blake3::Hasher,
    done: bool,
}

impl<'a> Joiner<'a> {
    /// Begins a record.
    pub fn new(envelope: &'a Envelope, record: Record) -> Self {
        Self { envelope, record, next: 0, hash: blake3::Hasher::new(), done: false }
    }

    /// The number of the part that is to come; `None` when the record is whole.
    pub fn wants(&self) -> Option<u32> {
        (!self.done).then_some(self.next)
    }

    /// Opens the next part; returns the record's bytes in it. After an error, another copy of the
    /// same part may be tried.
    ///
    /// # Errors
    /// [`PartError`].
    pub fn take(&mut self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, PartError> {
        if self.done {
            return Err(PartError::AfterEnd);
        }
        let plain = open(self.envelope, self.record, self.next, sealed)?;
        let (last, body) = split(&plain)?;
        let mut hash = self.hash.clone();
        hash.update(body);
        if last.is_some_and(|whole| hash.finalize() != *whole) {
            return Err(PartError::Hash);
        }
        self.next = self.next.checked_add(1).ok_or(PartError::TooLong)?;
        (self.hash, self.done) = (hash, last.is_some());
        Ok(Zeroizing::new(body.to_vec()))
    }
}

/// Whether a part is the last one of its record.
///
/// # Errors
/// [`PartError`].
pub fn is_last(
    envelope: &Envelope,
    record: Record,
    part: u32,
    sealed: &[u8],
) -> Result<bool, PartError> {
    Ok(split(&open(envelope, record, part, sealed)?)?.0.is_some())
}

fn open(
    envelope: &Envelope,
    record: Record,
    part: u32,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, PartError> {
    Ok(envelope.open(&context(record, part), sealed)?)
}

/// The whole record's hash, in its last part, and the bytes of the record.
fn split(plain: &[u8]) -> Result<(Option<&[u8; HASH]>, &[u8]), PartError> {
    match plain.split_first_chunk::<2>() {
        Some(([VERSION, 0], body)) => Ok((None, body)),
        Some(([VERSION, 1], rest)) => {
            let (hash, body) = rest.split_first_chunk::<HASH>().ok_or(PartError::Format)?;
            Ok((Some(hash), body))
        }
        _ => Err(PartError::Format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;
    use crate::seal::Key;
    use proptest::prelude::*;

    fn envelope(n: u8) -> Envelope {
        super::super::envelope(&Key::from_bytes([n; 32]))
    }

    fn cut(envelope: &Envelope, record: Record, content: &[u8], seed: u64) -> Vec<Bytes> {
        let random = SeededRandom::new(seed);
        let mut cutter = Cutter::new(envelope, &random, record);
        let mut parts = Vec::new();
        for piece in content.chunks(300_000) {
            cutter.push(piece);
            while let Some((number, part)) = cutter.next_part().unwrap() {
                assert_eq!(number as usize, parts.len());
                parts.push(part);
            }
        }
        parts.push(cutter.finish().unwrap().1);
        parts
    }

    fn join(envelope: &Envelope, record: Record, parts: &[Bytes]) -> Result<Vec<u8>, PartError> {
        let mut joiner = Joiner::new(envelope, record);
        let mut content = Vec::new();
        for part in parts {
            content.extend_from_slice(&joiner.take(part)?);
        }
        assert_eq!(joiner.wants(), None, "no end has come");
        Ok(content)
    }

    fn content(len: usize, seed: u8) -> Vec<u8> {
        (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn records_read_back_and_nothing_else_passes_for_them(
            len in prop_oneof![0..2000usize, PART - 40..PART + 40, 2 * PART..3 * PART],
            flip: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let (key, record) = (envelope(1), Record::Groups { from: 4, until: 9 });
            let whole = content(len, 0);
            let parts = cut(&key, record, &whole, 1);
            prop_assert!(parts.iter().all(|p| shard_info(p.len(), 3).check().is_ok()));
            prop_assert_eq!(join(&key, record, &parts), Ok(whole));

            // Another place, another key.
            let other = Record::Groups { from: 5, until: 9 };
            prop_assert!(join(&key, other, &parts).is_err());
            prop_assert!(join(&envelope(2), record, &parts).is_err());
            // A flipped bit, bytes cut off.
            let at = flip.index(parts[0].len());
            let mut bad = parts.clone();
            let mut bytes = bad[0].to_vec();
            bytes[at] ^= 1 << bit;
            bad[0] = bytes.into();
            prop_assert!(join(&key, record, &bad).is_err());
            bad[0] = parts[0].slice(..at);
            prop_assert!(join(&key, record, &bad).is_err());
        }
    }

    #[test]
    fn parts_of_two_records_of_one_name_do_not_mix() {
        let (key, record) = (envelope(1), Record::Snapshot { index: 4, attempt: 7 });
        let a = cut(&key, record, &content(2 * PART + 5, 1), 1);
        let b = cut(&key, record, &content(2 * PART + 5, 2), 2);
        let mixed = [a[0].clone(), b[1].clone(), b[2].clone()];
        assert_eq!(join(&key, record, &mixed), Err(PartError::Hash));
        let swapped = [a[1].clone(), a[0].clone(), a[2].clone()];
        assert!(matches!(join(&key, record, &swapped), Err(PartError::Seal(_))));
        let mut joiner = Joiner::new(&key, record);
        joiner.take(&a[0]).unwrap();
        assert_eq!(joiner.wants(), Some(1), "a record that is cut short is not whole");
        assert!(joiner.take(&a[0]).is_err());
        assert!(joiner.take(&a[1]).is_ok(), "another copy may be tried");
        assert_eq!(is_last(&key, record, 1, &a[1]), Ok(false));
        assert_eq!(is_last(&key, record, 2, &a[2]), Ok(true));
    }
}

//! What is in a record.

use serde::{Deserialize, Serialize};

/// A position in the replicated log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The term in which it was written.
    pub term: u64,
    /// The gateway that led then.
    pub leader: u64,
    /// Its number.
    pub index: u64,
}

/// Commands that were applied together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Their place in the log.
    pub position: Position,
    /// The commands, each as the log holds it.
    pub commands: Vec<Vec<u8>>,
}

/// A record of groups: all that was applied within a range of indices. Entries of the log that hold
/// no commands are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups(pub Vec<Group>);

/// What is in a record can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record of the journal can't be decoded: {0}")]
pub struct RecordError(pub String);

impl Groups {
    /// As bytes.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        postcard::to_stdvec(self).map_err(|e| RecordError(e.to_string()))
    }

    /// The inverse of [`Groups::encode`]; groups must be within `from..=until`, in order, and their
    /// terms must not fall.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8], from: u64, until: u64) -> Result<Self, RecordError> {
        let groups: Self = postcard::from_bytes(bytes).map_err(|e| RecordError(e.to_string()))?;
        let inside = |g: &Group| (from..=until).contains(&g.position.index);
        if !groups.0.iter().all(inside) {
            return Err(RecordError("a group is outside of its record".into()));
        }
        if !groups.0.windows(2).all(|w| follows(w[0].position, w[1].position)) {
            return Err(RecordError("groups are out of order".into()));
        }
        Ok(groups)
    }
}

/// Whether `next` can come after `last` in one log.
pub fn follows(last: Position, next: Position) -> bool {
    next.index > last.index && next.term >= last.term
}

/// Puts a length before some bytes, so that [`Frames`] finds their end.
///
/// # Errors
/// [`RecordError`] when they are too long.
pub fn frame(bytes: &[u8]) -> Result<Vec<u8>, RecordError> {
    match u32::try_from(bytes.len()) {
        Ok(len) if len <= Frames::MAX => Ok([&len.to_be_bytes(), bytes].concat()),
        _ => Err(RecordError(format!("{} bytes are too many for a frame", bytes.len()))),
    }
}

/// Finds frames in the bytes of a record as they come.
#[derive(Debug, Default)]
pub struct Frames {
    waiting: Vec<u8>,
}

impl Frames {
    /// The longest frame, in bytes.
    pub const MAX: u32 = 64 << 20;

    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// [`RecordError`] when a length makes no sense.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, RecordError> {
        let Some((len, body)) = self.waiting.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_be_bytes(*len);
        if len > Self::MAX {
            return Err(RecordError(format!("a frame of {len} bytes")));
        }
        let len = len as usize;
        if body.len() < len {
            return Ok(None);
        }
        let frame = body[..len].to_vec();
        self.waiting.drain(..4 + len);
        Ok(Some(frame))
    }

    /// Whether nothing is left over.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_are_found_however_they_are_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            step in 1..60usize,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|f| frame(f).unwrap()).collect();
            let mut reader = Frames::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(step) {
                reader.push(piece);
                while let Some(frame) = reader.next_frame().unwrap() {
                    found.push(frame);
                }
            }
            prop_assert!(reader.is_empty());
            prop_assert_eq!(found, frames);
        }

        #[test]
        fn any_bytes_are_groups_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Groups::decode(&bytes, 0, u64::MAX);
        }
    }

    #[test]
    fn groups_stay_inside_their_record_and_in_order() {
        let group = |term, index| Group {
            position: Position { term, leader: 1, index },
            commands: vec![vec![1, 2, 3]],
        };
        let read =
            |groups: &[Group]| Groups::decode(&Groups(groups.to_vec()).encode().unwrap(), 5, 9);
        assert!(read(&[]).is_ok());
        assert!(read(&[group(1, 5), group(1, 7), group(2, 9)]).is_ok());
        for bad in [&[group(1, 4)][..], &[group(1, 10)], &[group(1, 6), group(1, 6)]] {
            assert!(read(bad).is_err());
        }
        assert!(read(&[group(2, 6), group(1, 7)]).is_err(), "terms never fall");
    }
}

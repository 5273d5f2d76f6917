//! A bucket that does one thing at a time, for [`super::linearize`].
//!
//! Reads, listings and conditional writes are single moments. A copy is two: it reads its source,
//! and later, maybe after others wrote to both, writes its target; S3 promises no more.

use super::linearize::Model;
use std::collections::BTreeMap;

/// An object's name; tests have few.
pub type Key = u8;

/// An object's content, told apart by its bytes and by the form of its entity tag, which depends
/// on whether it was uploaded in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// Which bytes.
    pub body: u32,
    /// Whether it came in parts.
    pub parts: bool,
}

impl Value {
    /// What a copy of it is.
    pub fn copied(self) -> Self {
        Self { parts: false, ..self }
    }
}

/// The condition of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// None.
    Always,
    /// `If-None-Match: *`.
    Absent,
    /// `If-Match` with the entity tag of a value.
    Matches(Value),
}

impl Condition {
    fn holds(self, current: Option<&Value>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => current.is_none(),
            Self::Matches(value) => current == Some(&value),
        }
    }
}

/// What is asked of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Make `value` the object `key`.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Value,
        /// When.
        condition: Condition,
    },
    /// Remove an object, if there is one.
    Delete {
        /// Which.
        key: Key,
        /// When.
        condition: Condition,
    },
    /// Get or head an object.
    Read {
        /// Which.
        key: Key,
    },
    /// The first half of a copy.
    CopyFrom {
        /// Which copy; no two have the same number.
        copy: u32,
        /// What to copy.
        key: Key,
    },
    /// The second half of a copy.
    CopyTo {
        /// Which copy.
        copy: u32,
        /// Where it goes.
        key: Key,
        /// When.
        condition: Condition,
    },
    /// List all objects.
    List,
}

/// What the bucket answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The write happened.
    Done,
    /// The write's condition did not hold.
    Refused,
    /// What the object is; of the first half of a copy, what the copy is.
    Value(Option<Value>),
    /// All objects.
    Listing(BTreeMap<Key, Value>),
}

/// What the bucket holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    objects: BTreeMap<Key, Value>,
    /// Copies that have read and not written yet.
    copies: BTreeMap<u32, Value>,
}

/// The model of an empty bucket without versions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket;

impl Model for Bucket {
    type State = State;
    type Input = Request;
    type Output = Answer;

    fn initial(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, request: &Request, answer: Option<&Answer>) -> Option<State> {
        let (own, next) = state.apply(request)?;
        answer.is_none_or(|answer| *answer == own).then_some(next)
    }
}

impl State {
    /// What the bucket answers, and its state afterwards. `None` for the second half of a copy
    /// whose first has not been.
    pub fn apply(&self, request: &Request) -> Option<(Answer, Self)> {
        let mut next = self.clone();
        let answer = match request {
            Request::Put { key, value, condition } => {
                next.write(*key, *condition, |objects| objects.insert(*key, *value))
            }
            // Whatever the condition: there is nothing to delete.
            Request::Delete { key, .. } if !self.objects.contains_key(key) => Answer::Done,
            Request::Delete { key, condition } => {
                next.write(*key, *condition, |objects| objects.remove(key))
            }
            Request::Read { key } => Answer::Value(self.objects.get(key).copied()),
            Request::CopyFrom { copy, key } => {
                let value = self.objects.get(key).map(|v| v.copied());
                next.copies.extend(value.map(|v| (*copy, v)));
                Answer::Value(value)
            }
            Request::CopyTo { copy, key, condition } => match next.copies.remove(copy) {
                Some(v) => next.write(*key, *condition, |objects| objects.insert(*key, v)),
                None if condition.holds(self.objects.get(key)) => return None,
                // Whether the condition holds may be asked before the source is read.
                None => Answer::Refused,
            },
            Request::List => Answer::Listing(self.objects.clone()),
        };
        Some((answer, next))
    }

    fn write(
        &mut self,
        key: Key,
        condition: Condition,
        write: impl FnOnce(&mut BTreeMap<Key, Value>) -> Option<Value>,
    ) -> Answer {
        if !condition.holds(self.objects.get(&key)) {
            return Answer::Refused;
        }
        write(&mut self.objects);
        Answer::Done
    }
}

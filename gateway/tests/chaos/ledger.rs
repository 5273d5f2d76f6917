//! What each object may be, as its only client knows it.
//!
//! A write that was acknowledged has happened; one that was not answered, or answered with an error
//! of the server, is in doubt: it may have happened, or may still happen, once, at any later time.

use std::fmt;

/// An object's bytes, which follow from a number that no other object has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) number: u64,
    pub(crate) len: usize,
}

impl Body {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        blake3::Hasher::new().update(&self.number.to_be_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }
}

/// An object as it is at one time; `None`: there is none.
pub(crate) type State = Option<Body>;

/// One object.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    current: State,
    in_doubt: Vec<State>,
    /// All that happened, for the message of a failing test.
    story: Vec<String>,
}

impl Entry {
    pub(crate) fn new(key: String) -> Self {
        Self { key, current: None, in_doubt: Vec::new(), story: Vec::new() }
    }

    /// What it is, unless a write in doubt has changed it.
    pub(crate) fn current(&self) -> State {
        self.current
    }

    /// All that it may be.
    pub(crate) fn possible(&self) -> Vec<State> {
        std::iter::once(self.current).chain(self.in_doubt.iter().copied()).collect()
    }

    pub(crate) fn acknowledged(&mut self, state: State, door: &str) {
        self.current = state;
        // Writes in doubt stay so: they may happen after this one.
        self.tell(format_args!("acknowledged {state:?} ({door})"));
    }

    pub(crate) fn doubtful(&mut self, state: State, why: &str) {
        self.in_doubt.push(state);
        self.tell(format_args!("in doubt {state:?}: {why}"));
    }

    /// Takes note of what a read has shown, which must be possible.
    pub(crate) fn saw(&mut self, seen: State, how: &str) {
        if seen == self.current {
            return;
        }
        let Some(at) = self.in_doubt.iter().position(|state| *state == seen) else {
            self.impossible(&format!("{seen:?} ({how})"));
        };
        // It has happened, and does not happen again.
        self.in_doubt.remove(at);
        self.current = seen;
        self.tell(format_args!("seen {seen:?} ({how})"));
    }

    /// Fails the test.
    pub(crate) fn impossible(&self, seen: &str) -> ! {
        panic!(
            "{} shows {seen}, which it can't be.\nIt may be {:?}.\n{}",
            self.key,
            self.possible(),
            self.story.join("\n")
        );
    }

    fn tell(&mut self, what: fmt::Arguments<'_>) {
        self.story.push(format!("{} {what}", super::clock_time()));
    }
}

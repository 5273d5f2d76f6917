//! What an attempt to save a checkpoint does about the root that it finds. Pure.

use super::{Entry, Root, SaveId};

/// An attempt that has written everything but the root.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    /// What the root is to list.
    pub(super) entry: Entry,
    /// Whether it's the best so far.
    pub(super) best: bool,
    /// The latest that the trainer knows: it may follow no other one.
    pub(super) latest: Option<SaveId>,
    /// The checkpoint whose chunks it refers to, if it does.
    pub(super) refers_to: Option<SaveId>,
    /// [`Root::sweeps`] before it wrote anything.
    pub(super) sweeps: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Nothing: the root lists it. The answer to an earlier try was lost, and others changed the
    /// root since.
    Done,
    /// Try to put this in the root's place.
    Swap(Root),
    /// Begin a new attempt: some of what this one wrote or refers to may be gone.
    Again,
    /// Give up: another trainer moved the latest, or the run was deleted.
    Raced,
}

impl Attempt {
    /// What is to be done if the root is `found`.
    pub(super) fn next(&self, found: Option<&Root>) -> Next {
        if found.is_some_and(|root| root.saved_by(self.entry.save).is_some()) {
            return Next::Done;
        }
        if found.map(|root| root.latest().save) != self.latest {
            return Next::Raced;
        }
        let listed = |save| found.is_some_and(|root| root.saved_by(save).is_some());
        if found.map_or(0, Root::sweeps) != self.sweeps
            || self.refers_to.is_some_and(|save| !listed(save))
        {
            return Next::Again;
        }
        Next::Swap(Root::with(found, self.entry.clone(), self.best))
    }
}

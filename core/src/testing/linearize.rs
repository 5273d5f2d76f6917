//! Whether a history is linearizable (Herlihy & Wing, 1990): whether its operations can be put in
//! one order, each at a moment between question and answer, in which a sequential model gives just
//! these answers.
//!
//! The search is that of Wing & Gong (1993): of the operations that nothing has to precede, take
//! one that the model allows, go on, and come back when stuck. As in Lowe, "Testing for
//! linearizability" (Concurrency and Computation, 2017), a set of operations that led to the same
//! state before is not tried again, and a history is split into the parts that do not depend on
//! each other (P-compositionality, there for keys).

use super::explain;
use super::history::{Operation, Outcome};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::Hash;

/// What the store would do if it did one thing at a time.
pub trait Model {
    /// All that later answers depend on.
    type State: Clone + Eq + Hash + fmt::Debug;
    /// What is asked.
    type Input: fmt::Debug;
    /// What is answered.
    type Output: fmt::Debug;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `input`, or `None` if the model can't answer `output` in `state`. Without an
    /// output, any answer will do.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    Violation(Violation),
    /// The search was given up after this many configurations.
    Undecided(usize),
}

/// Why a history is not linearizable. Shown, it tells the whole story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The longest order that was found, as indices into the history.
    pub prefix: Vec<usize>,
    /// The operation, as index into the history, that had answered and could not follow.
    pub stuck: usize,
    pub(super) story: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.story)
    }
}

/// Checks a history, visiting at most `limit` configurations (each costs a copy of the state and a
/// bit per operation).
pub fn check<M: Model>(
    model: &M,
    history: &[Operation<M::Input, M::Output>],
    limit: usize,
) -> Verdict {
    let all: Vec<usize> = (0..history.len()).collect();
    Search::new(model, history, &all).run(limit)
}

/// As [`check`], for histories whose operations concern one part each, as given by `part`, and
/// where parts do not depend on each other: each part by itself is far quicker, and says the same.
pub fn check_parts<M: Model, K: Ord>(
    model: &M,
    history: &[Operation<M::Input, M::Output>],
    part: impl Fn(&M::Input) -> K,
    limit: usize,
) -> Verdict {
    let mut parts: BTreeMap<K, Vec<usize>> = BTreeMap::new();
    for (index, operation) in history.iter().enumerate() {
        parts.entry(part(&operation.input)).or_default().push(index);
    }
    parts
        .values()
        .map(|members| Search::new(model, history, members).run(limit))
        .find(|verdict| *verdict != Verdict::Linearizable)
        .unwrap_or(Verdict::Linearizable)
}

/// A question or an answer, of a member (an index into [`Search::members`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Invoked(usize),
    Returned(usize),
}

/// The configuration that the search is in.
struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Input, M::Output>],
    /// What is checked, as indices into the history.
    members: &'a [usize],
    events: Vec<Event>,
    list: Links,
    /// Where in `events` a member's question is, and its answer if there was one.
    places: Vec<(usize, Option<usize>)>,
    state: M::State,
    /// What is in order already, with the state before it.
    order: Vec<(usize, M::State)>,
    done: Members,
    /// Members that had an answer and are not in order yet.
    missing: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(
        model: &'a M,
        history: &'a [Operation<M::Input, M::Output>],
        members: &'a [usize],
    ) -> Self {
        let mut timed = Vec::with_capacity(members.len() * 2);
        for (member, index) in members.iter().enumerate() {
            timed.push((history[*index].invoked, Event::Invoked(member)));
            if let Outcome::Returned { at, .. } = history[*index].outcome {
                timed.push((at, Event::Returned(member)));
            }
        }
        // At the same tick, questions come first: in doubt, operations overlap.
        timed.sort_unstable();
        let events: Vec<Event> = timed.into_iter().map(|(_, event)| event).collect();
        let mut places = vec![(0, None); members.len()];
        for (place, event) in events.iter().enumerate() {
            match *event {
                Event::Invoked(member) => places[member].0 = place,
                Event::Returned(member) => places[member].1 = Some(place),
            }
        }
        Self {
            model,
            history,
            members,
            list: Links::new(events.len()),
            missing: places.iter().filter(|(_, returned)| returned.is_some()).count(),
            events,
            places,
            state: model.initial(),
            order: Vec::new(),
            done: Members::new(members.len()),
        }
    }

    fn run(mut self, limit: usize) -> Verdict {
        let mut seen = HashSet::new();
        let mut best: Option<(usize, Violation)> = None;
        let mut place = self.list.first();
        while self.missing > 0 {
            match place.map(|p| (p, self.events[p])) {
                Some((p, Event::Invoked(member))) => {
                    place = self.list.after(p);
                    if let Some(state) = self.step(member) {
                        self.done.insert(member);
                        if seen.len() >= limit {
                            return Verdict::Undecided(limit);
                        }
                        if seen.insert((self.done.clone(), state.clone())) {
                            self.take(member, state);
                            place = self.list.first();
                        } else {
                            self.done.remove(member);
                        }
                    }
                }
                // Whatever is still to come was asked only after this answer.
                Some((_, Event::Returned(stuck))) => {
                    if best.as_ref().is_none_or(|(missing, _)| self.missing < *missing) {
                        best = Some((self.missing, self.violation(stuck)));
                    }
                    match self.give_back() {
                        Some(member) => place = self.list.after(self.places[member].0),
                        None => break,
                    }
                }
                None => break,
            }
        }
        match best {
            Some((_, violation)) if self.missing > 0 => Verdict::Violation(violation),
            _ => Verdict::Linearizable,
        }
    }

    /// The state after a member, if it can be next.
    fn step(&self, member: usize) -> Option<M::State> {
        let operation = &self.history[self.members[member]];
        match &operation.outcome {
            Outcome::Returned { output, .. } => {
                self.model.step(&self.state, &operation.input, Some(output))
            }
            // What changes nothing and told nobody anything need not have happened.
            Outcome::Unknown => self
                .model
                .step(&self.state, &operation.input, None)
                .filter(|state| *state != self.state),
        }
    }

    /// Puts a member next in the order.
    fn take(&mut self, member: usize, state: M::State) {
        self.order.push((member, std::mem::replace(&mut self.state, state)));
        let (invoked, returned) = self.places[member];
        self.list.unlink(invoked);
        if let Some(returned) = returned {
            self.list.unlink(returned);
            self.missing -= 1;
        }
    }

    /// Takes back the last in the order.
    fn give_back(&mut self) -> Option<usize> {
        let (member, state) = self.order.pop()?;
        self.state = state;
        self.done.remove(member);
        let (invoked, returned) = self.places[member];
        // In the opposite order of `take`: a link only knows the neighbours that it left.
        if let Some(returned) = returned {
            self.list.relink(returned);
            self.missing += 1;
        }
        self.list.relink(invoked);
        Some(member)
    }

    fn violation(&self, stuck: usize) -> Violation {
        let prefix: Vec<usize> = self.order.iter().map(|(m, _)| self.members[*m]).collect();
        let stuck = self.members[stuck];
        let story = explain::story(self.history, self.members, &prefix, stuck, &self.state);
        Violation { prefix, stuck, story }
    }
}

/// A doubly linked list over `0..n` whose members come and go (Knuth's dancing links). Place 0 is
/// the anchor; member `i` is at place `i + 1`.
struct Links {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Links {
    fn new(n: usize) -> Self {
        let ring = n + 1;
        let next = (0..ring).map(|i| (i + 1) % ring).collect();
        let previous = (0..ring).map(|i| (i + ring - 1) % ring).collect();
        Self { next, previous }
    }

    fn first(&self) -> Option<usize> {
        self.next[0].checked_sub(1)
    }

    fn after(&self, member: usize) -> Option<usize> {
        self.next[member + 1].checked_sub(1)
    }

    fn unlink(&mut self, member: usize) {
        let (previous, next) = (self.previous[member + 1], self.next[member + 1]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn relink(&mut self, member: usize) {
        let (previous, next) = (self.previous[member + 1], self.next[member + 1]);
        self.next[previous] = member + 1;
        self.previous[next] = member + 1;
    }
}

/// A set of members, a bit each.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Members(Vec<u64>);

impl Members {
    fn new(n: usize) -> Self {
        Self(vec![0; n.div_ceil(64)])
    }

    fn insert(&mut self, member: usize) {
        self.0[member / 64] |= 1 << (member % 64);
    }

    fn remove(&mut self, member: usize) {
        self.0[member / 64] &= !(1 << (member % 64));
    }
}

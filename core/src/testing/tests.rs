//! The checker against known histories, and against one that tries all orders.

use super::bucket::{Answer, Bucket, Condition, Key, Request, State, Value};
use super::history::{Operation, Outcome};
use super::linearize::{Model, Verdict, check, check_parts};
use proptest::prelude::*;

type Op = Operation<Request, Answer>;

const LIMIT: usize = 100_000;
const KEY: Key = 0;

fn value(body: u32) -> Value {
    Value { body, parts: false }
}

/// An operation that was asked and answered at these ticks.
fn op(client: u32, ticks: (u64, u64), input: Request, output: Answer) -> Op {
    let outcome = Outcome::Returned { at: ticks.1, output };
    Operation { client, invoked: ticks.0, input, outcome }
}

fn put(body: u32) -> Request {
    put_if(body, Condition::Always)
}

fn put_if(body: u32, condition: Condition) -> Request {
    Request::Put { key: KEY, value: value(body), condition }
}

fn delete() -> Request {
    Request::Delete { key: KEY, condition: Condition::Always }
}

fn read() -> Request {
    Request::Read { key: KEY }
}

fn is(body: u32) -> Answer {
    Answer::Value(Some(value(body)))
}

fn listing(objects: &[(Key, u32)]) -> Answer {
    Answer::Listing(objects.iter().map(|(k, b)| (*k, value(*b))).collect())
}

const NOTHING: Answer = Answer::Value(None);
const DONE: Answer = Answer::Done;

fn fits(history: &[Op]) -> bool {
    match check(&Bucket, history, LIMIT) {
        Verdict::Linearizable => true,
        Verdict::Violation(_) => false,
        undecided @ Verdict::Undecided(_) => panic!("{undecided:?}"),
    }
}

#[test]
fn overlapping_operations_may_take_effect_in_any_order() {
    let writes = [op(0, (0, 10), put(1), DONE), op(1, (1, 9), put(2), DONE)];
    for seen in [1, 2] {
        let mut history = writes.to_vec();
        history.push(op(2, (20, 21), read(), is(seen)));
        assert!(fits(&history), "{seen}");
        // Once one was seen as the last, the other can't come back.
        history.push(op(2, (22, 23), read(), is(3 - seen)));
        assert!(!fits(&history), "{seen}");
    }
    // While a write is under way it may be seen or not, but not first seen and then not.
    let write = op(0, (0, 10), put(1), DONE);
    let early = op(1, (1, 2), read(), NOTHING);
    let late = op(1, (3, 4), read(), is(1));
    assert!(fits(&[write.clone(), early, late]));
    let early = op(1, (1, 2), read(), is(1));
    let late = op(1, (3, 4), read(), NOTHING);
    assert!(!fits(&[write, early, late]));
}

#[test]
fn what_no_sound_store_does_is_found() {
    let refused = Answer::Refused;
    let bad: [(&str, Vec<Op>); 8] = [
        (
            "a stale read",
            vec![
                op(0, (0, 1), put(1), DONE),
                op(0, (2, 3), put(2), DONE),
                op(1, (4, 5), read(), is(1)),
            ],
        ),
        (
            "a lost update",
            vec![
                op(0, (0, 1), put(1), DONE),
                op(0, (2, 8), put_if(2, Condition::Matches(value(1))), DONE),
                op(1, (3, 9), put_if(3, Condition::Matches(value(1))), DONE),
            ],
        ),
        ("a value that nobody wrote", vec![op(0, (0, 1), read(), is(9))]),
        (
            "two creations",
            vec![
                op(0, (0, 5), put_if(1, Condition::Absent), DONE),
                op(1, (1, 6), put_if(2, Condition::Absent), DONE),
            ],
        ),
        (
            "a creation refused where nothing was",
            vec![op(0, (0, 5), put_if(1, Condition::Absent), refused)],
        ),
        (
            "a deleted object",
            vec![
                op(0, (0, 1), put(1), DONE),
                op(1, (2, 3), delete(), DONE),
                op(0, (4, 5), read(), is(1)),
            ],
        ),
        (
            "a listing without what was written before",
            vec![op(0, (0, 1), put(1), DONE), op(1, (2, 3), Request::List, listing(&[]))],
        ),
        (
            "a listing of a moment that never was",
            vec![
                op(0, (0, 1), put(1), DONE),
                op(
                    0,
                    (2, 3),
                    Request::Put { key: 1, value: value(2), condition: Condition::Always },
                    DONE,
                ),
                op(1, (0, 9), Request::List, listing(&[(1, 2)])),
            ],
        ),
    ];
    for (what, history) in &bad {
        assert!(!fits(history), "{what}");
    }
}

#[test]
fn without_an_answer_a_write_may_have_happened_at_any_later_time_or_never() {
    let lost = Operation { client: 0, invoked: 2, input: put(2), outcome: Outcome::Unknown };
    let first = op(1, (0, 1), put(1), DONE);
    let see = |at, body| op(1, (at, at + 1), read(), is(body));
    assert!(fits(&[first.clone(), lost.clone(), see(10, 1), see(20, 1)]), "never");
    assert!(fits(&[first.clone(), lost.clone(), see(10, 2), see(20, 2)]), "at once");
    assert!(fits(&[first.clone(), lost.clone(), see(10, 1), see(20, 2)]), "late");
    assert!(!fits(&[first.clone(), lost.clone(), see(10, 2), see(20, 1)]), "undone");
    assert!(!fits(&[see(0, 2), lost]), "before it was asked");
}

#[test]
fn a_copy_reads_before_it_writes() {
    let copy = |at, key| {
        let to = Request::CopyTo { copy: 7, key: 1, condition: Condition::Always };
        let from = op(1, at, Request::CopyFrom { copy: 7, key }, is(1));
        [from, op(1, at, to, DONE)]
    };
    let copied = op(1, (20, 21), Request::Read { key: 1 }, is(1));
    // The source is overwritten while it is copied, and the copy shows up afterwards.
    let mut history = vec![op(0, (0, 1), put(1), DONE), op(0, (3, 4), put(2), DONE)];
    history.extend(copy((2, 9), KEY));
    history.push(op(0, (5, 6), Request::List, listing(&[(0, 2)])));
    history.push(copied.clone());
    assert!(fits(&history));
    // It can't show what its source only becomes later.
    let mut history = vec![op(0, (10, 11), put(1), DONE)];
    history.extend(copy((2, 9), KEY));
    history.push(copied);
    assert!(!fits(&history));
}

#[test]
fn a_violation_is_told_in_full() {
    let history = [
        op(0, (0, 1), put(1), DONE),
        op(0, (2, 3), put(2), DONE),
        op(1, (4, 9), put_if(3, Condition::Matches(value(1))), DONE),
        op(2, (5, 6), read(), is(1)),
    ];
    let Verdict::Violation(violation) = check(&Bucket, &history, LIMIT) else {
        panic!("it is stale");
    };
    assert_eq!((violation.prefix.as_slice(), violation.stuck), (&[0, 1][..], 3));
    let story = violation.to_string();
    assert!(story.contains("2 of 4 operations"), "{story}");
    let (order, rest) = story.split_once("this can't follow").unwrap();
    assert!(order.contains("[   2,    3] client 0: Put"), "{story}");
    assert!(rest.contains("client 2: Read") && rest.contains("client 1: Put"), "{story}");
}

#[test]
fn a_search_that_grows_too_large_is_given_up() {
    let history: Vec<Op> = (0..20).map(|i| op(i, (0, 100), put(i), DONE)).collect();
    let mut stale = history;
    stale.push(op(0, (200, 201), read(), is(99)));
    assert_eq!(check(&Bucket, &stale, 1000), Verdict::Undecided(1000));
}

fn condition(bodies: u32) -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => Just(Condition::Always),
        1 => Just(Condition::Absent),
        1 => (0..bodies).prop_map(|b| Condition::Matches(value(b))),
    ]
}

fn request(keys: Key, bodies: u32) -> impl Strategy<Value = Request> {
    let condition = move || condition(bodies);
    prop_oneof![
        4 => (0..keys, 0..bodies, condition())
            .prop_map(|(key, b, condition)| Request::Put { key, value: value(b), condition }),
        2 => (0..keys, condition()).prop_map(|(key, condition)| Request::Delete { key, condition }),
        3 => (0..keys).prop_map(|key| Request::Read { key }),
        1 => Just(Request::List),
    ]
}

/// Requests one after another, each at its moment (20, 40, ...), which lies somewhere within the
/// time that its client sees.
fn overlapping(requests: Vec<(Request, u64, u64)>) -> Vec<Op> {
    let mut state = State::default();
    let mut history = Vec::new();
    for (moment, (request, before, after)) in (1u64..).map(|i| i * 20).zip(requests) {
        let (answer, next) = state.apply(&request).unwrap();
        state = next;
        history.push(op(0, (moment.saturating_sub(before), moment + after), request, answer));
    }
    history
}

/// Histories of a bucket that does one thing at a time for clients that overlap.
fn sound() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec((request(3, 4), 0..60u64, 0..60u64), 1..40).prop_map(overlapping)
}

/// The definition, word for word: some order of some of the unanswered and all of the answered.
fn fits_by_trying_all(state: &State, rest: &[Op]) -> bool {
    let answered = |o: &Op| match o.outcome {
        Outcome::Returned { at, .. } => Some(at),
        Outcome::Unknown => None,
    };
    let Some(deadline) = rest.iter().filter_map(answered).min() else { return true };
    (0..rest.len()).filter(|i| rest[*i].invoked <= deadline).any(|i| {
        let output = match &rest[i].outcome {
            Outcome::Returned { output, .. } => Some(output),
            Outcome::Unknown => None,
        };
        let Some(next) = Bucket.step(state, &rest[i].input, output) else { return false };
        let mut others = rest.to_vec();
        others.remove(i);
        fits_by_trying_all(&next, &others)
    })
}

fn any_answer() -> impl Strategy<Value = Option<Answer>> {
    prop_oneof![
        4 => Just(Some(DONE)),
        1 => Just(Some(Answer::Refused)),
        2 => (0..3u32).prop_map(|b| Some(is(b))),
        1 => Just(Some(NOTHING)),
        1 => Just(None),
    ]
}

/// Requests to one object with answers that may or may not make sense together.
fn any_history() -> impl Strategy<Value = Vec<Op>> {
    let request = request(1, 3).prop_filter("lists are rare", |r| *r != Request::List);
    let one = (request, any_answer(), 0..20u64, 0..10u64);
    prop::collection::vec(one, 1..7).prop_map(|all| {
        all.into_iter()
            .map(|(input, answer, from, length)| {
                // Writes are not answered with values, nor reads with success.
                let answer = match (&input, answer) {
                    (Request::Read { .. }, Some(DONE | Answer::Refused)) => Some(is(0)),
                    (Request::Put { .. } | Request::Delete { .. }, Some(Answer::Value(_))) => {
                        Some(DONE)
                    }
                    (_, answer) => answer,
                };
                let outcome = answer.map_or(Outcome::Unknown, |output| Outcome::Returned {
                    at: from + length,
                    output,
                });
                Operation { client: 0, invoked: from, input, outcome }
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_a_sound_bucket_answers_is_accepted(history in sound()) {
        prop_assert_eq!(check(&Bucket, &history, LIMIT), Verdict::Linearizable);
    }

    #[test]
    fn answers_that_got_lost_do_no_harm(history in sound(), lost: u64) {
        let lose = |(i, mut o): (usize, Op)| {
            if lost >> (i * 5 % 64) & 7 == 0 {
                o.outcome = Outcome::Unknown;
            }
            o
        };
        let history: Vec<Op> = history.into_iter().enumerate().map(lose).collect();
        prop_assert_eq!(check(&Bucket, &history, LIMIT), Verdict::Linearizable);
    }

    #[test]
    fn one_impossible_answer_is_found(history in sound(), which: prop::sample::Index) {
        let mut history = history;
        let at = which.index(history.len());
        let wrong = match history[at].input {
            Request::Read { .. } => is(99),
            Request::List => listing(&[(0, 99)]),
            _ => NOTHING,
        };
        if let Outcome::Returned { output, .. } = &mut history[at].outcome {
            *output = wrong;
        }
        prop_assert!(!fits(&history));
    }

    #[test]
    fn the_search_agrees_with_trying_all_orders(history in any_history()) {
        let expected = fits_by_trying_all(&State::default(), &history);
        prop_assert_eq!(fits(&history), expected, "{:?}", history);
    }

    #[test]
    fn parts_by_themselves_say_the_same_as_all_together(history in sound(), stale: bool) {
        let key = |r: &Request| match r {
            Request::Put { key, .. } | Request::Delete { key, .. } | Request::Read { key } => *key,
            Request::CopyFrom { .. } | Request::CopyTo { .. } | Request::List => 0,
        };
        let mut history: Vec<Op> =
            history.into_iter().filter(|o| o.input != Request::List).collect();
        if stale {
            history.push(op(0, (5000, 5001), put(1), DONE));
            history.push(op(0, (5002, 5003), read(), is(2)));
        }
        let parts = check_parts(&Bucket, &history, key, LIMIT);
        prop_assert_eq!(matches!(parts, Verdict::Linearizable), !stale);
        prop_assert_eq!(fits(&history), !stale);
    }
}

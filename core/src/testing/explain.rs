//! A history that is not linearizable, told to a person.

use super::history::{Operation, Outcome};
use std::fmt::{Debug, Write};

/// The longest order that was found, the state it led to, and what could not follow.
pub(super) fn story<I: Debug, O: Debug>(
    history: &[Operation<I, O>],
    members: &[usize],
    prefix: &[usize],
    stuck: usize,
    state: &impl Debug,
) -> String {
    let mut text = format!(
        "not linearizable: {} of {} operations can be put in order\n",
        prefix.len(),
        members.len()
    );
    for index in prefix {
        line(&mut text, &history[*index]);
    }
    text += &format!("after these the state is {state:?}\nand this can't follow:\n");
    line(&mut text, &history[stuck]);
    let deadline = match history[stuck].outcome {
        Outcome::Returned { at, .. } => at,
        Outcome::Unknown => u64::MAX,
    };
    let mut beside = members
        .iter()
        .filter(|i| **i != stuck && !prefix.contains(i) && history[**i].invoked <= deadline)
        .peekable();
    if beside.peek().is_some() {
        text += "nor can any of these come between:\n";
    }
    for index in beside {
        line(&mut text, &history[*index]);
    }
    text
}

fn line<I: Debug, O: Debug>(text: &mut String, operation: &Operation<I, O>) {
    let Operation { client, invoked, input, outcome } = operation;
    // Writing to a string can't fail.
    let _ = match outcome {
        Outcome::Returned { at, output } => {
            writeln!(text, "  [{invoked:>4}, {at:>4}] client {client}: {input:?} -> {output:?}")
        }
        Outcome::Unknown => writeln!(text, "  [{invoked:>4},    ?] client {client}: {input:?}"),
    };
}

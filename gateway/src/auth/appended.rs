//! What holders may append to a token: checks, of bounded cost.
//!
//! A check is run for every request, and the token library only looks at its clock between steps.
//! Facts and rules of a holder's own could make one step as long as they like (a join of n facts
//! with themselves k times is n^k), and so could nested loops in an expression. Narrowing a token
//! needs none of these, so that tokens with them are refused.

use biscuit_auth::Authorizer;
use biscuit_auth::builder::{Check, Op, Rule};

/// The most checks in a token.
const MAX_CHECKS: usize = 64;
/// The most facts that one check may join.
const MAX_JOINED: usize = 4;

/// Whether nothing but cheap checks was appended to a token whose first block has `own_facts`.
pub(super) fn is_cheap(authorizer: &Authorizer, own_facts: usize) -> bool {
    let (facts, rules, checks, _) = authorizer.dump();
    facts.len() == own_facts
        && rules.is_empty()
        && checks.len() <= MAX_CHECKS
        && checks.iter().all(cheap_check)
}

fn cheap_check(check: &Check) -> bool {
    check.queries.len() <= MAX_CHECKS && check.queries.iter().all(cheap_query)
}

fn cheap_query(query: &Rule) -> bool {
    query.body.len() <= MAX_JOINED && query.expressions.iter().all(|e| e.ops.iter().all(cheap_op))
}

/// Closures without parameters are the right sides of `&&` and `||`; those with are loops.
fn cheap_op(op: &Op) -> bool {
    match op {
        Op::Closure(parameters, ops) => parameters.is_empty() && ops.iter().all(cheap_op),
        Op::Value(_) | Op::Unary(_) | Op::Binary(_) => true,
    }
}

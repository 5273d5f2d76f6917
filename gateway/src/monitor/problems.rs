//! What is not as it should be, and what an operator should do about it.

use super::report::{NodeReport, Report};
use coffer_core::health::{Space, Verdict};
use coffer_core::placement::NodeState;
use coffer_core::repair::Standing;
use serde::Serialize;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it needs an operator; else the cluster sees to it, or it is to be kept in sight.
    pub needs_operator: bool,
    /// What it is, and what to do.
    pub text: String,
}

/// How the cluster is on the whole.
pub(super) fn overall(problems: &[Problem]) -> Verdict {
    if problems.iter().any(|problem| problem.needs_operator) {
        Verdict::Failing
    } else if problems.is_empty() {
        Verdict::Healthy
    } else {
        Verdict::Watch
    }
}

/// The problems of what is reported, those first that need an operator.
pub(super) fn of(report: &Report, journal_is_behind: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |needs_operator, text: String| problems.push(Problem { needs_operator, text });
    if report.leaderless {
        let text = "no gateway leads the catalog, nothing can be written: start gateways until a majority is up and connected";
        add(true, text.to_owned());
    }
    for gateway in report.gateways.iter().filter(|gateway| !gateway.reachable) {
        let (name, id) = (&gateway.name, gateway.id);
        add(
            true,
            format!(
                "gateway {name} does not answer: start it, or remove it (coffer admin gateway remove {id})"
            ),
        );
    }
    for node in &report.nodes {
        of_node(node, &mut add);
    }
    if journal_is_behind {
        let why = report.journal.as_ref().and_then(|journal| journal.error.clone());
        let why = why.unwrap_or_else(|| "it can't keep up".to_owned());
        add(
            true,
            format!(
                "the journal is behind, so that the catalog could not be rebuilt from the nodes: {why}"
            ),
        );
    }
    let redundancy = &report.redundancy;
    if !redundancy.whole {
        let more = if redundancy.owed_more { " or more" } else { "" };
        let missing = redundancy.missing_blobs.map_or_else(
            || "how many wait for repair is not known".to_owned(),
            |blobs| format!("{blobs} wait for repair"),
        );
        add(
            false,
            format!(
                "redundancy is not whole: {}{more} blobs owe shards, {} shards are damaged, {missing}",
                redundancy.owed_blobs, redundancy.damaged_shards
            ),
        );
    }
    // Stable: what comes first above stays first.
    problems.sort_by_key(|problem| !problem.needs_operator);
    problems
}

fn of_node(node: &NodeReport, add: &mut impl FnMut(bool, String)) {
    let name = &node.name;
    match node.standing {
        Standing::Lost => add(
            true,
            format!(
                "node {name} is lost, its shards are rebuilt on others: start it, or give it up (coffer admin node replace {name} …, or remove {name} --force)"
            ),
        ),
        Standing::Away => add(true, format!("node {name} does not answer: start it")),
        Standing::Slow => {
            add(
                false,
                format!("node {name} answers much later than the others and is read around"),
            );
        }
        Standing::Full | Standing::Up => {}
    }
    let because = node.reasons.join("; ");
    match (node.verdict, node.state) {
        (Verdict::Failing, NodeState::Draining) => {
            add(false, format!("node {name} is failing and is being drained: {because}"));
        }
        (Verdict::Failing, _) => add(
            true,
            format!("node {name} is failing: {because}; drain it (coffer admin node drain {name})"),
        ),
        (Verdict::Watch, _) => add(false, format!("node {name} is to be watched: {because}")),
        (Verdict::Healthy, _) => {}
    }
    match node.space {
        Space::Room => {}
        Space::NearlyFull => add(
            true,
            format!(
                "node {name} is nearly full: add nodes, or lower its weight (coffer admin node set {name} --weight …)"
            ),
        ),
        Space::Full => add(true, format!("node {name} is full and takes no writes: add nodes")),
    }
}

//! `admin health`.

use super::table;
use crate::args::Seconds;
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::Error;
use coffer_client::admin::health::{GatewayHealth, NodeFigures, NodeHealth, Redundancy};
use coffer_client::admin::{HealthReport, Verdict};
use indicatif::HumanBytes;
use std::io::IsTerminal;

pub(crate) async fn run(session: &Session<'_>, watch: Option<Seconds>) -> Result<(), Failure> {
    let Some(Seconds(pause)) = watch else {
        return match show(session).await?.overall {
            Verdict::Failing => Err(Failure::NeedsOperator),
            Verdict::Healthy | Verdict::Watch => Ok(()),
        };
    };
    loop {
        if std::io::stdout().is_terminal() && !session.output.json {
            // Clears the screen, as `watch` does.
            crate::output::write_stdout(b"\x1b[2J\x1b[H")?;
        }
        match show(session).await {
            // It may be the gateway's absence that one wants to see the end of.
            Err(Failure::Failed { target, error }) => session.output.error(&target, &error),
            Err(other) => return Err(other),
            Ok(_) => {}
        }
        tokio::time::sleep(pause).await;
    }
}

async fn show(session: &Session<'_>) -> Result<HealthReport, Failure> {
    let place = session.client.profile().endpoint.to_string();
    let report = session.client.health().await.map_err(Failure::at(place))?;
    let json = serde_json::to_value(&report).map_err(|e| Error::Request(e.to_string()))?;
    session.output.result(describe(&report), || json)?;
    Ok(report)
}

fn describe(report: &HealthReport) -> String {
    let mut parts = vec![nodes(&report.nodes)];
    parts.extend(disks(&report.nodes));
    parts.push(gateways(&report.gateways));
    parts.push(format!("{}\n{}", redundancy(&report.redundancy), journal(report)));
    let problems = report.problems.iter().map(|problem| {
        let mark = if problem.needs_operator { '!' } else { '-' };
        format!("{mark} {}", problem.text)
    });
    parts.extend((!report.problems.is_empty()).then(|| problems.collect::<Vec<_>>().join("\n")));
    parts.push(overall(report));
    parts.join("\n\n")
}

/// The one line that matters.
fn overall(report: &HealthReport) -> String {
    let says = match report.overall {
        Verdict::Healthy => "healthy".to_owned(),
        Verdict::Watch => "watch: nothing needs an operator now".to_owned(),
        Verdict::Failing => {
            let count = report.problems.iter().filter(|problem| problem.needs_operator).count();
            let things = if count == 1 { "thing needs" } else { "things need" };
            format!("{count} {things} an operator")
        }
    };
    format!("cluster: {says} (seen by {})", report.gateway_name)
}

fn word(verdict: Verdict) -> String {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Watch => "watch",
        Verdict::Failing => "failing",
    }
    .to_owned()
}

fn nodes(nodes: &[NodeHealth]) -> String {
    let head = [
        "NODE",
        "STATE",
        "IS",
        "HEALTH",
        "SCORE",
        "USED",
        "CAPACITY",
        "ERRORS",
        "READ/PEERS",
        "FSYNC/PEERS",
        "SCRUB",
        "DAMAGED",
        "DEAD",
    ];
    let row = |node: &NodeHealth| {
        let figure = |show: fn(&NodeFigures) -> String| {
            node.figures.as_ref().map_or_else(|| "-".to_owned(), show)
        };
        [
            node.name.clone(),
            node.state.clone(),
            if node.space == "nearly-full" { "nearly-full".into() } else { node.standing.clone() },
            word(node.verdict),
            node.score.to_string(),
            figure(|f| HumanBytes(f.total_bytes.saturating_sub(f.free_bytes)).to_string()),
            figure(|f| HumanBytes(f.total_bytes).to_string()),
            figure(|f| {
                let errors = f.operations.iter().map(|operation| operation.errors);
                errors.fold(0u64, u64::saturating_add).to_string()
            }),
            figure(|f| latency(f, "read")),
            figure(|f| latency(f, "sync")),
            figure(scrub),
            figure(|f| f.findings.to_string()),
            figure(|f| HumanBytes(f.compaction.dead_bytes).to_string()),
        ]
    };
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(nodes.iter().map(row));
    table(&rows)
}

/// How long an operation takes of late, and how long on the other nodes.
fn latency(figures: &NodeFigures, operation: &str) -> String {
    let ms = |us: Option<u64>| {
        us.map_or_else(|| "-".to_owned(), |us| format!("{}.{}", us / 1000, us % 1000 / 100))
    };
    match figures.operations.iter().find(|o| o.operation == operation) {
        Some(found) if found.mean_us.is_some() => {
            format!("{}/{} ms", ms(found.mean_us), ms(found.peers_us))
        }
        _ => "-".to_owned(),
    }
}

fn scrub(figures: &NodeFigures) -> String {
    let scrub = &figures.scrub;
    let percent = u128::from(scrub.verified_bytes) * 100 / u128::from(scrub.total_bytes).max(1);
    match (scrub.bytes_per_second, scrub.total_bytes) {
        (0, _) => "off".to_owned(),
        (_, 0) => format!("round {}", scrub.rounds.saturating_add(1)),
        _ => format!("round {}: {percent} %", scrub.rounds.saturating_add(1)),
    }
}

/// Disks that say something of themselves, if there are any.
fn disks(nodes: &[NodeHealth]) -> Option<String> {
    let head = ["NODE", "DISK", "MODEL", "HEALTH", "SCORE", "CELSIUS", "REASONS"];
    let mut rows = vec![head.map(str::to_owned)];
    for node in nodes {
        for disk in node.figures.iter().flat_map(|figures| &figures.disks) {
            let celsius = disk.temperature_celsius.map_or("-".to_owned(), |c| c.to_string());
            rows.push([
                node.name.clone(),
                disk.device.clone(),
                disk.model.clone(),
                word(disk.verdict),
                disk.score.to_string(),
                celsius,
                if disk.reasons.is_empty() { "-".to_owned() } else { disk.reasons.join("; ") },
            ]);
        }
    }
    (rows.len() > 1).then(|| table(&rows))
}

fn gateways(gateways: &[GatewayHealth]) -> String {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let row = |gateway: &GatewayHealth| {
        [
            gateway.name.clone(),
            gateway.role.clone(),
            if gateway.reachable { "yes" } else { "no" }.to_owned(),
            number(gateway.applied),
            number(gateway.behind),
        ]
    };
    let mut rows = vec![["GATEWAY", "ROLE", "ANSWERS", "APPLIED", "BEHIND"].map(str::to_owned)];
    rows.extend(gateways.iter().map(row));
    table(&rows)
}

fn redundancy(redundancy: &Redundancy) -> String {
    let Redundancy { whole, owed_blobs, owed_more, damaged_shards, .. } = redundancy;
    let mut text = match whole {
        true => "redundancy: whole".to_owned(),
        false => {
            let more = if *owed_more { " or more" } else { "" };
            format!(
                "redundancy: not whole; {owed_blobs}{more} blobs owe shards, {damaged_shards} shards are damaged"
            )
        }
    };
    if let (Some(missing), Some(misplaced)) = (redundancy.missing_blobs, redundancy.misplaced_blobs)
    {
        text += &format!("; {missing} blobs wait for repair, {misplaced} to be moved");
    }
    text
}

fn journal(report: &HealthReport) -> String {
    let leads = |gateway: &&GatewayHealth| gateway.role == "leader";
    match &report.journal {
        None => match report.gateways.iter().find(leads) {
            Some(leader) if leader.id != report.gateway => {
                format!("journal: written by {}", leader.name)
            }
            _ => "journal: not written".to_owned(),
        },
        Some(journal) => {
            let state = if journal.is_behind { "behind" } else { "ok" };
            let error = journal.error.iter().map(|error| format!(": {error}")).collect::<String>();
            format!("journal: {state}, lacks {} entries{error}", journal.lag)
        }
    }
}

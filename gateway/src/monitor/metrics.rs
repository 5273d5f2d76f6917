//! How the cluster is, in Prometheus' text format (version 0.0.4). docs/metrics.md lists the names.

use super::Monitor;
use super::report::{Figures, NodeReport, Report};
use coffer_core::health::{Space, Verdict};
use coffer_core::repair::Standing;
use std::fmt::Write;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Text that grows by samples. All samples of a name are written together, as the format wants.
#[derive(Default)]
struct Text(String);

/// What a metric is.
#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            let begin = if n == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{begin}{label}=\"{}\"", escaped(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Microseconds in Prometheus' unit.
#[allow(clippy::cast_precision_loss)] // far below what matters
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

impl Monitor {
    /// All figures; before the first look only a few.
    pub fn metrics(&self) -> String {
        let mut text = Text::default();
        let leads = self.watched.catalog.leads();
        text.one(
            "coffer_gateway_leads",
            Kind::Gauge,
            "Whether this gateway leads the catalog.",
            u8::from(leads),
        );
        let name = "coffer_events_total";
        text.head(name, Kind::Counter, "Events since the gateway was started, by kind.");
        for (kind, count) in self.events.counts() {
            text.sample(name, &[("kind", kind)], count);
        }
        self.repair(&mut text);
        if let Some(report) = self.report() {
            cluster(&mut text, &report);
            nodes(&mut text, &report.nodes);
        }
        text.0
    }

    fn repair(&self, text: &mut Text) {
        let status = self.watched.repairer.status();
        let name = "coffer_repair_bytes_total";
        text.head(name, Kind::Counter, "Bytes that repair has moved from and to storage nodes.");
        text.sample(name, &[("direction", "read")], status.bytes_read);
        text.sample(name, &[("direction", "written")], status.bytes_written);
        let name = "coffer_repair_shards_total";
        text.head(name, Kind::Counter, "Shards that repair has written, by how.");
        text.sample(name, &[("how", "rebuilt")], status.shards_rebuilt);
        text.sample(name, &[("how", "moved")], status.shards_moved);
        let help = "Blobs that could not be mended and are tried again.";
        text.one("coffer_repair_failures_total", Kind::Counter, help, status.failures);
        let help = "Times that this gateway's catalog was synced to its disk.";
        text.one("coffer_catalog_syncs_total", Kind::Counter, help, self.watched.catalog.syncs());
    }
}

fn cluster(text: &mut Text, report: &Report) {
    let count = |needs| report.problems.iter().filter(|p| p.needs_operator == needs).count();
    let name = "coffer_problems";
    text.head(name, Kind::Gauge, "What is not as it should be, by whether it needs an operator.");
    text.sample(name, &[("needs_operator", "true")], count(true));
    text.sample(name, &[("needs_operator", "false")], count(false));
    let help = "Whether some gateway leads the catalog.";
    text.one("coffer_catalog_has_leader", Kind::Gauge, help, u8::from(!report.leaderless));
    let name = "coffer_gateway_up";
    text.head(name, Kind::Gauge, "Whether a gateway answers this one.");
    for gateway in &report.gateways {
        text.sample(name, &[("gateway", &gateway.name)], u8::from(gateway.reachable));
    }
    let name = "coffer_gateway_applied_index";
    text.head(name, Kind::Gauge, "The last entry of the log that a gateway has applied.");
    for gateway in &report.gateways {
        if let Some(applied) = gateway.applied {
            text.sample(name, &[("gateway", &gateway.name)], applied);
        }
    }
    let name = "coffer_gateway_lag_entries";
    text.head(name, Kind::Gauge, "Entries of the log that a gateway lacks.");
    for gateway in &report.gateways {
        if let Some(behind) = gateway.behind {
            text.sample(name, &[("gateway", &gateway.name)], behind);
        }
    }
    let redundancy = &report.redundancy;
    let help = "Whether no shard is known to be missing.";
    text.one("coffer_redundancy_whole", Kind::Gauge, help, u8::from(redundancy.whole));
    let help = "Blobs of which shards are still to be written; counted up to 4096.";
    text.one("coffer_owed_blobs", Kind::Gauge, help, redundancy.owed_blobs);
    let name = "coffer_repair_queue_blobs";
    text.head(name, Kind::Gauge, "Blobs that wait for repair, as the gateway says that leads.");
    for (need, blobs) in
        [("missing", redundancy.missing_blobs), ("misplaced", redundancy.misplaced_blobs)]
    {
        if let Some(blobs) = blobs {
            text.sample(name, &[("need", need)], blobs);
        }
    }
    if let Some(journal) = &report.journal {
        let help = "Entries of the log that the journal lacks; only where it is written.";
        text.one("coffer_journal_lag_entries", Kind::Gauge, help, journal.lag);
        let help = "Whether the catalog could not be rebuilt from the journal as it is.";
        text.one("coffer_journal_behind", Kind::Gauge, help, u8::from(journal.is_behind));
    }
}

fn nodes(text: &mut Text, nodes: &[NodeReport]) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&NodeReport) -> Option<u64>| {
        text.head(name, Kind::Gauge, help);
        for node in nodes {
            if let Some(value) = value(node) {
                text.sample(name, &[("node", &node.name)], value);
            }
        }
    };
    each("coffer_node_up", "Whether a storage node answers.", &|node| {
        Some(u64::from(!matches!(node.standing, Standing::Away | Standing::Lost)))
    });
    each("coffer_node_slow", "Whether a node answers much later than the others.", &|node| {
        Some(u64::from(node.standing == Standing::Slow))
    });
    each("coffer_node_health_score", "100 is without fault, 0 is lost.", &|node| {
        Some(node.score.into())
    });
    each("coffer_node_verdict", "0 healthy, 1 to be watched, 2 failing.", &|node| {
        Some(match node.verdict {
            Verdict::Healthy => 0,
            Verdict::Watch => 1,
            Verdict::Failing => 2,
        })
    });
    each("coffer_node_space", "0 there is room, 1 nearly full, 2 full.", &|node| {
        Some(match node.space {
            Space::Room => 0,
            Space::NearlyFull => 1,
            Space::Full => 2,
        })
    });
    each("coffer_node_shards", "Shards on a node.", &|node| {
        node.figures.as_ref().map(|f| f.shards)
    });
    each("coffer_node_live_bytes", "Bytes in shards on a node.", &|node| {
        node.figures.as_ref().map(|f| f.live_bytes)
    });
    each("coffer_node_free_bytes", "Bytes that a node can still take.", &|node| {
        node.figures.as_ref().map(|f| f.free_bytes)
    });
    each("coffer_node_total_bytes", "Bytes of a node's file system.", &|node| {
        node.figures.as_ref().map(|f| f.total_bytes)
    });
    each("coffer_node_damaged_shards", "Shards found damaged and not mended yet.", &|node| {
        node.figures.as_ref().map(|f| f.findings)
    });
    each("coffer_scrub_verified_bytes", "Bytes verified in this round of the scrub.", &|node| {
        node.figures.as_ref().map(|f| f.scrub.verified_bytes)
    });
    each("coffer_scrub_round_bytes", "Bytes that this round of the scrub is over.", &|node| {
        node.figures.as_ref().map(|f| f.scrub.total_bytes)
    });
    let help = "Bytes that volumes take on disk beyond the records of live shards.";
    each("coffer_compaction_dead_bytes", help, &|node| {
        node.figures.as_ref().map(|f| f.compaction.dead_bytes)
    });
    let help = "Volumes that compaction leaves alone: they hold damage, or can't be read.";
    each("coffer_compaction_held_back_volumes", help, &|node| {
        node.figures.as_ref().map(|f| f.compaction.held_back.into())
    });
    let help = "Whether volumes wait for space for what is live in them.";
    each("coffer_compaction_short_of_space", help, &|node| {
        node.figures.as_ref().map(|f| f.compaction.short_of_space.into())
    });
    operations(text, nodes);
    counters(text, nodes);
    disks(text, nodes);
}

/// What nodes have done in the background since they were started.
fn counters(text: &mut Text, nodes: &[NodeReport]) {
    let mut each = |name: &str, help: &str, value: fn(&Figures) -> u64| {
        text.head(name, Kind::Counter, help);
        for node in nodes {
            if let Some(figures) = &node.figures {
                text.sample(name, &[("node", &node.name)], value(figures));
            }
        }
    };
    each("coffer_scrub_rounds_total", "Rounds of the scrub that were completed.", |f| {
        f.scrub.rounds
    });
    each("coffer_compaction_volumes_total", "Volumes that compaction has removed.", |f| {
        f.compaction.volumes
    });
    each("coffer_compaction_freed_bytes_total", "Bytes that they took on disk.", |f| {
        f.compaction.freed_bytes
    });
    each("coffer_compaction_copied_bytes_total", "Bytes that were copied out of them.", |f| {
        f.compaction.copied_bytes
    });
}

fn operations(text: &mut Text, nodes: &[NodeReport]) {
    let all = || {
        let figures = nodes.iter().filter_map(|n| n.figures.as_ref().map(|f| (&n.name, f)));
        figures.flat_map(|(name, f)| f.operations.iter().map(move |op| (name, op)))
    };
    let name = "coffer_node_operations_total";
    text.head(name, Kind::Counter, "Operations on a node's disk, since the node was started.");
    for (node, op) in all() {
        text.sample(name, &[("node", node), ("operation", op.operation)], op.count);
    }
    let name = "coffer_node_operation_errors_total";
    text.head(name, Kind::Counter, "Those that failed.");
    for (node, op) in all() {
        text.sample(name, &[("node", node), ("operation", op.operation)], op.errors);
    }
    let name = "coffer_node_operation_mean_seconds";
    text.head(name, Kind::Gauge, "How long they take of late.");
    for (node, op) in all() {
        if let Some(us) = op.mean_us {
            text.sample(name, &[("node", node), ("operation", op.operation)], seconds(us));
        }
    }
}

fn disks(text: &mut Text, nodes: &[NodeReport]) {
    let all = || {
        let figures = nodes.iter().filter_map(|n| n.figures.as_ref().map(|f| (&n.name, f)));
        figures.flat_map(|(name, f)| f.disks.iter().map(move |disk| (name, disk)))
    };
    let name = "coffer_disk_health_score";
    text.head(name, Kind::Gauge, "What a disk's SMART figures amount to; 100 is without fault.");
    for (node, disk) in all() {
        text.sample(name, &[("node", node), ("device", &disk.figures.device)], disk.score);
    }
    let name = "coffer_disk_temperature_celsius";
    text.head(name, Kind::Gauge, "A disk's temperature.");
    for (node, disk) in all() {
        if let Some(celsius) = disk.figures.temperature_celsius {
            text.sample(name, &[("node", node), ("device", &disk.figures.device)], celsius);
        }
    }
}

//! `dataset stat`.

use super::{Places, open};
use crate::exit::Failure;
use coffer_client::dataset::ShardEntry;
use coffer_client::place::Address;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::fmt::Write;

pub(super) async fn run(session: &Places<'_>, place: &Address) -> Result<(), Failure> {
    let dataset = open(session, place).await?;
    let index = dataset.index();
    let fields: Vec<&str> = index.fields.iter().map(String::as_str).collect();
    let bytes = |shards: &[ShardEntry]| shards.iter().map(|shard| shard.bytes).sum::<u64>();
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("address", &place.to_string());
    line("source", &index.source);
    line("format", &index.format);
    line("version", &index.version.to_string());
    line("fields", &fields.join(", "));
    for (split, shards) in &index.splits {
        let size = HumanBytes(bytes(shards));
        let samples = index.samples(split);
        line("split", &format!("{split}: {samples} samples in {} shards, {size}", shards.len()));
    }
    for (name, value) in &index.meta {
        line("meta", &format!("{name}: {value}"));
    }
    session.output.result(text.trim_end(), || {
        let splits: serde_json::Map<String, Value> = index
            .splits
            .iter()
            .map(|(split, shards)| {
                let samples = index.samples(split);
                let value =
                    json!({"samples": samples, "shards": shards.len(), "bytes": bytes(shards)});
                (split.to_string(), value)
            })
            .collect();
        json!({
            "address": place.to_string(),
            "source": index.source,
            "format": index.format,
            "version": index.version.to_string(),
            "fields": fields,
            "splits": splits,
            "meta": index.meta,
        })
    })
}

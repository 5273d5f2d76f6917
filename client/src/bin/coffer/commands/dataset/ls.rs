//! `dataset ls`.

use super::{Places, chosen, open};
use crate::args::LsDataset;
use crate::exit::Failure;
use coffer_client::dataset::shard::samples;
use coffer_client::dataset::{Dataset, DatasetError, Sample, ShardName};
use indicatif::HumanBytes;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) async fn run(session: &Places<'_>, args: &LsDataset) -> Result<(), Failure> {
    let dataset = open(session, &args.place).await?;
    if let Some(shard) = &args.samples {
        return list_samples(session, args, &dataset, shard).await;
    }
    for split in chosen(&dataset, args.split.as_slice())? {
        for shard in dataset.shards(&split) {
            let bytes = size(args, shard.bytes);
            let line = format!("{split:<8}  {:>9}  {bytes:>12}  {}", shard.samples, shard.name);
            session.output.result(line, || {
                json!({
                    "split": split.as_str(),
                    "shard": shard.name.as_str(),
                    "samples": shard.samples,
                    "bytes": shard.bytes,
                    "blake3": shard.blake3.to_string(),
                })
            })?;
        }
    }
    Ok(())
}

async fn list_samples(
    session: &Places<'_>,
    args: &LsDataset,
    dataset: &Dataset,
    shard: &ShardName,
) -> Result<(), Failure> {
    let mut entries = dataset.index().splits.values().flatten();
    let Some(entry) = entries.find(|entry| entry.name == *shard) else {
        let text =
            format!("{} has no shard {shard}; `ls` without --samples lists them", args.place);
        return Err(Failure::Usage(text));
    };
    let content = dataset.fetch(entry).await?;
    let found = samples(&content, entry.samples).map_err(|damage| {
        let object = dataset.address_of(entry);
        Failure::from(DatasetError::Corrupt { object, damage: damage.into() })
    })?;
    for Sample { key, fields } in found {
        let sizes: BTreeMap<&str, u64> =
            fields.iter().map(|(name, content)| (name.as_str(), content.len() as u64)).collect();
        let told = sizes.iter().map(|(name, bytes)| format!("{name} {}", size(args, *bytes)));
        let line = format!("{key}  {}", told.collect::<Vec<_>>().join(", "));
        session.output.result(line, || json!({"key": key, "fields": sizes}))?;
    }
    Ok(())
}

fn size(args: &LsDataset, bytes: u64) -> String {
    if args.human_readable { HumanBytes(bytes).to_string() } else { bytes.to_string() }
}

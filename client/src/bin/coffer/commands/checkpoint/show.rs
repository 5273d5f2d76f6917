//! `checkpoint show`.

use super::super::table::table;
use super::super::timestamp;
use super::ls::figure;
use super::{Found, Places, find, marks};
use crate::exit::Failure;
use coffer_client::Error;
use coffer_client::checkpoint::tensors::{EXTENSION, Header};
use coffer_client::checkpoint::{CheckpointAddress, CheckpointId, Entry, Parent, TensorsError};
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The tensors of each part that has some, or why they can't be told.
type Tensors = BTreeMap<String, Result<Header, String>>;

pub(super) async fn run(
    session: &Places<'_>,
    wanted: &CheckpointAddress,
    lineage: bool,
) -> Result<(), Failure> {
    let found = find(session, wanted).await?;
    let tensors = tensors(&found).await?;
    let ancestors = if lineage { Some(ancestors(&found).await?) } else { None };
    let mut text = facts(&found);
    if let Some(ancestors) = &ancestors {
        text += &chain(&found, ancestors);
    }
    text += &parts(&found, &tensors);
    session.output.result(text.trim_end(), || to_json(&found, &tensors, ancestors.as_deref()))
}

async fn tensors(found: &Found) -> Result<Tensors, Error> {
    let mut tensors = Tensors::new();
    for (name, part) in &found.manifest.parts {
        if !name.ends_with(EXTENSION) {
            continue;
        }
        let header = match found.checkpoints.reader(part)?.tensors().await {
            Ok(header) => Ok(header),
            Err(TensorsError::Header(error)) => Err(error.to_string()),
            Err(TensorsError::Read(error)) => return Err(error.into()),
        };
        tensors.insert(name.clone(), header);
    }
    Ok(tensors)
}

/// A checkpoint that the one shown goes back to.
struct Ancestor {
    parent: Parent,
    /// How the root lists it, if that is still the same one.
    entry: Option<Entry>,
}

/// From the parent on back, as far as they are there.
async fn ancestors(found: &Found) -> Result<Vec<Ancestor>, Error> {
    let mut ancestors: Vec<Ancestor> = Vec::new();
    let mut next = found.manifest.lineage.parent;
    while let Some(parent) = next {
        let entry = found.root.get(parent.checkpoint);
        let entry = entry.filter(|entry| entry.manifest == parent.manifest).cloned();
        // A hash can't be in a chain of hashes twice; the names of what is there end it anyway.
        let again = ancestors.iter().any(|known| known.parent == parent);
        next = match &entry {
            Some(entry) if !again => found.checkpoints.manifest(entry).await?.lineage.parent,
            _ => None,
        };
        ancestors.push(Ancestor { parent, entry });
    }
    Ok(ancestors)
}

fn facts(found: &Found) -> String {
    let (entry, manifest, lineage) = (&found.entry, &found.manifest, &found.manifest.lineage);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<10} {value}");
        }
    };
    let position = match (entry.position.ended_epoch(), entry.position) {
        (Some(epoch), _) => format!("the end of epoch {epoch}"),
        (None, at) => format!("{} samples into epoch {}", at.sample, at.epoch + 1),
    };
    line("address", found.address.to_string());
    line("marks", marks(&found.root, entry).join(", "));
    line("position", position);
    line("created", timestamp(Some(manifest.created.time())));
    line("size", format!("{} ({})", entry.bytes, HumanBytes(entry.bytes)));
    line("manifest", entry.manifest.to_string());
    line("run", lineage.run.to_string());
    let program = &lineage.program;
    line("program", format!("{} {}", program.name, program.version));
    if let Some(revision) = &lineage.revision {
        let dirty = if revision.dirty { ", with changes" } else { "" };
        line("revision", format!("{}{dirty}", revision.commit));
    }
    if let Some(dataset) = &lineage.dataset {
        line("dataset", format!("{}, version {}", dataset.address, dataset.version));
    }
    if let Some(origin) = &lineage.init_from {
        line("init from", format!("{}, manifest {}", origin.address, origin.manifest));
    }
    if let Some(parent) = &lineage.parent {
        line("parent", parent.checkpoint.to_string());
    }
    for (name, value) in manifest.metrics.iter() {
        line("metric", format!("{name}: {}", figure(value)));
    }
    if let Some(energy) = &manifest.energy {
        line("energy", format!("{} J ({})", figure(energy.joules), energy.source));
    }
    if !lineage.config.is_null() {
        line("config", lineage.config.to_string());
    }
    text
}

fn chain(found: &Found, ancestors: &[Ancestor]) -> String {
    let mut text = "\nlineage, the newest first\n".to_owned();
    let mut line = |id: CheckpointId, rest: String| {
        let _ = writeln!(text, "  {id}  {rest}");
    };
    line(found.entry.id, "this one".to_owned());
    for ancestor in ancestors {
        let told = match (&ancestor.entry, found.root.get(ancestor.parent.checkpoint)) {
            (Some(entry), _) => timestamp(Some(entry.created.time())),
            (None, Some(_)) => "replaced by another of this name".to_owned(),
            (None, None) => "not there any more".to_owned(),
        };
        line(ancestor.parent.checkpoint, told);
    }
    text
}

fn parts(found: &Found, tensors: &Tensors) -> String {
    let mut rows = vec![["PART", "SIZE", "BLAKE3"].map(str::to_owned)];
    for (name, part) in &found.manifest.parts {
        rows.push([name.clone(), HumanBytes(part.bytes).to_string(), part.blake3.to_string()]);
    }
    let mut text = format!("\n{}\n", table(&rows));
    for (name, header) in tensors {
        let header = match header {
            Ok(header) => header,
            Err(why) => {
                let _ = writeln!(text, "\n{name}: {why}");
                continue;
            }
        };
        let mut rows = vec![["TENSOR", "TYPE", "SHAPE"].map(str::to_owned)];
        for tensor in &header.tensors {
            let (dtype, shape) = (tensor.dtype.to_string(), format!("{:?}", tensor.shape));
            rows.push([tensor.name.clone(), dtype, shape]);
        }
        let _ = writeln!(text, "\n{name}: {} tensors\n{}", header.tensors.len(), table(&rows));
    }
    text
}

fn to_json(found: &Found, tensors: &Tensors, ancestors: Option<&[Ancestor]>) -> Value {
    let (entry, manifest) = (&found.entry, &found.manifest);
    let parts: BTreeMap<&String, Value> = manifest
        .parts
        .iter()
        .map(|(name, part)| {
            let mut value = json!({"bytes": part.bytes, "blake3": part.blake3});
            match tensors.get(name) {
                Some(Ok(header)) => value["tensors"] = tensors_json(header),
                Some(Err(why)) => value["problem"] = json!(why),
                None => {}
            }
            (name, value)
        })
        .collect();
    let marks = marks(&found.root, entry);
    let mut value = json!({
        "checkpoint": entry.id,
        "address": found.address.to_string(),
        "save": entry.save,
        "manifest": entry.manifest,
        "epoch": entry.position.epoch,
        "sample": entry.position.sample,
        "created": manifest.created,
        "bytes": entry.bytes,
        "latest": marks.contains(&"latest"),
        "best": marks.contains(&"best"),
        "pinned": entry.pinned,
        "metrics": manifest.metrics,
        "energy": manifest.energy,
        "lineage": manifest.lineage,
        "parts": parts,
    });
    if let Some(ancestors) = ancestors {
        let listed = |one: &Ancestor| {
            json!({
                "checkpoint": one.parent.checkpoint,
                "manifest": one.parent.manifest,
                "created": one.entry.as_ref().map(|entry| entry.created),
                "listed": one.entry.is_some(),
            })
        };
        value["ancestors"] = ancestors.iter().map(listed).collect();
    }
    value
}

fn tensors_json(header: &Header) -> Value {
    let tensors = header.tensors.iter().map(|tensor| {
        json!({
            "name": tensor.name,
            "dtype": tensor.dtype.to_string(),
            "shape": tensor.shape,
            "bytes": tensor.place.end - tensor.place.start,
        })
    });
    tensors.collect()
}

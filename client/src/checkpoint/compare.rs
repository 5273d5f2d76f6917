//! What two checkpoints have in common, and how they differ.
//!
//! Pure, but for [`tensor`], which reads what hashes alone don't tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use serde_json::Value;

use super::CheckpointError;
use super::manifest::{CHUNK, Manifest, Part};
use super::part::PartReader;
use super::tensors::{Tensor, greatest_difference};
use crate::Digest;

/// How something is in the second checkpoint, seen from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The same in both.
    Same,
    /// In both, with other content.
    Changed,
    /// Only in the first.
    Removed,
    /// Only in the second.
    Added,
}

/// A part of one or both checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartComparison {
    /// Its name.
    pub name: String,
    /// How it differs.
    pub change: Change,
    /// Bytes in the first; none if it isn't there.
    pub a: Option<u64>,
    /// Bytes in the second; none if it isn't there.
    pub b: Option<u64>,
    /// Bytes in chunks that both have; a chunk that is there twice counts once.
    pub shared: u64,
}

/// A fact that differs: a leaf of the configuration or the lineage, or a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct FactComparison {
    /// Its name, with dots between the levels: `config.model.latent`.
    pub name: String,
    /// Its value in the first; none if it isn't there.
    pub a: Option<Value>,
    /// Its value in the second; none if it isn't there.
    pub b: Option<Value>,
}

/// How a tensor of the first differs from one of the same name in the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TensorChange {
    /// Bit for bit the same.
    Same,
    /// The same type and shape with other values; by how much at most, if that was asked for and
    /// the type is floating-point.
    Changed(Option<f64>),
    /// Another type or shape.
    Shape,
}

/// The parts of both, by name.
pub fn parts(a: &Manifest, b: &Manifest) -> Vec<PartComparison> {
    let names: BTreeSet<&String> = a.parts.keys().chain(b.parts.keys()).collect();
    let compare = |name: &String| {
        let (a, b) = (a.parts.get(name), b.parts.get(name));
        let change = match (a, b) {
            (Some(a), Some(b)) if (a.bytes, a.blake3) == (b.bytes, b.blake3) => Change::Same,
            (Some(_), Some(_)) => Change::Changed,
            (Some(_), None) => Change::Removed,
            (None, _) => Change::Added,
        };
        let (ours, theirs) = (distinct(a), distinct(b));
        let shared = ours.iter().filter(|(hash, _)| theirs.contains_key(hash));
        PartComparison {
            name: name.clone(),
            change,
            a: a.map(|part| part.bytes),
            b: b.map(|part| part.bytes),
            shared: shared.map(|(_, bytes)| bytes).sum(),
        }
    };
    names.into_iter().map(compare).collect()
}

/// Bytes in chunks of `manifest` that `before` lacks; a chunk that is there twice counts once.
pub fn new_bytes(manifest: &Manifest, before: Option<&Manifest>) -> u64 {
    let known = distinct(before.into_iter().flat_map(|before| before.parts.values()));
    let here = distinct(manifest.parts.values());
    here.iter().filter(|(hash, _)| !known.contains_key(hash)).map(|(_, bytes)| bytes).sum()
}

/// The chunks of some parts with their sizes, each once.
fn distinct<'a>(parts: impl IntoIterator<Item = &'a Part>) -> HashMap<Digest, u64> {
    let chunks = parts.into_iter().filter_map(Part::sized_chunks).flatten();
    chunks.map(|(chunk, bytes)| (chunk.blake3, bytes)).collect()
}

/// What differs in configuration, metrics, dataset, origin, program and revision.
pub fn facts(a: &Manifest, b: &Manifest) -> Vec<FactComparison> {
    let (a, b) = (facts_of(a), facts_of(b));
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let both = names.into_iter().map(|name| (name, a.get(name), b.get(name)));
    both.filter(|(_, a, b)| a != b)
        .map(|(name, a, b)| FactComparison { name: name.clone(), a: a.cloned(), b: b.cloned() })
        .collect()
}

fn facts_of(manifest: &Manifest) -> BTreeMap<String, Value> {
    let lineage = &manifest.lineage;
    let json = |value: serde_json::Result<Value>| value.unwrap_or(Value::Null);
    let mut leaves = BTreeMap::new();
    for (name, value) in [
        ("config", lineage.config.clone()),
        ("metrics", json(serde_json::to_value(&manifest.metrics))),
        ("dataset", json(serde_json::to_value(&lineage.dataset))),
        ("init_from", json(serde_json::to_value(&lineage.init_from))),
        ("program", json(serde_json::to_value(&lineage.program))),
        ("revision", json(serde_json::to_value(&lineage.revision))),
    ] {
        flatten(name.to_owned(), value, &mut leaves);
    }
    leaves
}

/// Puts the leaves of `value` into `leaves`; lists are leaves, and so are empty objects.
fn flatten(name: String, value: Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                flatten(format!("{name}.{field}"), value, leaves);
            }
        }
        Value::Null => {}
        leaf => drop(leaves.insert(name, leaf)),
    }
}

/// What has to be read of two tensors of equal size to know whether they differ.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Doubt {
    /// Hashes tell that they differ.
    None,
    /// They may differ only in these bytes, counted from the beginning of the tensor; nowhere, if
    /// there are none.
    At(Vec<Range<u64>>),
}

/// Which bytes have to be read of two tensors of `bytes` that begin at `starts` of parts with
/// `chunks`: not those in chunks that both have. If it is enough to know that they differ, and not
/// by how much, a chunk that only one has and that lies all within the tensor says so.
fn doubt(
    chunks: [&[Digest]; 2],
    starts: [u64; 2],
    bytes: u64,
    element: u64,
    how_much: bool,
) -> Doubt {
    if starts[0] % CHUNK != starts[1] % CHUNK {
        // They are cut at other places.
        return Doubt::At(std::iter::once(0..bytes).filter(|all| !all.is_empty()).collect());
    }
    let phase = starts[0] % CHUNK;
    let hash = |side: usize, step: u64| {
        let at = usize::try_from(starts[side] / CHUNK + step).ok()?;
        chunks[side].get(at)
    };
    let mut doubtful: Vec<Range<u64>> = Vec::new();
    for step in 0..(phase + bytes).div_ceil(CHUNK) {
        if hash(0, step).is_some() && hash(0, step) == hash(1, step) {
            continue;
        }
        let (from, to) = (step * CHUNK, (step + 1) * CHUNK);
        if from >= phase && to <= phase + bytes && !how_much {
            return Doubt::None;
        }
        // Whole elements.
        let from = from.saturating_sub(phase) / element * element;
        let to = ((to - phase).div_ceil(element) * element).min(bytes);
        match doubtful.last_mut() {
            Some(last) if last.end >= from => last.end = to,
            _ if from < to => doubtful.push(from..to),
            _ => {}
        }
    }
    Doubt::At(doubtful)
}

/// Compares tensor `a` of one part with tensor `b` of another. Reads only what has to be read, and
/// with `how_much` all that may differ.
///
/// # Errors
/// If something can't be read or is damaged.
pub async fn tensor(
    readers: [&mut PartReader<'_>; 2],
    a: &Tensor,
    b: &Tensor,
    how_much: bool,
) -> Result<TensorChange, CheckpointError> {
    if (a.dtype, &a.shape) != (b.dtype, &b.shape) {
        return Ok(TensorChange::Shape);
    }
    let [reader_a, reader_b] = readers;
    let bytes = a.place.end - a.place.start;
    let element = u64::try_from(a.dtype.bitsize() / 8).unwrap_or(1).max(1);
    let starts = [a.place.start, b.place.start];
    let hashes = [reader_a.hashes(), reader_b.hashes()];
    let doubtful = match doubt([&hashes[0], &hashes[1]], starts, bytes, element, how_much) {
        Doubt::None => return Ok(TensorChange::Changed(None)),
        Doubt::At(ranges) => ranges,
    };
    let (mut differs, mut most) = (false, None);
    for piece in doubtful.into_iter().flat_map(pieces) {
        let at = |start: u64| start + piece.start..start + piece.end;
        let both = tokio::try_join!(reader_a.read(at(starts[0])), reader_b.read(at(starts[1])));
        let (a_bytes, b_bytes) = both?;
        if a_bytes == b_bytes {
            continue;
        }
        differs = true;
        if !how_much {
            break;
        }
        let here = greatest_difference(a.dtype, &a_bytes, &b_bytes);
        most = here.map(|here| f64::max(here, most.unwrap_or(0.0)));
    }
    Ok(if differs { TensorChange::Changed(most) } else { TensorChange::Same })
}

/// A range in pieces that fit in memory.
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let count = (range.end - range.start).div_ceil(CHUNK);
    let starts = (0..count).map(move |at| range.start + at * CHUNK);
    starts.map(move |start| start..range.end.min(start + CHUNK))
}

#[cfg(test)]
mod tests;

//! `checkpoint diff`.

use super::super::table::table;
use super::ls::figure;
use super::{Found, Places, find};
use crate::exit::Failure;
use coffer_client::Error;
use coffer_client::checkpoint::compare::{
    self, Change, FactComparison, PartComparison, TensorChange,
};
use coffer_client::checkpoint::tensors::{EXTENSION, Tensor};
use coffer_client::checkpoint::{CheckpointAddress, TensorsError};
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) async fn run(
    session: &Places<'_>,
    a: &CheckpointAddress,
    b: &CheckpointAddress,
    how_much: bool,
) -> Result<(), Failure> {
    let (a, b) = tokio::try_join!(find(session, a), find(session, b))?;
    let parts = compare::parts(&a.manifest, &b.manifest);
    let facts = compare::facts(&a.manifest, &b.manifest);
    let mut rows = Vec::new();
    for part in &parts {
        if part.change == Change::Changed && part.name.ends_with(EXTENSION) {
            rows.extend(tensors(session, &a, &b, &part.name, how_much).await?);
        }
    }
    session.output.bar.finish();
    if session.output.json {
        print_json(session, &parts, &facts, &rows)?;
    } else {
        print(session, &[&a, &b], &parts, &facts, &rows)?;
    }
    let same = facts.is_empty() && parts.iter().all(|part| part.change == Change::Same);
    if same { Ok(()) } else { Err(Failure::Differs) }
}

/// A tensor of one or both.
struct Row {
    part: String,
    name: String,
    change: Fate,
    a: Option<Tensor>,
    b: Option<Tensor>,
}

enum Fate {
    Both(TensorChange),
    Removed,
    Added,
}

/// Compares the tensors of a part that both have.
async fn tensors(
    session: &Places<'_>,
    a: &Found,
    b: &Found,
    part: &str,
    how_much: bool,
) -> Result<Vec<Row>, Failure> {
    let (Some(part_a), Some(part_b)) = (a.manifest.parts.get(part), b.manifest.parts.get(part))
    else {
        return Ok(Vec::new());
    };
    let mut reader_a = a.checkpoints.reader(part_a).map_err(Error::from)?;
    let mut reader_b = b.checkpoints.reader(part_b).map_err(Error::from)?;
    let (in_a, in_b) = match tokio::try_join!(reader_a.tensors(), reader_b.tensors()) {
        Ok((in_a, in_b)) => (by_name(in_a.tensors), by_name(in_b.tensors)),
        Err(TensorsError::Read(error)) => return Err(Error::from(error).into()),
        Err(TensorsError::Header(why)) => {
            session.output.remark(format_args!("{part}: its tensors can't be compared: {why}"));
            return Ok(Vec::new());
        }
    };
    let names: std::collections::BTreeSet<&String> = in_a.keys().chain(in_b.keys()).collect();
    let bar = &session.output.bar;
    bar.found(u64::try_from(names.len()).unwrap_or(0), 0);
    let mut rows = Vec::new();
    for name in names {
        let (one, other) = (in_a.get(name).cloned(), in_b.get(name).cloned());
        let change = match (&one, &other) {
            (Some(one), Some(other)) => {
                let readers = [&mut reader_a, &mut reader_b];
                let compared = compare::tensor(readers, one, other, how_much).await;
                Fate::Both(compared.map_err(Error::from)?)
            }
            (Some(_), None) => Fate::Removed,
            (None, _) => Fate::Added,
        };
        bar.object_done();
        rows.push(Row { part: part.to_owned(), name: name.clone(), change, a: one, b: other });
    }
    Ok(rows)
}

fn by_name(tensors: Vec<Tensor>) -> BTreeMap<String, Tensor> {
    tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect()
}

fn print(
    session: &Places<'_>,
    both: &[&Found; 2],
    parts: &[PartComparison],
    facts: &[FactComparison],
    rows: &[Row],
) -> Result<(), Failure> {
    let [a, b] = both.map(|found| found.address.to_string());
    let mut sections = vec![format!("a  {a}\nb  {b}")];

    let size = |bytes: Option<u64>| {
        bytes.map_or_else(|| "-".to_owned(), |bytes| HumanBytes(bytes).to_string())
    };
    let mut lines = vec![["PART", "", "A", "B", "SHARED"].map(str::to_owned)];
    for part in parts {
        let shared = HumanBytes(part.shared).to_string();
        lines.push([
            part.name.clone(),
            word(part.change).to_owned(),
            size(part.a),
            size(part.b),
            shared,
        ]);
    }
    sections.push(table(&lines));

    if !facts.is_empty() {
        let value = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
        };
        let mut lines = vec![["FACT", "A", "B"].map(str::to_owned)];
        for fact in facts {
            lines.push([fact.name.clone(), value(&fact.a), value(&fact.b)]);
        }
        sections.push(table(&lines));
    }
    if !rows.is_empty() {
        let mut lines = vec![["TENSOR", "", "PART"].map(str::to_owned)];
        lines.extend(rows.iter().map(|row| [row.name.clone(), row.told(), row.part.clone()]));
        sections.push(table(&lines));
    }
    session.output.result(sections.join("\n\n"), || json!(null))
}

fn print_json(
    session: &Places<'_>,
    parts: &[PartComparison],
    facts: &[FactComparison],
    rows: &[Row],
) -> Result<(), Failure> {
    for part in parts {
        session.output.result("", || {
            json!({
                "part": part.name,
                "change": word(part.change),
                "bytes_a": part.a,
                "bytes_b": part.b,
                "shared_bytes": part.shared,
            })
        })?;
    }
    for fact in facts {
        session.output.result("", || json!({"fact": fact.name, "a": fact.a, "b": fact.b}))?;
    }
    for row in rows {
        session.output.result("", || row.json())?;
    }
    Ok(())
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Same => "same",
        Change::Changed => "changed",
        Change::Removed => "only in a",
        Change::Added => "only in b",
    }
}

impl Row {
    fn told(&self) -> String {
        match self.change {
            Fate::Both(TensorChange::Changed(Some(most))) => {
                format!("changed, by {} at most", figure(most))
            }
            Fate::Both(TensorChange::Shape) => {
                format!("{} to {}", shape(self.a.as_ref()), shape(self.b.as_ref()))
            }
            _ => self.word().to_owned(),
        }
    }

    fn word(&self) -> &'static str {
        match self.change {
            Fate::Both(TensorChange::Same) => word(Change::Same),
            Fate::Both(TensorChange::Changed(_)) => word(Change::Changed),
            Fate::Both(TensorChange::Shape) => "other shape or type",
            Fate::Removed => word(Change::Removed),
            Fate::Added => word(Change::Added),
        }
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "tensor": self.name,
            "part": self.part,
            "change": self.word(),
            "a": self.a.as_ref().map(|tensor| shape(Some(tensor))),
            "b": self.b.as_ref().map(|tensor| shape(Some(tensor))),
        });
        if let Fate::Both(TensorChange::Changed(Some(most))) = self.change {
            // What isn't a number has no place in JSON.
            value["greatest_difference"] =
                if most.is_finite() { json!(most) } else { json!("infinite") };
        }
        value
    }
}

/// As in `F32[16, 1, 5, 5]`.
fn shape(tensor: Option<&Tensor>) -> String {
    tensor.map_or_else(|| "-".to_owned(), |one| format!("{}{:?}", one.dtype, one.shape))
}

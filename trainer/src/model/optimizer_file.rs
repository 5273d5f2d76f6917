//! The optimizer's state as safetensors: `encoder.weight/momentum.moment_1` and so on, with the
//! scalars (such as the number of steps) as JSON in the metadata. Matrices have Burn's layout here,
//! `[inputs, outputs]`.
//!
//! Burn keys this state by parameter ids, which are drawn anew in each process. Here it's keyed by
//! the parameters' paths in the module, so that a checkpoint means the same anywhere.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::RecordError;
use burn::store::burn_pack::{Bytes, DType, Error as PackError, Reader, Scalar, Tensor, Writer};
use burn::tensor::Tensor as BurnTensor;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize};

/// Metadata entry that holds the scalars.
const SCALARS: &str = "scalars";
/// Between a parameter's path and the name of a part of its state.
const SEPARATOR: char = '/';

/// Why an optimizer's state can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum OptimizerFileError {
    /// Burn can't give or take the state.
    #[error("optimizer state: {0}")]
    Record(String),
    /// The file isn't safetensors.
    #[error("optimizer state: {0}")]
    File(#[from] SafeTensorError),
    /// The scalars aren't the JSON that belongs there.
    #[error("optimizer state: its scalars: {0}")]
    Scalars(#[from] serde_json::Error),
    /// A tensor of another type than f32.
    #[error("optimizer state: {name} is of type {found}, wanted 32-bit floats")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// The state belongs to other parameters than the model's.
    #[error("optimizer state: is of the parameters {found:?}, and the model has {wanted:?}")]
    Parameters {
        /// Parameters in the file.
        found: Vec<String>,
        /// Parameters of the model.
        wanted: Vec<String>,
    },
}

impl From<RecordError> for OptimizerFileError {
    fn from(error: RecordError) -> Self {
        Self::Record(error.to_string())
    }
}

impl From<PackError> for OptimizerFileError {
    fn from(error: PackError) -> Self {
        Self::Record(error.to_string())
    }
}

/// The state of `optimizer` as the bytes of a safetensors file; the same for the same state.
pub(super) fn encode(optimizer: &ModuleOptimizer) -> Result<Vec<u8>, OptimizerFileError> {
    let record = Reader::from_bytes(optimizer.into_bytes()?)?;
    // The record's metadata maps each parameter id to its path.
    let paths = record.metadata().clone();
    let rename = |name: &str| -> Result<String, OptimizerFileError> {
        let known = name.split_once('.').and_then(|(id, part)| Some((paths.get(id)?, part)));
        known
            .map(|(path, part)| format!("{path}{SEPARATOR}{part}"))
            .ok_or_else(|| OptimizerFileError::Record(format!("{name} is of no known parameter")))
    };
    let scalars: BTreeMap<String, Scalar> = record
        .scalars()
        .iter()
        .map(|(name, value)| Ok((rename(name)?, *value)))
        .collect::<Result<_, OptimizerFileError>>()?;
    let mut tensors = Vec::new();
    for tensor in record.into_tensors()? {
        let name = rename(&tensor.name)?;
        if tensor.dtype != DType::F32 {
            return Err(OptimizerFileError::Type { name, found: format!("{:?}", tensor.dtype) });
        }
        tensors.push((name, tensor.shape.to_vec(), tensor.into_bytes()?));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>()?;
    let metadata = HashMap::from([(SCALARS.to_owned(), serde_json::to_string(&scalars)?)]);
    Ok(serialize(views, Some(metadata))?)
}

/// Reads the state of an optimizer of `model`.
pub(super) fn decode<M: Module>(
    file: &[u8],
    model: &M,
) -> Result<OptimizerRecord, OptimizerFileError> {
    let ids = parameter_ids(model);
    let (_, header) = SafeTensors::read_metadata(file)?;
    let scalars = header.metadata().as_ref().and_then(|m| m.get(SCALARS)).map(String::as_str);
    let scalars: BTreeMap<String, Scalar> = serde_json::from_str(scalars.unwrap_or("{}"))?;
    check_parameters(&scalars, &ids)?;

    let rename = |name: &str| {
        let (path, part) = name.split_once(SEPARATOR)?;
        let id = ids.get(path)?.val();
        Some((id, format!("{id}.{part}")))
    };
    let mut tensors = Vec::new();
    for (name, view) in SafeTensors::deserialize(file)?.iter() {
        let Some((id, renamed)) = rename(name) else { continue };
        if view.dtype() != Dtype::F32 {
            let found = format!("{:?}", view.dtype());
            return Err(OptimizerFileError::Type { name: name.to_owned(), found });
        }
        let bytes = Bytes::from_bytes_vec(view.data().to_vec());
        tensors.push(Tensor::new(renamed, DType::F32, view.shape().to_vec(), Some(id), bytes));
    }
    let mut writer = Writer::new(tensors);
    for (name, value) in &scalars {
        if let Some((_, renamed)) = rename(name) {
            writer = writer.with_scalar(&renamed, *value);
        }
    }
    for (path, id) in &ids {
        writer = writer.with_metadata(&id.val().to_string(), path);
    }
    Ok(OptimizerRecord::from_bytes(writer.into_bytes()?)?)
}

/// The state must be of exactly the model's parameters: Burn would silently start afresh with
/// those that it lacks.
fn check_parameters(
    scalars: &BTreeMap<String, Scalar>,
    ids: &BTreeMap<String, ParamId>,
) -> Result<(), OptimizerFileError> {
    let mut found: Vec<String> = scalars
        .keys()
        .filter_map(|name| name.split_once(SEPARATOR))
        .map(|(path, _)| path.to_owned())
        .collect();
    found.dedup();
    let wanted: Vec<String> = ids.keys().cloned().collect();
    if found == wanted { Ok(()) } else { Err(OptimizerFileError::Parameters { found, wanted }) }
}

/// The id of each parameter of `model`, by its path.
fn parameter_ids<M: Module>(model: &M) -> BTreeMap<String, ParamId> {
    #[derive(Default)]
    struct Ids {
        path: Vec<String>,
        found: BTreeMap<String, ParamId>,
    }
    impl ModuleVisitor for Ids {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<BurnTensor<D>>) {
            self.found.insert(self.path.join("."), param.id);
        }
    }
    let mut ids = Ids::default();
    model.visit(&mut ids);
    ids.found
}

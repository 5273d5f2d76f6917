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

/// Name of the scalar that Burn keeps a parameter's rank in.
const RANK: &str = "__rank";

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
    /// A tensor of another shape than its parameter.
    #[error("optimizer state: {name} has the shape {found:?}, and its parameter {wanted:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The parameter's.
        wanted: Vec<usize>,
    },
    /// The state belongs to other parameters than the model's.
    #[error("optimizer state: is of the parameters {found:?}, and the model has {wanted:?}")]
    Parameters {
        /// Parameters in the file.
        found: Vec<String>,
        /// Parameters of the model.
        wanted: Vec<String>,
    },
    /// The optimizer keeps other things than the file has, or of another kind.
    #[error("optimizer state: has {found:?}, and this optimizer keeps {wanted:?}")]
    Parts {
        /// Names of what the file has.
        found: Vec<String>,
        /// Names of what the optimizer took of it.
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

/// A state taken apart. Its parts are named `path/part`.
struct Parts {
    scalars: BTreeMap<String, Scalar>,
    tensors: Vec<(String, Tensor)>,
}

impl Parts {
    fn of(optimizer: &ModuleOptimizer) -> Result<Self, OptimizerFileError> {
        let record = Reader::from_bytes(optimizer.into_bytes()?)?;
        // The record's metadata maps each parameter id to its path.
        let paths = record.metadata().clone();
        let rename = |name: &str| -> Result<String, OptimizerFileError> {
            let known = name.split_once('.').and_then(|(id, part)| Some((paths.get(id)?, part)));
            known.map(|(path, part)| format!("{path}{SEPARATOR}{part}")).ok_or_else(|| {
                OptimizerFileError::Record(format!("{name} is of no known parameter"))
            })
        };
        let scalars = record.scalars().iter();
        let scalars = scalars.map(|(name, value)| Ok((rename(name)?, *value)));
        let scalars = scalars.collect::<Result<_, OptimizerFileError>>()?;
        let tensors = record.into_tensors()?.into_iter();
        let tensors = tensors.map(|tensor| Ok((rename(&tensor.name)?, tensor)));
        Ok(Self { scalars, tensors: tensors.collect::<Result<_, OptimizerFileError>>()? })
    }

    fn names(&self) -> Vec<String> {
        let tensors = self.tensors.iter().map(|(name, _)| name);
        let mut names: Vec<String> = self.scalars.keys().chain(tensors).cloned().collect();
        names.sort();
        names
    }
}

/// The state of `optimizer` as the bytes of a safetensors file; the same for the same state.
pub(super) fn encode(optimizer: &ModuleOptimizer) -> Result<Vec<u8>, OptimizerFileError> {
    let Parts { scalars, tensors } = Parts::of(optimizer)?;
    let mut contents = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        if tensor.dtype != DType::F32 {
            return Err(OptimizerFileError::Type { name, found: format!("{:?}", tensor.dtype) });
        }
        contents.push((name, tensor.shape.to_vec(), tensor.into_bytes()?));
    }
    let views = contents
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>()?;
    let metadata = HashMap::from([(SCALARS.to_owned(), serde_json::to_string(&scalars)?)]);
    Ok(serialize(views, Some(metadata))?)
}

/// Puts a state into `fresh`, an optimizer of `model` that has none yet.
///
/// Burn asserts what is wrong with a state, or starts afresh with a parameter whose state it can't
/// read; so everything is checked here.
pub(super) fn decode<M: Module>(
    file: &[u8],
    fresh: ModuleOptimizer,
    model: &M,
) -> Result<ModuleOptimizer, OptimizerFileError> {
    let parameters = parameters(model);
    let (_, header) = SafeTensors::read_metadata(file)?;
    let scalars = header.metadata().as_ref().and_then(|m| m.get(SCALARS)).map(String::as_str);
    let scalars: BTreeMap<String, Scalar> = serde_json::from_str(scalars.unwrap_or("{}"))?;
    check_parameters(&scalars, &parameters)?;

    let find = |name: &str| {
        let (path, part) = name.split_once(SEPARATOR)?;
        let parameter = parameters.get(path)?;
        Some((parameter, format!("{}.{part}", parameter.id.val())))
    };
    let mut found: Vec<String> = scalars.keys().cloned().collect();
    let mut tensors = Vec::new();
    for (name, view) in SafeTensors::deserialize(file)?.iter() {
        found.push(name.to_owned());
        let Some((parameter, renamed)) = find(name) else { continue };
        if view.dtype() != Dtype::F32 {
            let found = format!("{:?}", view.dtype());
            return Err(OptimizerFileError::Type { name: name.to_owned(), found });
        }
        if view.shape() != parameter.shape {
            let (found, wanted) = (view.shape().to_vec(), parameter.shape.clone());
            return Err(OptimizerFileError::Shape { name: name.to_owned(), found, wanted });
        }
        let (bytes, id) = (Bytes::from_bytes_vec(view.data().to_vec()), parameter.id.val());
        tensors.push(Tensor::new(renamed, DType::F32, parameter.shape.clone(), Some(id), bytes));
    }
    let mut writer = Writer::new(tensors);
    for (name, value) in &scalars {
        if let Some((parameter, renamed)) = find(name) {
            let rank = Scalar::from(parameter.shape.len());
            let value = if renamed.ends_with(RANK) { rank } else { *value };
            writer = writer.with_scalar(&renamed, value);
        }
    }
    for (path, parameter) in &parameters {
        writer = writer.with_metadata(&parameter.id.val().to_string(), path);
    }
    let loaded = fresh.load_record(OptimizerRecord::from_bytes(writer.into_bytes()?)?);
    let wanted = Parts::of(&loaded)?.names();
    found.sort();
    if found == wanted { Ok(loaded) } else { Err(OptimizerFileError::Parts { found, wanted }) }
}

/// The state must be of exactly the model's parameters: Burn would silently start afresh with
/// those that it lacks.
fn check_parameters(
    scalars: &BTreeMap<String, Scalar>,
    parameters: &BTreeMap<String, Parameter>,
) -> Result<(), OptimizerFileError> {
    let mut found: Vec<String> = scalars
        .keys()
        .filter_map(|name| name.split_once(SEPARATOR))
        .map(|(path, _)| path.to_owned())
        .collect();
    found.dedup();
    let wanted: Vec<String> = parameters.keys().cloned().collect();
    if found == wanted { Ok(()) } else { Err(OptimizerFileError::Parameters { found, wanted }) }
}

/// What a state must fit.
struct Parameter {
    id: ParamId,
    shape: Vec<usize>,
}

/// The parameters of `model`, by their paths.
fn parameters<M: Module>(model: &M) -> BTreeMap<String, Parameter> {
    #[derive(Default)]
    struct Found {
        path: Vec<String>,
        parameters: BTreeMap<String, Parameter>,
    }
    impl ModuleVisitor for Found {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<BurnTensor<D>>) {
            let parameter = Parameter { id: param.id, shape: param.val().dims().to_vec() };
            self.parameters.insert(self.path.join("."), parameter);
        }
    }
    let mut found = Found::default();
    model.visit(&mut found);
    found.parameters
}

#[cfg(test)]
mod tests;

//! Weights as safetensors, named and laid out as PyTorch would: `encoder.weight` has the shape
//! `[outputs, inputs]`, so that `module.load_state_dict(safetensors.torch.load_file(path))` works.

use burn::module::Module;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};

/// Why weights can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// They can't be written.
    #[error("can't write the weights: {0}")]
    Write(String),
    /// The file isn't safetensors, or its tensors aren't those of the model.
    #[error("the weights don't fit the model: {0}")]
    Read(String),
}

/// The weights of `model` as the bytes of a safetensors file; the same for the same weights.
///
/// # Errors
/// If they can't be read from the device.
pub fn save_weights<M: Module>(model: &M) -> Result<Vec<u8>, WeightsError> {
    // One metadata entry only: the format keeps several in no particular order.
    let mut file = SafetensorsStore::from_bytes(None)
        .with_to_adapter(BurnToPyTorchAdapter)
        .clear_metadata()
        .metadata("format", "pt");
    model.save_into(&mut file).map_err(|error| WeightsError::Write(error.to_string()))?;
    file.get_bytes().map_err(|error| WeightsError::Write(error.to_string()))
}

/// Puts the weights of a safetensors file into `model`.
///
/// # Errors
/// If the file isn't safetensors, or lacks a tensor of the model, or has one of another shape.
pub fn load_weights<M: Module>(model: &mut M, file: Vec<u8>) -> Result<(), WeightsError> {
    let mut store =
        SafetensorsStore::from_bytes(Some(file)).with_from_adapter(PyTorchToBurnAdapter);
    let result =
        model.load_from(&mut store).map_err(|error| WeightsError::Read(error.to_string()))?;
    if result.is_success() && result.missing.is_empty() && result.unused.is_empty() {
        return Ok(());
    }
    Err(WeightsError::Read(format!(
        "errors {:?}, missing {:?}, unknown {:?}",
        result.errors, result.missing, result.unused
    )))
}

/// What was taken over from the weights of another model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Names of the tensors that were.
    pub taken: Vec<String>,
    /// What wasn't, and why.
    pub left: Vec<String>,
}

/// Puts those tensors of a safetensors file into `model` that have the name and shape of one of
/// its own; the others of the model stay as they are.
///
/// # Errors
/// If the file isn't safetensors.
pub fn adopt_weights<M: Module>(model: &mut M, file: Vec<u8>) -> Result<Adopted, WeightsError> {
    let mut store = SafetensorsStore::from_bytes(Some(file))
        .with_from_adapter(PyTorchToBurnAdapter)
        .validate(false)
        .allow_partial(true);
    let result =
        model.load_from(&mut store).map_err(|error| WeightsError::Read(error.to_string()))?;
    let mut left: Vec<String> = result.errors.iter().map(ToString::to_string).collect();
    let missing = result.missing.iter().map(|(name, _)| name);
    left.extend(missing.map(|name| format!("{name} isn't in the checkpoint")));
    left.extend(result.unused.iter().map(|name| format!("{name} isn't in the model")));
    Ok(Adopted { taken: result.applied, left })
}

//! Models, one file each, and what the training loop needs to know of them.

pub mod classifier;
mod descent;
mod device;
pub mod gan;
mod layers;
mod optimizer_file;
pub mod regression;
mod trained;
pub mod vae;
mod weights_file;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

pub use descent::{Descent, Rate};
pub use device::{DeviceChoice, DeviceError};
pub use optimizer_file::OptimizerFileError;
pub use trained::Method;
pub use weights_file::{Adopted, WeightsError, adopt_weights, load_weights, save_weights};

use crate::dataset::PIXELS;
use crate::dataset::picture::grey;
use crate::seeded::normals;
use crate::stream::Batch;

/// A model with a loss to minimise.
pub trait Objective: Module {
    /// Names of the loss's terms; the loss is their sum.
    const TERMS: &'static [&'static str];

    /// The loss's terms on `batch`, each summed over its samples: a tensor of shape
    /// `[TERMS.len()]`, in the order of [`Self::TERMS`]. Noise is drawn from `rng` alone.
    fn losses(&self, batch: &Batch, rng: &mut ChaCha8Rng, device: &Device) -> Tensor<1>;

    /// What the model says of `batch`, without learning from it.
    fn judge(&self, batch: &Batch, rng: &mut ChaCha8Rng, device: &Device) -> Verdict {
        Verdict { losses: self.losses(batch, rng, device), classes: None }
    }

    /// Probabilities of the classes of pictures: `[n, 784]` to `[n, 10]`, if it's a model that tells
    /// classes.
    fn probabilities(&self, _pictures: Tensor<2>) -> Option<Tensor<2>> {
        None
    }

    /// `count` pictures made by the model, of shape `[count, 784]` with values in `[0, 1]`, if
    /// it's a model that makes pictures.
    fn pictures(
        &self,
        _count: usize,
        _rng: &mut ChaCha8Rng,
        _device: &Device,
    ) -> Option<Tensor<2>> {
        None
    }
}

/// What a model says of a batch that it doesn't learn from.
#[derive(Debug)]
pub struct Verdict {
    /// The loss's terms, each summed over the batch's samples.
    pub losses: Tensor<1>,
    /// The class of each sample, of shape `[samples]`, if it's a model that tells classes.
    pub classes: Option<Tensor<1, Int>>,
}

/// The files of a checkpoint, by name.
pub type File<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// Something that learns from batches: what the training loop drives and checkpoints store.
pub trait Learner: Send {
    /// Names of the loss's terms.
    fn terms(&self) -> &'static [&'static str];

    /// Learns from `batch`; returns the loss's terms, summed over its samples, on the device.
    fn learn(&mut self, batch: &Batch, rng: &mut ChaCha8Rng) -> Tensor<1>;

    /// What the model says of `batch`, without learning from it.
    fn judge(&self, batch: &Batch, rng: &mut ChaCha8Rng) -> Verdict;

    /// Pixels of `count` pictures made by the model, 784 bytes each, if it makes pictures.
    ///
    /// # Errors
    /// If they can't be read from the device.
    fn pictures(&self, count: usize, rng: &mut ChaCha8Rng)
    -> Result<Option<Vec<u8>>, LearnerError>;

    /// Probabilities of the classes of the picture with these 784 `pixels`, if it tells classes.
    ///
    /// # Errors
    /// If they can't be read from the device.
    fn classify(&self, pixels: &[u8]) -> Result<Option<Vec<f32>>, LearnerError>;

    /// Everything that has been learned, as named files.
    ///
    /// # Errors
    /// If it can't be read from the device.
    fn save(&self) -> Result<Vec<(&'static str, Vec<u8>)>, LearnerError>;

    /// Takes up what [`Self::save`] stored.
    ///
    /// # Errors
    /// If a file is missing or isn't of this model.
    fn load(&mut self, file: File<'_>) -> Result<(), LearnerError>;

    /// Takes over those weights of another learner's files that have the names and shapes of its
    /// own, to begin from them.
    ///
    /// # Errors
    /// If a file can't be read.
    fn adopt(&mut self, file: File<'_>) -> Result<Adopted, LearnerError>;
}

/// Why a learner can't be read, saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// The device failed.
    #[error("can't read from the device: {0}")]
    Device(String),
    /// The weights can't be written or read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The optimizer's state can't be written or read.
    #[error(transparent)]
    Optimizer(#[from] OptimizerFileError),
    /// A file that the learner needs isn't there.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// The pixels of `batch` as a tensor of shape `[samples, 784]` with values in `[0, 1]`.
pub fn pixels(batch: &Batch, device: &Device) -> Tensor<2> {
    ink(&batch.pixels, device)
}

/// Whole pictures as a tensor of shape `[pictures, 784]` with values in `[0, 1]`.
fn ink(pixels: &[u8], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = pixels.iter().map(|pixel| f32::from(*pixel) / 255.0).collect();
    Tensor::from_data(TensorData::new(values, [pixels.len() / PIXELS, PIXELS]), device)
}

/// Grey levels of pictures with values in `[0, 1]`, read from their device.
fn levels(pictures: Tensor<2>) -> Result<Vec<u8>, LearnerError> {
    let values = pictures
        .try_into_vec_as::<f32>()
        .map_err(|error| LearnerError::Device(error.to_string()))?;
    Ok(values.into_iter().map(grey).collect())
}

/// The labels of `batch` as a tensor of shape `[samples]`.
pub fn labels(batch: &Batch, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = batch.labels.iter().copied().map(i32::from).collect();
    Tensor::from_data(TensorData::new(values, [batch.labels.len()]), device)
}

/// Standard normal noise of shape `[rows, columns]`, drawn on the host: the same on any device.
pub fn noise(rows: usize, columns: usize, rng: &mut ChaCha8Rng, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(normals(rng, rows * columns), [rows, columns]), device)
}

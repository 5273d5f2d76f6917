//! Models, one file each, and what the training loop needs to know of them.

pub mod classifier;
mod descent;
mod device;
pub mod gan;
mod hosted;
mod layers;
mod optimizer_file;
pub mod regression;
mod replicas;
mod trained;
pub mod vae;
mod weights_file;

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};

pub use descent::{Descent, Rate};
pub use device::{DeviceChoice, DeviceError, Devices, DevicesChoice};
pub use optimizer_file::OptimizerFileError;
pub use trained::Method;
pub use weights_file::{Adopted, WeightsError, adopt_weights, load_weights, save_weights};

use crate::dataset::PIXELS;
use crate::dataset::picture::grey;
use crate::seeded::Draws;
use crate::stream::Batch;

/// A model with a loss to minimise.
pub trait Objective: Module + 'static {
    /// Names of the loss's terms; the loss is their sum.
    const TERMS: &'static [&'static str];

    /// The loss's terms on `batch`, each summed over its samples: a tensor of shape
    /// `[TERMS.len()]`, in the order of [`Self::TERMS`]. Noise is drawn from `draws` alone, which
    /// has a stream for each sample. What is said of a sample must not depend on the others of
    /// the batch: replicas see only their share of it.
    fn losses(&self, batch: &Batch, draws: &mut Draws, device: &Device) -> Tensor<1>;

    /// What the model says of `batch`, without learning from it.
    fn judge(&self, batch: &Batch, draws: &mut Draws, device: &Device) -> Verdict {
        Verdict { losses: self.losses(batch, draws, device), classes: None }
    }

    /// Probabilities of the classes of pictures: `[n, 784]` to `[n, 10]`, if it's a model that tells
    /// classes.
    fn probabilities(&self, _pictures: Tensor<2>) -> Option<Tensor<2>> {
        None
    }

    /// A picture made by the model for each of `draws`' streams, of shape `[n, 784]` with values in
    /// `[0, 1]`, if it's a model that makes pictures.
    fn pictures(&self, _draws: &mut Draws, _device: &Device) -> Option<Tensor<2>> {
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

    /// Learns from `batch`, shared out to all replicas; returns the loss's terms, summed over its
    /// samples, on the first device. `draws` has a stream for each sample.
    ///
    /// # Errors
    /// If a device fails. The learner is then of no more use.
    fn learn(&mut self, batch: &Batch, draws: Draws) -> Result<Tensor<1>, LearnerError>;

    /// What the model says of `batch`, without learning from it, on the first device.
    fn judge(&self, batch: &Batch, draws: Draws) -> Verdict;

    /// Pixels of a picture made by the model for each of `draws`' streams, 784 bytes each, if it
    /// makes pictures.
    ///
    /// # Errors
    /// If they can't be read from the device.
    fn pictures(&self, draws: Draws) -> Result<Option<Vec<u8>>, LearnerError>;

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
    /// A replica of the model failed in a step.
    #[error("the replica on {device}: {what}")]
    Replica {
        /// Its device.
        device: DeviceChoice,
        /// What went wrong.
        what: String,
    },
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

/// Standard normal noise of shape `[samples, columns]`, drawn on the host: the same on any device.
pub fn noise(columns: usize, draws: &mut Draws, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(draws.normals(columns), [draws.samples(), columns]), device)
}

/// Binary cross-entropy between `targets`, in `[0, 1]`, and the sigmoid of `logits`, in nats,
/// summed to shape `[1]`.
///
/// In the form `max(l, 0) - l x + ln(1 + exp(-|l|))`, in which nothing overflows or cancels.
fn binary_cross_entropy<const D: usize>(logits: Tensor<D>, targets: Tensor<D>) -> Tensor<1> {
    let softplus = relu(logits.clone()) + logits.clone().abs().neg().exp().log1p();
    (softplus - logits * targets).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_cross_entropy_is_right_and_stable() {
        let device = Device::flex();
        let on = |logit: f32, target: f32| -> f32 {
            let tensor = |x: f32| Tensor::<2>::from_data([[x]], &device);
            binary_cross_entropy(tensor(logit), tensor(target)).into_scalar()
        };
        assert!((on(0.0, 0.3) - std::f32::consts::LN_2).abs() < 1e-6);
        // -(0.25 ln s(2) + 0.75 ln s(-2)), s the sigmoid.
        assert!((on(2.0, 0.25) - 1.626_928).abs() < 1e-5);
        assert_eq!(on(200.0, 1.0), 0.0);
        assert_eq!(on(-200.0, 1.0), 200.0);
        assert_eq!(on(200.0, 0.0), 200.0);
    }
}

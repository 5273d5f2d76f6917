//! A small convolutional network that tells digits (after LeCun et al., 1998, "Gradient-based
//! learning applied to document recognition").
//!
//! Two convolutions by 5x5 kernels, each followed by a rectifier and 2x2 maximum pooling, a dense
//! layer, ten logits. The loss is the cross-entropy in nats.

use burn::module::Module;
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::MaxPool2dConfig;
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::layers::{convolution, linear};
use super::{Objective, Verdict, labels, pixels};
use crate::dataset::{CLASSES, SIDE};
use crate::seeded::{Draws, Purpose, stream};
use crate::stream::Batch;

/// Side of the kernels.
const KERNEL: usize = 5;

/// Sizes of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Channels of the first convolution; the second has twice as many.
    pub channels: usize,
    /// Width of the dense layer.
    pub hidden: usize,
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        Self { channels: 16, hidden: 128 }
    }
}

/// The classifier's layers.
#[derive(Module, Debug)]
pub struct Classifier {
    first: Conv2d,
    second: Conv2d,
    hidden: Linear,
    output: Linear,
}

impl Classifier {
    /// A network with initial weights that follow from `seed`.
    pub fn new(config: ClassifierConfig, seed: u64, device: &Device) -> Self {
        let mut rng = stream(seed, Purpose::Weights, &[]);
        let (one, two) = (config.channels, 2 * config.channels);
        let side = pooled(pooled(SIDE));
        Self {
            first: convolution([1, one], KERNEL, &mut rng, device),
            second: convolution([one, two], KERNEL, &mut rng, device),
            hidden: linear(two * side * side, config.hidden, &mut rng, device),
            output: linear(config.hidden, usize::from(CLASSES), &mut rng, device),
        }
    }

    /// Logits of the classes: `[n, 784]` to `[n, 10]`.
    pub fn logits(&self, pictures: Tensor<2>) -> Tensor<2> {
        let [count, _] = pictures.dims();
        let pictures = pictures.reshape([count, 1, SIDE, SIDE]);
        let first = pool(relu(self.first.forward(pictures)));
        let second = pool(relu(self.second.forward(first)));
        self.output.forward(relu(self.hidden.forward(second.flatten(1, 3))))
    }
}

impl Objective for Classifier {
    const TERMS: &'static [&'static str] = &["cross-entropy"];

    fn losses(&self, batch: &Batch, _draws: &mut Draws, device: &Device) -> Tensor<1> {
        cross_entropy(self.logits(pixels(batch, device)), labels(batch, device), device)
    }

    fn judge(&self, batch: &Batch, _draws: &mut Draws, device: &Device) -> Verdict {
        let logits = self.logits(pixels(batch, device));
        let classes = logits.clone().argmax(1).flatten(0, 1);
        let losses = cross_entropy(logits, labels(batch, device), device);
        Verdict { losses, classes: Some(classes) }
    }

    fn probabilities(&self, pictures: Tensor<2>) -> Option<Tensor<2>> {
        Some(softmax(self.logits(pictures), 1))
    }
}

/// Cross-entropy in nats, summed over the samples to shape `[1]`.
fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>, device: &Device) -> Tensor<1> {
    let [count, _] = logits.dims();
    let mean = CrossEntropyLossConfig::new().init(device).forward(logits, labels);
    mean.mul_scalar(count as f32)
}

/// Side of a square after a convolution and pooling.
const fn pooled(side: usize) -> usize {
    let convolved = side - KERNEL + 1;
    convolved / 2
}

fn pool(tensor: Tensor<4>) -> Tensor<4> {
    MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init().forward(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::PIXELS;

    #[test]
    fn cross_entropy_is_summed_over_samples() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[0.0, 0.0], [2.0, 0.0]], &device);
        let labels = Tensor::<1, Int>::from_data([0, 1], &device);
        let found: f32 = cross_entropy(logits, labels, &device).into_scalar();
        // ln 2, and ln(1 + e^2).
        assert!((found - (std::f32::consts::LN_2 + 2.126_928)).abs() < 1e-5, "{found}");
    }

    #[test]
    fn shapes_fit_any_number_of_pictures() {
        let device = Device::flex();
        let config = ClassifierConfig { channels: 2, hidden: 5 };
        let model = Classifier::new(config, 1, &device);
        for count in [1, 3] {
            let pictures = Tensor::<2>::zeros([count, PIXELS], &device);
            assert_eq!(model.logits(pictures).dims(), [count, 10]);
        }
    }
}

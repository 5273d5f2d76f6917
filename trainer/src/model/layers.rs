//! Layers whose initial weights are drawn on the host, so that they are the same on any device.
//!
//! Weights and biases are uniform within `1 / sqrt(inputs)` of zero, where `inputs` is how many
//! numbers make one output: PyTorch's default, which keeps activations at the same scale.

use burn::module::Param;
use burn::nn::conv::{Conv2d, ConvTranspose2d};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::{Device, TensorData};
use rand_chacha::ChaCha8Rng;

use crate::seeded::uniform;

/// A dense layer.
pub(super) fn linear(
    inputs: usize,
    outputs: usize,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Linear {
    let weight = TensorData::new(draw(inputs, inputs * outputs, rng), [inputs, outputs]);
    let bias = TensorData::new(draw(inputs, outputs, rng), [outputs]);
    Linear { weight: Param::from_data(weight, device), bias: Some(Param::from_data(bias, device)) }
}

/// A convolution by `side` x `side` kernels, without padding.
pub(super) fn convolution(
    [from, to]: [usize; 2],
    side: usize,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Conv2d {
    let inputs = from * side * side;
    let weight = TensorData::new(draw(inputs, inputs * to, rng), [to, from, side, side]);
    let bias = TensorData::new(draw(inputs, to, rng), [to]);
    Conv2d {
        weight: Param::from_data(weight, device),
        bias: Some(Param::from_data(bias, device)),
        stride: [1, 1],
        kernel_size: [side, side],
        dilation: [1, 1],
        groups: 1,
        padding: PaddingConfig2d::Valid,
    }
}

/// Side of the kernels that halve or double the side of a picture.
const RESIZING: usize = 4;

/// A convolution that halves the side of a picture, which must be even.
pub(super) fn halving(channels: [usize; 2], rng: &mut ChaCha8Rng, device: &Device) -> Conv2d {
    let layer = convolution(channels, RESIZING, rng, device);
    Conv2d { stride: [2, 2], padding: PaddingConfig2d::Explicit(1, 1, 1, 1), ..layer }
}

/// A transposed convolution that doubles the side of a picture.
pub(super) fn doubling(
    [from, to]: [usize; 2],
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> ConvTranspose2d {
    // Strides of two bring a quarter of the kernel to any one output.
    let inputs = from * RESIZING * RESIZING / 4;
    let shape = [from, to, RESIZING, RESIZING];
    let weight = TensorData::new(draw(inputs, shape.iter().product(), rng), shape);
    let bias = TensorData::new(draw(inputs, to, rng), [to]);
    ConvTranspose2d {
        weight: Param::from_data(weight, device),
        bias: Some(Param::from_data(bias, device)),
        stride: [2, 2],
        kernel_size: [RESIZING, RESIZING],
        dilation: [1, 1],
        groups: 1,
        padding: [1, 1],
        padding_out: [0, 0],
        channels: [from, to],
    }
}

fn draw(inputs: usize, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let bound = 1.0 / (inputs as f32).sqrt();
    (0..count).map(|_| bound * (2.0 * uniform(rng) - 1.0)).collect()
}

//! Linear regression by least squares and gradient descent: the smallest of the models.
//!
//! The label, taken for a number, is fitted by a weighted sum of the pixels. That makes a poor
//! reader of digits; it's here to show what a model needs, and how little. The loss is the squared
//! error.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::{MseLoss, Reduction};
use burn::tensor::{Device, Tensor};

use super::{Objective, labels, pixels};
use crate::dataset::PIXELS;
use crate::seeded::Draws;
use crate::stream::Batch;

/// The weights of the pixels, and the constant.
#[derive(Module, Debug)]
pub struct Regression {
    sum: Linear,
}

impl Regression {
    /// All weights zero: there is one minimum only, and any start will do.
    pub fn new(device: &Device) -> Self {
        let weight = Param::from_tensor(Tensor::zeros([PIXELS, 1], device));
        let bias = Some(Param::from_tensor(Tensor::zeros([1], device)));
        Self { sum: Linear { weight, bias } }
    }
}

impl Objective for Regression {
    const TERMS: &'static [&'static str] = &["squared error"];

    fn losses(&self, batch: &Batch, _draws: &mut Draws, device: &Device) -> Tensor<1> {
        let found = self.sum.forward(pixels(batch, device));
        let wanted = labels(batch, device).float().unsqueeze_dim(1);
        MseLoss::new().forward(found, wanted, Reduction::Sum)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::Rng;

    use super::*;
    use crate::model::{Descent, DeviceChoice, DevicesChoice, Learner, Method, Rate};
    use crate::seeded::{Purpose, stream};
    use crate::stream::Cursor;

    /// Label = 2 + 5 p - 2.5 q for the ink of two pixels, which take such values that it is whole.
    fn batch(samples: usize) -> Batch {
        let mut rng = stream(1, Purpose::Synthetic, &[]);
        let mut pick = |count: u32| u8::try_from(rng.next_u32() % count).unwrap();
        let mut batch = Batch {
            start: Cursor::default(),
            end: Cursor::default(),
            pixels: vec![0; samples * PIXELS],
            labels: Vec::new(),
            last: true,
        };
        for picture in batch.pixels.chunks_mut(PIXELS) {
            let (a, b) = (pick(6), pick(3));
            // Ink of 0.2 a and 0.4 b.
            (picture[17], picture[500]) = (51 * a, 102 * b);
            batch.labels.push(2 + a - b);
        }
        batch
    }

    #[test]
    fn gradient_descent_finds_the_coefficients() {
        let rate = Rate { first: 0.2, decay: 1.0 };
        let devices = DevicesChoice::from(DeviceChoice::Cpu).open().unwrap();
        let mut learner =
            Descent::new(devices, Method::GradientDescent, rate, Regression::new).unwrap();
        let batch = batch(256);
        let draws = Draws::new(1, Purpose::TrainNoise, &[], 0..256);
        for _ in 0..600 {
            learner.learn(&batch, draws.clone()).unwrap();
        }
        let loss: f32 = learner.judge(&batch, draws).losses.into_scalar();
        assert!(loss < 1e-3, "{loss}");
        let weights =
            learner.model().sum.weight.val().into_data().iter::<f32>().collect::<Vec<_>>();
        let bias: f32 = learner.model().sum.bias.as_ref().unwrap().val().inner().into_scalar();
        let close = |found: f32, wanted: f32| assert!((found - wanted).abs() < 0.01, "{found}");
        close(bias, 2.0);
        close(weights[17], 5.0);
        close(weights[500], -2.5);
        close(weights[18], 0.0);
    }
}

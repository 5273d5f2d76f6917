//! A network together with the optimizer that improves it, and the files that they are kept in.

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Device;

use super::hosted::Hosted;
use super::optimizer_file;
use super::weights_file::{Adopted, adopt_weights, load_weights, save_weights};
use super::{File, LearnerError};

/// How a network is improved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Adam (Kingma and Ba, 2014, arXiv:1412.6980), whose averages of gradients forget at `beta_1`.
    Adam {
        /// Share of the average that is kept at each step.
        beta_1: f32,
    },
    /// Plain gradient descent, which remembers nothing.
    GradientDescent,
}

impl Method {
    /// Adam with the averages that its authors recommend.
    pub const ADAM: Self = Self::Adam { beta_1: 0.9 };

    fn start(self) -> ModuleOptimizer {
        match self {
            Self::Adam { beta_1 } => {
                Hosted(AdamConfig::new().with_beta_1(beta_1).with_epsilon(1e-8).build()).into()
            }
            Self::GradientDescent => SgdConfig::new().init(),
        }
    }
}

/// Names of a network's files within a checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files {
    /// Of the weights.
    pub(super) weights: &'static str,
    /// Of the optimizer's state.
    pub(super) optimizer: &'static str,
}

/// A network and its optimizer.
pub(super) struct Trained<M> {
    pub(super) model: M,
    optimizer: ModuleOptimizer,
    method: Method,
    files: Files,
}

impl<M: Module> Trained<M> {
    pub(super) fn new(model: M, method: Method, files: Files) -> Self {
        Self { model, optimizer: method.start(), method, files }
    }

    /// Improves the network by the sum of `gradients`, added on `device` in their order.
    pub(super) fn step(
        &mut self,
        rate: f64,
        gradients: impl IntoIterator<Item = GradientsParams>,
        device: &Device,
    ) {
        let mut sum = GradientsAccumulator::new();
        for part in gradients {
            sum.accumulate(&self.model, part.to_device(device, &self.model));
        }
        self.model = self.optimizer.step(rate, self.model.clone(), sum.grads());
    }

    pub(super) fn save(&self) -> Result<Vec<(&'static str, Vec<u8>)>, LearnerError> {
        let mut files = vec![(self.files.weights, save_weights(&self.model)?)];
        if self.method != Method::GradientDescent {
            files.push((self.files.optimizer, optimizer_file::encode(&self.optimizer)?));
        }
        Ok(files)
    }

    pub(super) fn load(&mut self, file: File<'_>) -> Result<(), LearnerError> {
        let need = |name| file(name).ok_or(LearnerError::Missing(name));
        load_weights(&mut self.model, need(self.files.weights)?)?;
        self.optimizer = self.method.start();
        if self.method != Method::GradientDescent {
            let file = need(self.files.optimizer)?;
            self.optimizer = optimizer_file::decode(&file, self.method.start(), &self.model)?;
        }
        Ok(())
    }

    /// Takes over the weights that fit, and leaves the optimizer as it is.
    pub(super) fn adopt(&mut self, file: File<'_>) -> Result<Adopted, LearnerError> {
        let name = self.files.weights;
        match file(name) {
            Some(content) => Ok(adopt_weights(&mut self.model, content)?),
            None => Ok(Adopted {
                taken: Vec::new(),
                left: vec![format!("{name} isn't in the checkpoint")],
            }),
        }
    }
}

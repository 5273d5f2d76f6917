//! Optimizers whose state is read into the memory of the host.
//!
//! Burn reads a state onto its default device, which is a GPU wherever the program was built with
//! CUDA: a run on the CPU would then need one, and a run on `cuda:1` would open `cuda:0`. A state is
//! moved to its parameter's device at the next step anyway.

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// An optimizer that does as `O` does, and whose state is [`HostedState`].
#[derive(Clone)]
pub(super) struct Hosted<O>(pub(super) O);

/// A state that is read into the host's memory, whichever device is asked for.
#[derive(Clone)]
pub(super) struct HostedState<S>(S);

impl<S: RecordState> RecordState for HostedState<S> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        self.0.state_flatten(prefix, out);
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, _device: &Device) -> Option<Self> {
        S::state_unflatten(prefix, source, &Device::flex()).map(Self)
    }
}

impl<O: Optimizer> Optimizer for Hosted<O> {
    type State<const D: usize> = HostedState<O::State<D>>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (tensor, state) = self.0.step(rate, tensor, gradient, state.map(|state| state.0));
        (tensor, state.map(HostedState))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        HostedState(O::to_device(state.0, device))
    }
}

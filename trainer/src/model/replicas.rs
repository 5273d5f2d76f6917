//! Data parallelism: the samples of a step are shared out to replicas of the model, one on each
//! device; what they find is put together in the order of the samples.
//!
//! A step goes like this. Each replica gets the weights of the first device and a share of the
//! batch, and finds the gradient of its samples' part of the loss. The gradients are moved to the
//! first device and added up there, the first share's first; the optimizer, of which there is one,
//! steps. Since the loss is a sum over samples divided by all of the batch's, that is the gradient
//! of the whole batch, whatever the sizes of the shares.
//!
//! The order of the additions follows from the number of replicas alone: with the same number, a
//! run gives the same bits. Another number rounds otherwise, and no more than that: what's drawn at
//! random is drawn per sample ([`Draws`]).
//!
//! Burn's own means are used for moving and adding gradients. Its all-reduce isn't: on the CPU it
//! adds in the order in which threads happen to arrive. Nor is `MultiGradientsParams`, which
//! begins with a replica that follows from a parameter's id, drawn anew in each process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;

use burn::tensor::{Device, Tensor};

use super::device::{DeviceChoice, Devices, Opened};
use super::{Draws, LearnerError};
use crate::dataset::PIXELS;
use crate::stream::{Batch, Cursor};

/// Some samples of a batch, and the random numbers for them.
pub(super) struct Share {
    pub(super) batch: Batch,
    pub(super) draws: Draws,
}

/// Devices, and the threads that work on them.
pub(super) struct Replicas {
    first: Opened,
    others: Vec<Worker>,
}

impl Replicas {
    /// Replicas that learn on `devices`: their tensors track gradients.
    pub(super) fn start(devices: Devices) -> Result<Self, LearnerError> {
        let Devices { first, others } = devices;
        let learning = |Opened { choice, device }| Opened { choice, device: device.autodiff() };
        let others = others.into_iter().map(|opened| Worker::start(learning(opened)));
        Ok(Self { first: learning(first), others: others.collect::<Result<_, _>>()? })
    }

    /// The device that has the weights and the optimizer, tracking gradients.
    pub(super) fn learning(&self) -> &Device {
        &self.first.device
    }

    /// The same device, for what isn't learned from.
    pub(super) fn inner(&self) -> Device {
        self.first.device.clone().inner()
    }

    /// Shares a batch out: consecutive samples, equally many up to one; replicas get none if there
    /// are fewer samples than replicas.
    pub(super) fn share(&self, batch: &Batch, mut draws: Draws) -> Vec<Share> {
        let (mut pixels, mut labels) = (batch.pixels.as_slice(), batch.labels.as_slice());
        let mut sample = batch.start.sample;
        let mut shares = Vec::with_capacity(1 + self.others.len());
        for size in sizes(batch.labels.len(), 1 + self.others.len()) {
            let (mine, rest) = pixels.split_at(size * PIXELS);
            let (my_labels, other_labels) = labels.split_at(size);
            let batch = Batch {
                start: Cursor { sample, ..batch.start },
                end: Cursor { sample: sample + size, ..batch.start },
                pixels: mine.to_vec(),
                labels: my_labels.to_vec(),
                last: batch.last,
            };
            shares.push(Share { batch, draws: draws.split_off_front(size) });
            (pixels, labels, sample) = (rest, other_labels, sample + size);
        }
        shares
    }

    /// What `work` makes of each of `inputs`, in their order: the first on the first device, and so
    /// on, at the same time. There are no more inputs than replicas.
    ///
    /// # Errors
    /// If `work` panics, as Burn does where a device fails.
    pub(super) fn map<I, O, W>(&self, inputs: Vec<I>, work: W) -> Result<Vec<O>, LearnerError>
    where
        I: Send + 'static,
        O: Send + 'static,
        W: Fn(&Device, I) -> O + Clone + Send + 'static,
    {
        debug_assert!(inputs.len() <= 1 + self.others.len());
        let mut inputs = inputs.into_iter();
        let Some(mine) = inputs.next() else { return Ok(Vec::new()) };
        let pending: Vec<_> = self
            .others
            .iter()
            .zip(inputs)
            .map(|(worker, input)| (worker.choice, worker.give(input, work.clone())))
            .collect();
        let mut outputs = vec![attempt(&self.first, mine, work)?];
        for (choice, output) in pending {
            let gone = |_| failed(choice, "its thread has ended");
            outputs.push(output.recv().map_err(gone)??);
        }
        Ok(outputs)
    }
}

/// The sum of `parts` on `device`, added in their order.
pub(super) fn sum(
    parts: impl IntoIterator<Item = Tensor<1>>,
    device: &Device,
) -> Option<Tensor<1>> {
    parts.into_iter().map(|part| part.to_device(device)).reduce(|sum, part| sum + part)
}

/// Into how many samples each that `samples` are shared, at most `replicas` times.
fn sizes(samples: usize, replicas: usize) -> impl Iterator<Item = usize> {
    let (each, more) = (samples / replicas, samples % replicas);
    (0..replicas).map(move |at| each + usize::from(at < more)).filter(|size| *size > 0)
}

type Job = Box<dyn FnOnce(&Opened) + Send>;

/// A thread that works on one device. It lasts as long as the run: on a GPU, each thread has a
/// stream and a pool of memory of its own.
struct Worker {
    choice: DeviceChoice,
    /// None only while it's being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(opened: Opened) -> Result<Self, LearnerError> {
        let choice = opened.choice;
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new()
            .name(format!("replica on {choice}"))
            .spawn(move || queue.into_iter().for_each(|job| job(&opened)))
            .map_err(|error| failed(choice, &format!("can't start its thread: {error}")))?;
        Ok(Self { choice, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands `input` over; the output comes by the channel returned.
    fn give<I, O>(
        &self,
        input: I,
        work: impl Fn(&Device, I) -> O + Send + 'static,
    ) -> mpsc::Receiver<Result<O, LearnerError>>
    where
        I: Send + 'static,
        O: Send + 'static,
    {
        let (output, receiver) = mpsc::sync_channel(1);
        if let Some(jobs) = &self.jobs {
            // Whoever waits for the output learns from its absence that the thread is gone, and an
            // output that nobody waits for any more is of no use.
            let _gone = jobs.send(Box::new(move |opened| {
                let _unwanted = output.send(attempt(opened, input, work));
            }));
        }
        receiver
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Jobs catch what panics.
            let _ended = thread.join();
        }
    }
}

fn attempt<I, O>(
    opened: &Opened,
    input: I,
    work: impl Fn(&Device, I) -> O,
) -> Result<O, LearnerError> {
    // Nothing of what `work` has in hand outlives its failure.
    catch_unwind(AssertUnwindSafe(|| work(&opened.device, input)))
        .map_err(|panic| failed(opened.choice, said(panic.as_ref())))
}

fn failed(device: DeviceChoice, what: &str) -> LearnerError {
    LearnerError::Replica { device, what: what.to_owned() }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it gave no reason")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::DevicesChoice;
    use crate::seeded::Purpose;

    fn replicas(count: usize) -> Replicas {
        let choice: DevicesChoice = format!("cpu:{count}").parse().unwrap();
        Replicas::start(choice.open().unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn samples_are_shared_out_evenly(samples in 0usize..300, replicas in 1usize..20) {
            let sizes: Vec<_> = sizes(samples, replicas).collect();
            prop_assert_eq!(sizes.iter().sum::<usize>(), samples);
            prop_assert_eq!(sizes.len(), samples.min(replicas));
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            prop_assert!(most.zip(least).is_none_or(|(most, least)| most - least <= 1));
        }
    }

    #[test]
    fn shares_put_together_are_the_batch() {
        let batch = Batch {
            start: Cursor { epoch: 2, sample: 100 },
            end: Cursor { epoch: 2, sample: 105 },
            pixels: (0..5 * PIXELS).map(|at| u8::try_from(at % 251).unwrap()).collect(),
            labels: vec![3, 1, 4, 1, 5],
            last: true,
        };
        let mut draws = Draws::new(1, Purpose::TrainNoise, &[2], 100..105);
        let shares = replicas(2).share(&batch, draws.clone());
        let at: Vec<_> = shares.iter().map(|share| share.batch.start.sample).collect();
        assert_eq!(at, [100, 103]);
        let join = |part: fn(&Batch) -> &[u8]| -> Vec<u8> {
            shares.iter().flat_map(|share| part(&share.batch).to_vec()).collect()
        };
        assert_eq!(join(|batch| &batch.pixels), batch.pixels);
        assert_eq!(join(|batch| &batch.labels), batch.labels);
        let drawn: Vec<f32> =
            shares.iter().flat_map(|share| share.draws.clone().normals(3)).collect();
        assert_eq!(drawn, draws.normals(3));
    }

    #[test]
    fn outputs_come_in_the_order_of_inputs() {
        let replicas = replicas(3);
        // The first waits for the last: they work at the same time.
        let (tell, told) = mpsc::channel::<()>();
        let (tell, told) = (std::sync::Mutex::new(tell), std::sync::Mutex::new(told));
        let pair = std::sync::Arc::new((tell, told));
        let work = move |device: &Device, input: usize| {
            assert!(device.is_autodiff());
            match input {
                0 => pair.1.lock().unwrap().recv().unwrap(),
                2 => pair.0.lock().unwrap().send(()).unwrap(),
                _ => (),
            }
            10 * input
        };
        assert_eq!(replicas.map(vec![0, 1, 2], work).unwrap(), [0, 10, 20]);
        let none = replicas.map(Vec::<usize>::new(), |_, input| input).unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn a_replica_that_panics_is_an_error_and_the_others_go_on() {
        let replicas = replicas(2);
        for bad in [0, 1] {
            let error = replicas
                .map(vec![0, 1], move |_, input| assert!(input != bad, "out of memory"))
                .unwrap_err();
            assert!(error.to_string().contains("cpu: out of memory"), "{error}");
        }
        assert_eq!(replicas.map(vec![1, 2], |_, input| input).unwrap(), [1, 2]);
    }
}

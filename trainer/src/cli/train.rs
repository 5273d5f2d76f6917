//! `coffer-train vae`, `classifier`, `gan`, `linear`: runs of the models.

use std::sync::Arc;

use anyhow::Context;
use coffer_client::checkpoint::retention::Retention;
use coffer_client::checkpoint::{Retain, Root};
use coffer_client::dataset::pack::Existing;
use coffer_client::dataset::{Cache, DatasetError, ReadStats};
use coffer_client::place::{Address, Place};
use coffer_train::checkpoint::CheckpointAddress;
use coffer_train::dataset::Split;
use coffer_train::energy::{Energy, EnergyMeter};
use coffer_train::model::classifier::ClassifierConfig;
use coffer_train::model::gan::GanConfig;
use coffer_train::model::vae::VaeConfig;
use coffer_train::stream::{Dataset, ReadOptions, StreamError};
use coffer_train::telemetry::About;
use coffer_train::train::{Ending, Init, ModelConfig, Patience, Resume, Run, Saving, TrainConfig};
use serde::Serialize;

use super::Session;
use super::args::{Classifier, Gan, Linear, RunArgs, Vae};
use super::defaults::{self, Defaults};
use super::observe::{Watched, carry_out};
use super::pack::{create, pack_into};
use super::revision::revision;
use super::signals::{Signals, Stopped};

#[derive(Serialize)]
struct Finished<'a> {
    run: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<String>,
    test_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_accuracy: Option<f64>,
    /// Of the training of all epochs, former attempts included.
    #[serde(skip_serializing_if = "Energy::is_empty")]
    training_energy: Energy,
    /// Of all that this process did.
    #[serde(skip_serializing_if = "Energy::is_empty")]
    energy: Energy,
    pictures: &'a [String],
    /// What reading the dataset has cost.
    data: ReadStats,
}

pub(super) fn vae(session: &Session, args: &Vae) -> anyhow::Result<()> {
    let vae = VaeConfig { hidden: args.hidden.get(), latent: args.latent.get() };
    run(session, &args.run, ModelConfig::Vae(vae), defaults::VAE)
}

pub(super) fn classifier(session: &Session, args: &Classifier) -> anyhow::Result<()> {
    let classifier = ClassifierConfig { channels: args.channels.get(), hidden: args.hidden.get() };
    run(session, &args.run, ModelConfig::Classifier(classifier), defaults::CLASSIFIER)
}

pub(super) fn gan(session: &Session, args: &Gan) -> anyhow::Result<()> {
    let gan = GanConfig { channels: args.channels.get(), latent: args.latent.get() };
    run(session, &args.run, ModelConfig::Gan(gan), defaults::GAN)
}

pub(super) fn linear(session: &Session, args: &Linear) -> anyhow::Result<()> {
    run(session, &args.run, ModelConfig::Linear, defaults::LINEAR)
}

fn run(
    session: &Session,
    args: &RunArgs,
    model: ModelConfig,
    defaults: Defaults,
) -> anyhow::Result<()> {
    let within = |own: &Option<Address>, name: &str| {
        own.clone().or_else(|| Some(args.store.as_ref()?.child(name)))
    };
    let data = within(&args.data, "mnist").context("--data or --store is missing")?;
    let place = within(&args.run, model.name()).context("--run or --store is missing")?;
    let devices = args.devices.open()?;
    let dataset = dataset(session, args, &data)?;
    let index = dataset.index();
    if index.source != "mnist" {
        session.output.note(&format!("the dataset is {}, not MNIST", index.source));
    }
    let config = TrainConfig {
        model,
        seed: args.seed,
        batch: args.batch.unwrap_or(defaults.batch),
        learning_rate: args.learning_rate.unwrap_or(defaults.learning_rate),
        decay: args.decay.unwrap_or(defaults.decay),
        window: args.window,
        workers: args.read.worker,
        validation: args.validation,
        dataset: index.version,
        replicas: devices.replicas(),
        init_from: args.init_from.as_ref().map(ToString::to_string),
    };
    let samples = config.learned().samples(dataset.shards(Split::Train));
    let meter = Arc::new(EnergyMeter::open(&devices.gpus()));
    let epochs = args.epochs.unwrap_or(defaults.epochs);
    let about = About {
        model: model.name(),
        unit: model.unit(),
        run: place.to_string(),
        dataset: config.dataset.to_string(),
        devices: args.devices.to_string(),
        epochs,
        // A worker's share of an epoch differs from epoch to epoch by some shards.
        samples: samples.div_ceil(config.workers.count().get()),
    };
    let signals = Signals::watch(session)?;
    let run = Run {
        runtime: &session.runtime,
        place: create(session, &place)?,
        dataset,
        config,
        epochs,
        patience: args.patience.map(|epochs| Patience { epochs, improvement: args.improvement }),
        prefetch: args.read.prefetch,
        on_corrupt: args.read.on_corrupt,
        devices,
        resume: match (args.resume, args.fresh) {
            (true, _) => Resume::Require,
            (_, true) => Resume::Refuse,
            _ => Resume::Auto,
        },
        init: args.init_from.as_ref().map(|from| init(session, from, args.partial)).transpose()?,
        saving: Saving {
            every: args.checkpoint_every,
            retain: retain(args),
            revision: revision(),
            ..Saving::default()
        },
        stop: signals.stop.clone(),
        out: args.out.clone(),
        energy: Some(Arc::clone(&meter)),
    };
    let watched = carry_out(session, &run, &args.watching, about, &meter)?;
    if watched.outcome.ending == Ending::Stopped {
        let checkpoint = watched.outcome.checkpoint;
        return Err(Stopped { signal: signals.first(), checkpoint }.into());
    }
    finish(session, &run, model, &watched);
    Ok(())
}

fn init(session: &Session, from: &CheckpointAddress, partial: bool) -> anyhow::Result<Init> {
    let run = session.runtime.block_on(session.opener.open(&from.run))?;
    Ok(Init { run, checkpoint: from.checkpoint, partial })
}

/// What is deleted after each save, if anything is.
fn retain(args: &RunArgs) -> Option<Retain> {
    let retention = Retention { last: args.keep_last, every: args.keep_every };
    (retention != Retention::default())
        .then(|| Arc::new(move |root: &Root| retention.removes(root)) as Retain)
}

/// Opens the dataset, and packs it first if it isn't there and that is wanted.
fn dataset(session: &Session, args: &RunArgs, address: &Address) -> anyhow::Result<Dataset> {
    let place = if args.pack {
        create(session, address)?
    } else {
        session.runtime.block_on(session.opener.open(address))?
    };
    let options = || -> anyhow::Result<ReadOptions> {
        let open = |dir| Cache::open(dir, args.read.cache_size);
        let cache = args.read.cache_dir.as_deref().map(open).transpose()?;
        Ok(ReadOptions { cache, ..ReadOptions::default() })
    };
    let opened = session.runtime.block_on(Dataset::open(&place, options()?));
    if args.pack && matches!(opened, Err(StreamError::Dataset(DatasetError::NoDataset(_)))) {
        pack_into(session, &place, &args.source, Existing::Refuse)?;
        return Ok(session.runtime.block_on(Dataset::open(&place, options()?))?);
    }
    Ok(opened?)
}

fn finish(session: &Session, run: &Run<'_>, model: ModelConfig, watched: &Watched) {
    let Watched { outcome, energy } = watched;
    let (place, data): (&Place, ReadStats) = (&run.place, run.dataset.stats());
    if data.skipped_samples > 0 {
        session.output.warn(&format!(
            "{} samples of damaged or missing shards were skipped, over all epochs",
            data.skipped_samples
        ));
    }
    let last = outcome.history.last();
    let test_loss = last.map(|record| record.test.total());
    let confusion = last.and_then(|record| record.confusion);
    let finished = Finished {
        run: place.address(),
        checkpoint: outcome.checkpoint.map(|id| id.to_string()),
        best: outcome.best.map(|id| id.to_string()),
        test_loss,
        test_accuracy: confusion.map(|confusion| confusion.scores().accuracy),
        training_energy: outcome.training_energy(),
        energy: *energy,
        pictures: &outcome.pictures,
        data,
    };
    let loss = last
        .map_or("none".to_owned(), |record| format!("{} {} per image", record.test, model.unit()));
    let accuracy =
        finished.test_accuracy.map_or(String::new(), |share| format!(", accuracy {share:.4}"));
    let best = finished.best.as_ref();
    let best = best.map_or(String::new(), |id| format!("\nleast validation loss: {id}"));
    let energy = if energy.is_empty() { String::new() } else { format!("\nenergy: {energy}") };
    let text = format!(
        "{} at {}: test loss {loss}{accuracy}{best}{energy}\npictures: {}",
        finished.checkpoint.as_deref().unwrap_or("no checkpoint"),
        place.address(),
        outcome.pictures.join(" ")
    );
    session.output.result(&text, &finished);
}

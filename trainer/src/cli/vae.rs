//! `coffer-train vae`.

use anyhow::Context;
use coffer_train::dataset::Split;
use coffer_train::model::vae::VaeConfig;
use coffer_train::store::{Address, Place};
use coffer_train::stream::{Dataset, StreamError};
use coffer_train::train::{EpochRecord, Event, ModelConfig, Outcome, Resume, Run, TrainConfig};
use serde::Serialize;

use super::Session;
use super::args::Vae;
use super::pack::{create, pack_into};

#[derive(Serialize)]
struct Finished<'a> {
    run: &'a str,
    checkpoint: String,
    test_loss: Option<f64>,
    pictures: &'a [String],
}

pub(super) fn run(session: &Session, args: &Vae) -> anyhow::Result<()> {
    let within = |own: &Option<Address>, name: &str| {
        own.clone().or_else(|| Some(args.store.as_ref()?.child(name)))
    };
    let data = within(&args.data, "mnist").context("--data or --store is missing")?;
    let place = within(&args.run, "vae").context("--run or --store is missing")?;
    let dataset = dataset(session, args, &data)?;
    let index = dataset.index();
    if index.source != "mnist" {
        session.output.note(&format!("the dataset is {}, not MNIST", index.source));
    }
    let samples = index.samples(Split::Train);
    let vae = VaeConfig { hidden: args.hidden.get(), latent: args.latent.get() };
    let config = TrainConfig {
        model: ModelConfig::Vae(vae),
        seed: args.seed,
        batch: args.batch,
        learning_rate: args.learning_rate,
        window: args.window,
        dataset: index.version,
    };
    let run = Run {
        runtime: &session.runtime,
        place: create(session, &place)?,
        dataset,
        config,
        epochs: args.epochs,
        prefetch: args.prefetch,
        device: args.device,
        resume: match (args.resume, args.fresh) {
            (true, _) => Resume::Require,
            (_, true) => Resume::Refuse,
            _ => Resume::Auto,
        },
        out: args.out.clone(),
    };
    let outcome = carry_out(session, &run, samples)?;
    finish(session, &run.place, &outcome);
    Ok(())
}

/// Opens the dataset, and packs it first if it isn't there and that is wanted.
fn dataset(session: &Session, args: &Vae, address: &Address) -> anyhow::Result<Dataset> {
    let place = if args.pack {
        create(session, address)?
    } else {
        session.runtime.block_on(session.opener.open(address))?
    };
    let opened = session.runtime.block_on(Dataset::open(&place));
    if args.pack && matches!(opened, Err(StreamError::NoDataset(_))) {
        pack_into(session, &place, &args.source)?;
        return Ok(session.runtime.block_on(Dataset::open(&place))?);
    }
    Ok(opened?)
}

fn carry_out(session: &Session, run: &Run<'_>, samples: usize) -> anyhow::Result<Outcome> {
    let output = &session.output;
    let mut bar = None;
    let outcome = run.carry_out(&mut |event| match event {
        Event::Resumed { from, passed_over } => {
            passed_over.iter().for_each(|problem| output.warn(problem));
            output.note(&format!("going on from {from}"));
        }
        Event::Progress { epoch, samples: done, loss } => {
            let bar =
                bar.get_or_insert_with(|| output.progress(&format!("epoch {epoch}"), samples));
            bar.at(done, format!("loss {loss:.2}"));
        }
        Event::Epoch(record) => {
            bar = None;
            output.result(&line(record), record);
        }
    });
    Ok(outcome?)
}

fn line(record: &EpochRecord) -> String {
    let timing = record.timing;
    format!(
        "epoch {:>3}  train {}  test {}  {:.1} s, {:.0} steps/s, {:.1} % waiting for data",
        record.epoch,
        record.train,
        record.test,
        timing.train_seconds + timing.test_seconds,
        record.steps as f64 / timing.train_seconds.max(f64::MIN_POSITIVE),
        100.0 * timing.wait_seconds / timing.train_seconds.max(f64::MIN_POSITIVE),
    )
}

fn finish(session: &Session, place: &Place, outcome: &Outcome) {
    let test_loss = outcome.history.last().map(|record| record.test.total());
    let finished = Finished {
        run: place.address(),
        checkpoint: outcome.checkpoint.to_string(),
        test_loss,
        pictures: &outcome.pictures,
    };
    let loss = test_loss.map_or("none".to_owned(), |loss| format!("{loss:.2} nats per image"));
    let text = format!(
        "{} at {}: test loss {loss} (one latent draw per image)\npictures: {}",
        outcome.checkpoint,
        place.address(),
        outcome.pictures.join(" ")
    );
    session.output.result(&text, &finished);
}

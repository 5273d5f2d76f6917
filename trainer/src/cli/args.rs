//! What can be said on the command line.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use coffer_client::checkpoint::retention::Every;
use coffer_client::parse_size;
use coffer_client::place::Address;
use coffer_train::checkpoint::CheckpointAddress;
use coffer_train::model::{DeviceChoice, DevicesChoice};
use coffer_train::stream::{OnCorrupt, Workers};

use super::defaults;

const AFTER_HELP: &str = "\
Places are s3://BUCKET/PREFIX in the store, or file:///DIRECTORY on this machine.

Exit codes:
  0  all done
  1  an error that is none of the others
  2  wrong usage or configuration, or a run that is there was configured otherwise
  3  no dataset, run, checkpoint or MNIST file where one is needed
  6  a shard or checkpoint is damaged
  130, 143  stopped by SIGINT or SIGTERM, with a checkpoint unless there were two

The store is found as by `coffer`: --config, --profile, --endpoint, or the COFFER_* variables.";

const SERVE_HELP: &str = "\
GET  /health                  what is served
POST /classify                a 28x28 grey picture, as PNG or as 784 bytes: class probabilities
GET  /digits?count=N&seed=S   N digits that the model makes, as one PNG

There is neither TLS nor access control: listen on this machine only, or behind a proxy that has both.";

/// Trains models on datasets in a Coffer store, and writes checkpoints back.
#[derive(Debug, Parser)]
#[command(name = "coffer-train", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file of the store's client
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Profile in the configuration file
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The gateway, as https://HOST:PORT
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Print one JSON object per line on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pack MNIST into WebDataset shards, with an index, in the store
    Pack(Pack),
    /// Train a variational autoencoder; go on with the run that is there, if there is one
    #[command(after_help = defaults::VAE.help())]
    Vae(Vae),
    /// Train a classifier, and tell how well it does; go on with the run that is there
    #[command(after_help = defaults::CLASSIFIER.help())]
    Classifier(Classifier),
    /// Train a generator of digits against a discriminator; go on with the run that is there
    #[command(after_help = defaults::GAN.help())]
    Gan(Gan),
    /// Fit the label by a weighted sum of the pixels: the smallest example of a model
    #[command(after_help = defaults::LINEAR.help())]
    Linear(Linear),
    /// Draw a grid of digits from a checkpoint of a model that makes them
    Grid(Grid),
    /// Answer by HTTP from a checkpoint: classify pictures, or make digits
    #[command(after_help = SERVE_HELP)]
    Serve(Serve),
}

/// Where samples come from.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Directory with MNIST's four idx files [default: $MNIST_DIR, ../shared/mnist, data/mnist;
    /// drawn digits if none of them has the files]
    #[arg(long, value_name = "DIR")]
    pub(crate) mnist_dir: Option<PathBuf>,
    /// Draw digits instead
    #[arg(long, conflicts_with = "mnist_dir")]
    pub(crate) synthetic: bool,
    /// Download MNIST's files into the directory, data/mnist if none is named, unless they're there;
    /// what was cut off is gone on with, and hashes are checked
    #[arg(long, conflicts_with = "synthetic")]
    pub(crate) download: bool,
    /// Folder to download from, http or https, instead of the known mirrors. May be repeated
    #[arg(long, value_name = "URL", requires = "download")]
    pub(crate) mnist_url: Vec<String>,
    /// Samples per shard
    #[arg(long, value_name = "COUNT", default_value = "4096")]
    pub(crate) shard_samples: NonZeroUsize,
}

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// Place for the dataset
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: Address,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Replace the dataset that is there. It stays whole until the new one is; runs that still read
    /// it end then
    #[arg(long)]
    pub(crate) replace: bool,
}

/// How a run reads the dataset.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Shards that are fetched ahead
    #[arg(long, value_name = "COUNT", default_value = "4")]
    pub(crate) prefetch: NonZeroUsize,
    /// Keep shards in this directory, so that each is fetched but once. They're not encrypted there.
    /// Any number of runs may share it
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Size of the cache; the shards that were not used for longest go first
    #[arg(
        long, value_name = "SIZE", default_value = "10GiB", requires = "cache_dir",
        value_parser = parse_size
    )]
    pub(crate) cache_size: u64,
    /// What to do about damaged and missing shards: refuse, or skip them with a warning
    #[arg(long, value_name = "refuse|skip", default_value = "refuse")]
    pub(crate) on_corrupt: OnCorrupt,
    /// Learn from the share of worker I of N only, I from 0 on: each epoch's shards are dealt over
    /// them
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    pub(crate) worker: Workers,
}

/// What all runs are told. Where a default isn't named, it's the model's own.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Place for dataset and run: they are in `mnist` and the model's name within it
    #[arg(long, value_name = "PLACE", required_unless_present_all = ["data", "run"])]
    pub(crate) store: Option<Address>,
    /// Place of the dataset [default: `mnist` within --store]
    #[arg(long, value_name = "PLACE")]
    pub(crate) data: Option<Address>,
    /// Place for the run: checkpoints and plots [default: the model's name within --store]
    #[arg(long, value_name = "PLACE")]
    pub(crate) run: Option<Address>,
    /// Pack the dataset first if it isn't there
    #[arg(long)]
    pub(crate) pack: bool,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Epochs in all, former attempts included
    #[arg(long, value_name = "COUNT")]
    pub(crate) epochs: Option<u64>,
    /// Samples per step
    #[arg(long, value_name = "COUNT")]
    pub(crate) batch: Option<NonZeroUsize>,
    /// The optimizer's step size in the first epoch
    #[arg(long, value_name = "RATE", value_parser = positive)]
    pub(crate) learning_rate: Option<f64>,
    /// What the step size is multiplied by from each epoch to the next
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    pub(crate) decay: Option<f64>,
    /// Share of the training samples that is held out, to validate by
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub(crate) validation: f64,
    /// End after so many epochs in which the validation loss didn't improve
    #[arg(long, value_name = "EPOCHS", requires = "validation")]
    pub(crate) patience: Option<NonZeroUsize>,
    /// By how much it must fall to count as improved
    #[arg(long, value_name = "LOSS", default_value = "0", requires = "patience")]
    pub(crate) improvement: f64,
    /// Seed of initial weights, order of samples, and noise
    #[arg(long, default_value = "1")]
    pub(crate) seed: u64,
    /// Samples that are shuffled together; they're held in memory
    #[arg(long, value_name = "COUNT", default_value = "16384")]
    pub(crate) window: NonZeroUsize,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    /// Devices that share the samples of each step, with a replica of the model on each: cpu,
    /// cpu:COUNT, cuda, cuda:N,N,... or cuda:all
    #[arg(long, value_name = "DEVICES", alias = "device", default_value = "cpu")]
    pub(crate) devices: DevicesChoice,
    /// Write a checkpoint each time that so many steps were taken, too, not only after each epoch
    #[arg(long, value_name = "STEPS")]
    pub(crate) checkpoint_every: Option<NonZeroU64>,
    /// Keep so many of the newest checkpoints, and delete others after each save. The latest, the
    /// best and pinned ones always stay [default: all]
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_last: Option<NonZeroUsize>,
    /// Keep one for every so many epochs or steps, too: 10epochs, 1000steps
    #[arg(long, value_name = "DISTANCE")]
    pub(crate) keep_every: Option<Every>,
    /// Begin with the weights of a checkpoint: s3://BUCKET/RUN, or s3://BUCKET/RUN@CHECKPOINT with
    /// latest, best, step-N or epoch-N
    #[arg(long, value_name = "PLACE[@CHECKPOINT]")]
    pub(crate) init_from: Option<CheckpointAddress>,
    /// Take those weights that fit, and begin at random with the others
    #[arg(long, requires = "init_from")]
    pub(crate) partial: bool,
    /// Fail unless there is a run to go on with
    #[arg(long, conflicts_with = "fresh")]
    pub(crate) resume: bool,
    /// Fail if there is a run already
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Copy the pictures to this directory, too
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) watching: WatchArgs,
}

/// How a run is watched.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Show the run on the whole terminal: loss curve, speed, checkpoints, energy; q ends the run
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) live: bool,
    /// Answer at /metrics while training, for Prometheus; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Vae {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Width of the hidden layers
    #[arg(long, value_name = "COUNT", default_value = "400")]
    pub(crate) hidden: NonZeroUsize,
    /// Dimensions of the latent space
    #[arg(long, value_name = "COUNT", default_value = "20")]
    pub(crate) latent: NonZeroUsize,
}

#[derive(Debug, Args)]
pub(crate) struct Classifier {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Channels of the first convolution; the second has twice as many
    #[arg(long, value_name = "COUNT", default_value = "16")]
    pub(crate) channels: NonZeroUsize,
    /// Width of the dense layer
    #[arg(long, value_name = "COUNT", default_value = "128")]
    pub(crate) hidden: NonZeroUsize,
}

#[derive(Debug, Args)]
pub(crate) struct Gan {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Channels of pictures of half their side; at a quarter there are twice as many
    #[arg(long, value_name = "COUNT", default_value = "16")]
    pub(crate) channels: NonZeroUsize,
    /// Dimensions of the noise that digits are made from
    #[arg(long, value_name = "COUNT", default_value = "64")]
    pub(crate) latent: NonZeroUsize,
}

#[derive(Debug, Args)]
pub(crate) struct Linear {
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// A checkpoint to use.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// Place of the run, and which of its checkpoints: latest (unless another is named), best,
    /// step-N or epoch-N
    #[arg(long, value_name = "PLACE[@CHECKPOINT]")]
    pub(crate) run: CheckpointAddress,
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceChoice,
}

#[derive(Debug, Args)]
pub(crate) struct Grid {
    #[command(flatten)]
    pub(crate) checkpoint: CheckpointArgs,
    /// Seed of the latent points; 0 gives those that the run's own grids show
    #[arg(long, default_value = "0")]
    pub(crate) seed: u64,
    /// File for the picture
    #[arg(long, value_name = "FILE", default_value = "grid.png")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) checkpoint: CheckpointArgs,
    /// Address to listen on; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8350")]
    pub(crate) listen: SocketAddr,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|error| error.to_string())?;
    if number.is_finite() && number > 0.0 {
        Ok(number)
    } else {
        Err("wanted a number above zero".to_owned())
    }
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..=0.5).contains(&number) {
        Ok(number)
    } else {
        Err("wanted a share from 0 to 0.5".to_owned())
    }
}

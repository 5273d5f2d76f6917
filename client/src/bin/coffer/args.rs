//! What can be said on the command line.

mod admin;
mod checkpoint;
mod dataset;

pub(crate) use admin::{Admin, Gateway, NewNodeArgs, Node, Seconds};
pub(crate) use checkpoint::{Checkpoint, Prune, Restore};
pub(crate) use dataset::{Dataset, LsDataset, Pack, SplitSource, Verify};

use clap::{Args, Parser, Subcommand};
use coffer_client::transfer::ByteRange;
use coffer_client::{S3Url, Verb, parse_size};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const AFTER_HELP: &str = "\
Exit codes:
  0    all done
  1    some objects failed, or another error; checkpoint diff: they differ
  2    wrong usage or configuration
  3    not found
  4    access denied
  5    the gateway can't be reached or can't serve now
  6    admin fsck: objects lack shards, all can be read; checkpoint, dataset: something is damaged
  7    admin fsck: objects can't be read
  8    admin health: the cluster needs an operator
  130  interrupted (143 when terminated)

Configuration: $COFFER_CONFIG or ~/.config/coffer/config.toml, for example
  [profile.default]
  endpoint = \"https://store.example:9000\"
  access_key = \"...\"
  secret_key = \"...\"
  ca_file = \"ca.pem\"
Where there are several gateways: endpoints = [\"https://...\", \"https://...\"]

Environment: COFFER_PROFILE, COFFER_ENDPOINT, COFFER_TOKEN, COFFER_TOKEN_FILE, COFFER_CA_FILE,
COFFER_REGION, COFFER_HTTP3 (auto, always, never), COFFER_LOG, and the AWS_* variables of the same
meaning where neither --profile nor --config is given.";

const CP_EXAMPLES: &str = "\
Examples:
  coffer cp model.safetensors s3://ckpt/run-7/
  coffer cp -r mnist s3://datasets/mnist --include '*.tar'
  coffer cp -r s3://datasets/mnist ./mnist
  tar c folder | coffer cp - s3://backup/folder.tar";

/// Command line of the Coffer object store.
#[derive(Debug, Parser)]
#[command(name = "coffer", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Profile in the configuration file
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The gateway, as https://HOST:PORT; of several, with commas between, the first that answers
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Print one JSON object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Show no progress bar
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Tell what goes on
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a bucket
    Mb {
        /// s3://BUCKET
        bucket: BucketUrl,
    },
    /// Remove a bucket
    Rb {
        /// s3://BUCKET
        bucket: BucketUrl,
        /// Delete its objects first
        #[arg(long)]
        force: bool,
    },
    /// List buckets, or the objects that start with a prefix
    Ls(Ls),
    /// Copy files and objects: to, from and within the store
    #[command(after_help = CP_EXAMPLES)]
    Cp(Cp),
    /// Delete objects
    Rm(Rm),
    /// Print objects
    Cat {
        /// s3://BUCKET/KEY
        #[arg(required = true)]
        objects: Vec<ObjectUrl>,
        /// Only these bytes: FIRST-LAST, FIRST- or -COUNT
        #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
        range: Option<ByteRange>,
    },
    /// Show an object's or bucket's properties
    Stat {
        /// s3://BUCKET/KEY or s3://BUCKET
        #[arg(required = true)]
        addresses: Vec<S3Url>,
    },
    /// Access tokens
    #[command(subcommand)]
    Token(Token),
    /// What a bucket may hold, and what it holds
    #[command(subcommand)]
    Quota(Quota),
    /// Checkpoints of training runs: list, compare, restore, prune, verify
    #[command(subcommand, after_help = checkpoint::HELP)]
    Checkpoint(Checkpoint),
    /// Datasets: pack files into shards, verify and list them
    #[command(subcommand, after_help = dataset::HELP)]
    Dataset(Dataset),
    /// Operate the cluster; needs an administrator's key
    #[command(subcommand)]
    Admin(Admin),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// s3://BUCKET or s3://BUCKET/PREFIX; all buckets if absent
    pub(crate) prefix: Option<S3Url>,
    /// List all keys, not only up to the next /
    #[arg(long, short)]
    pub(crate) recursive: bool,
    /// Sizes as 1.50 MiB
    #[arg(long)]
    pub(crate) human_readable: bool,
    /// Add the number of objects and their size
    #[arg(long)]
    pub(crate) summarize: bool,
}

/// Which objects of many.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Only keys (relative to the source) that match; * also matches /. May be repeated
    #[arg(long, value_name = "GLOB", requires = "recursive")]
    pub(crate) include: Vec<String>,
    /// No keys (relative to the source) that match; wins over --include. May be repeated
    #[arg(long, value_name = "GLOB", requires = "recursive")]
    pub(crate) exclude: Vec<String>,
    /// Say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// File, folder, s3://BUCKET/KEY, or - for standard input
    pub(crate) source: Place,
    /// File, folder, s3://BUCKET/KEY, or - for standard output
    pub(crate) target: Place,
    /// Copy all of a folder or prefix
    #[arg(long, short)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// How many objects to copy at a time
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = at_least_one)]
    pub(crate) parallel: usize,
    /// Size of the parts that large objects are moved in
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = parse_size)]
    pub(crate) part_size: u64,
    /// Memory for parts under way
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    pub(crate) memory: u64,
    /// Media type of uploads instead of a guess by name
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// s3://BUCKET/KEY, or with --recursive a prefix, taken as a folder
    pub(crate) address: S3Url,
    /// Delete all objects below the address
    #[arg(long, short)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token; it alone is printed on standard output
    Create(CreateToken),
}

#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// Whom or what it is for
    #[arg(long, default_value = "cli")]
    pub(crate) name: String,
    /// The only bucket it opens
    #[arg(long)]
    pub(crate) bucket: Option<String>,
    /// The only keys it opens
    #[arg(long, requires = "bucket")]
    pub(crate) prefix: Option<String>,
    /// What it allows: read, write, delete, list, admin
    #[arg(long, value_delimiter = ',', default_value = "read,write,delete,list")]
    pub(crate) verbs: Vec<Verb>,
    /// Short for --verbs read,list
    #[arg(long, conflicts_with = "verbs")]
    pub(crate) ro: bool,
    /// How long it lasts, as 30m, 12h or 7d
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Quota {
    /// Limit what a bucket may hold
    Set {
        /// s3://BUCKET
        bucket: BucketUrl,
        /// Such as 512MiB, 10GiB or 2TiB
        #[arg(value_parser = parse_size)]
        size: u64,
    },
    /// Show a bucket's limit and what it holds
    Show {
        /// s3://BUCKET
        bucket: BucketUrl,
    },
    /// Lift a bucket's limit
    Clear {
        /// s3://BUCKET
        bucket: BucketUrl,
    },
}

/// A place to copy from or to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Store(S3Url),
    Local(PathBuf),
    Standard,
}

impl FromStr for Place {
    type Err = coffer_client::S3UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "-" => Self::Standard,
            text if text.starts_with("s3:") => Self::Store(text.parse()?),
            text => Self::Local(PathBuf::from(text)),
        })
    }
}

/// An address that names a bucket and no key.
#[derive(Debug, Clone)]
pub(crate) struct BucketUrl(pub(crate) S3Url);

impl FromStr for BucketUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: S3Url = text.parse().map_err(|e: coffer_client::S3UrlError| e.to_string())?;
        if address.key().is_empty() {
            Ok(Self(address))
        } else {
            Err(format!("name a bucket alone: s3://{}", address.bucket()))
        }
    }
}

/// An address that names an object.
#[derive(Debug, Clone)]
pub(crate) struct ObjectUrl(pub(crate) S3Url);

impl FromStr for ObjectUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: S3Url = text.parse().map_err(|e: coffer_client::S3UrlError| e.to_string())?;
        if address.key().is_empty() {
            Err(format!("name an object: s3://{}/KEY", address.bucket()))
        } else {
            Ok(Self(address))
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "write a number from 1 on".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn places() {
        assert_eq!("-".parse::<Place>().unwrap(), Place::Standard);
        assert_eq!("./a".parse::<Place>().unwrap(), Place::Local("./a".into()));
        assert!(matches!("s3://data/a".parse::<Place>().unwrap(), Place::Store(_)));
        assert!("s3:/data/a".parse::<Place>().is_err(), "a slip, and no file name");
    }

    #[test]
    fn a_suffix_range_is_no_option() {
        let cli = Cli::try_parse_from(["coffer", "cat", "s3://data/a", "--range", "-5"]).unwrap();
        assert!(matches!(cli.command, Command::Cat { range: Some(ByteRange::Last(5)), .. }));
    }

    #[test]
    fn read_only_is_a_choice_of_verbs() {
        let create = ["coffer", "token", "create", "--ro"];
        assert!(Cli::try_parse_from(create).is_ok());
        let both = ["coffer", "token", "create", "--ro", "--verbs", "write"];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn filters_need_recursion() {
        assert!(Cli::try_parse_from(["coffer", "cp", "a", "s3://data", "--include", "*"]).is_err());
    }
}

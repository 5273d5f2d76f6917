//! From the command line to what is to be run.

use crate::args::{Command, Common, Read, ServerArgs, SpacingArg, TargetArgs};
use anyhow::{Context, bail, ensure};
use coffer_bench::data::Sizes;
use coffer_bench::load::{End, Pace, Spacing, Workload};
use coffer_bench::measure::Sources;
use coffer_bench::report::Config;
use coffer_bench::s3::{Http, Target, TargetOptions};
use coffer_bench::session::{Session, Side};
use coffer_client::{ProfileOptions, Secret};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The first target.
pub(crate) fn target(args: &TargetArgs) -> anyhow::Result<TargetOptions> {
    let keys = args.access_key.clone().zip(args.secret_key.clone().map(Secret::new));
    Ok(TargetOptions {
        label: args.name.clone(),
        profile: ProfileOptions {
            config: args.config.clone(),
            profile: args.profile.clone(),
            endpoint: args.endpoint.clone(),
        },
        keys,
        token: args.token_file.as_deref().map(token).transpose()?,
        ca_file: args.ca.clone(),
        insecure: args.insecure,
        http: args.http,
        connections: args.connections,
        region: args.region.clone(),
        hash_bodies: args.hash_bodies,
        customer_key: args.sse_customer_key.clone(),
        bucket: args.bucket.clone(),
    })
}

fn token(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("can't read the token file {}", path.display()))?;
    let token = text.trim();
    let printable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(printable, "{} holds no token: printable ASCII without spaces", path.display());
    Ok(Secret::new(token))
}

/// All targets with their sources of costs.
pub(crate) fn sides(common: &Common) -> anyhow::Result<Vec<Side>> {
    let first = target(&common.target)?;
    let mut sides = vec![(first.clone(), sources(&common.server)?)];
    let args = &common.against;
    if args.against.is_some() || args.against_config.is_some() {
        ensure!(args.against_name != first.label, "the targets need different names: --name");
        let keys = args.against_access_key.clone();
        let keys = keys.zip(args.against_secret_key.clone().map(Secret::new));
        let second = TargetOptions {
            label: args.against_name.clone(),
            profile: ProfileOptions {
                config: args.against_config.clone(),
                profile: None,
                endpoint: args.against.clone(),
            },
            keys,
            token: args.against_token_file.as_deref().map(token).transpose()?,
            ca_file: args.against_ca.clone(),
            insecure: args.against_insecure,
            http: args.against_http.unwrap_or(Http::One),
            ..first
        };
        let server = ServerArgs {
            server_pid: args.against_server_pid.clone(),
            server_unit: args.against_server_unit.clone(),
            server_cgroup: args.against_server_cgroup.clone(),
            server_dir: args.against_server_dir.clone(),
        };
        sides.push((second, sources(&server)?));
    }
    sides
        .into_iter()
        .map(|(options, sources)| {
            let target =
                Target::new(&options).with_context(|| format!("target {}", options.label))?;
            Ok(Side { target: Arc::new(target), sources })
        })
        .collect()
}

fn sources(args: &ServerArgs) -> anyhow::Result<Sources> {
    let mut cgroups = args.server_cgroup.clone();
    for unit in &args.server_unit {
        cgroups.push(unit_cgroup(unit)?);
    }
    Ok(Sources { pids: args.server_pid.clone(), cgroups, dirs: args.server_dir.clone() })
}

/// The control group that systemd has made for a unit.
fn unit_cgroup(unit: &str) -> anyhow::Result<PathBuf> {
    let asked = std::process::Command::new("systemctl")
        .args(["show", "--property=ControlGroup", "--value", "--", unit])
        .output()
        .context("systemctl can't be run: name the server with --server-pid instead")?;
    let path = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    ensure!(path.starts_with('/'), "the unit {unit} is not running");
    Ok(Path::new("/sys/fs/cgroup").join(&path[1..]))
}

fn sizes(text: &str) -> anyhow::Result<Sizes> {
    match text.strip_prefix('@') {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("can't read the sizes in {path}"))?;
            Sizes::mixture(&text).with_context(|| path.to_owned())
        }
        None => Ok(text.parse()?),
    }
}

/// The workload of a subcommand, with its defaults.
struct Shape<'a> {
    common: &'a Common,
    name: &'static str,
    workload: Workload,
    size: &'static str,
    /// Objects that must be there before, unless it is said otherwise.
    objects: u64,
    shard: u64,
    settings: Vec<(&'static str, String)>,
}

fn shape(command: &Command) -> anyhow::Result<Option<Shape<'_>>> {
    let shape = |common, name, workload, objects| Shape {
        common,
        name,
        workload,
        size: "1MiB",
        objects,
        shard: 0,
        settings: vec![],
    };
    Ok(Some(match command {
        Command::Put(common) => shape(common, "put", Workload::Put, 0),
        Command::Get(common) => shape(common, "get", Workload::Get, 256),
        Command::Stat(common) => shape(common, "stat", Workload::Stat, 256),
        Command::Delete(common) => shape(common, "delete", Workload::Delete, 5_000),
        Command::Range { piece, common } => Shape {
            settings: vec![("piece", piece.clone())],
            ..shape(common, "range", Workload::Range(sizes(piece)?), 256)
        },
        Command::List { page, common } => Shape {
            size: "1KiB",
            settings: vec![("page", page.to_string())],
            ..shape(common, "list", Workload::List(*page), 5_000)
        },
        Command::Mixed { mix, piece, page, common } => {
            let workload = Workload::Mixed(mix.clone(), sizes(piece)?, *page);
            let settings = [("mix", mix.to_string()), ("piece", piece.clone())];
            Shape {
                settings: settings.into_iter().chain([("page", page.to_string())]).collect(),
                ..shape(common, "mixed", workload, 256)
            }
        }
        Command::Multipart { part, parts_at_once, common } => Shape {
            size: "64MiB",
            settings: vec![
                ("part", part.to_string()),
                ("parts at once", parts_at_once.to_string()),
            ],
            ..shape(common, "multipart", Workload::Multipart(part.0, *parts_at_once), 0)
        },
        Command::Checkpoint { burst, every, common } => {
            let size = common.load.size.as_deref().unwrap_or("64MiB");
            let Sizes::Fixed(size @ 1..) = sizes(size)? else {
                bail!("a burst consists of objects of one --size");
            };
            let parallel = common.load.concurrency.unwrap_or(16);
            let objects = burst.0.div_ceil(size).max(1);
            let every = humantime::format_duration(*every).to_string();
            Shape {
                size: "64MiB",
                settings: vec![("burst", burst.to_string()), ("every", every)],
                ..shape(common, "checkpoint", Workload::Burst(objects, parallel), 0)
            }
        }
        Command::Dataset { shard, read, common } => {
            let workload = match read {
                Read::Shards => Workload::Shards,
                Read::Samples => Workload::Samples,
            };
            Shape {
                size: "16KiB..256KiB",
                shard: shard.0,
                settings: vec![("shard", shard.to_string())],
                ..shape(common, "dataset", workload, 16)
            }
        }
        Command::Compare { .. }
        | Command::Clean { .. }
        | Command::Parts { .. }
        | Command::Completions { .. } => return Ok(None),
    }))
}

/// What a subcommand is to run, if it is one that runs a load.
pub(crate) fn session(command: &Command) -> anyhow::Result<Option<(Session, &Common)>> {
    let Some(shape) = shape(command)? else { return Ok(None) };
    let load = &shape.common.load;
    let sizes = sizes(load.size.as_deref().unwrap_or(shape.size))?;
    // What stores new objects reads none, whatever is asked for.
    let objects = if shape.objects == 0 { 0 } else { load.objects.unwrap_or(shape.objects) };
    ensure!(shape.objects == 0 || objects > 0, "--objects must be at least 1");
    let named =
        |prefix: &str| prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    ensure!(
        !load.prefix.is_empty() && named(&load.prefix),
        "--prefix takes letters, digits, and -_./"
    );
    let rate = match command {
        Command::Checkpoint { every, .. } => {
            ensure!(!every.is_zero(), "--every must be longer than nothing");
            Some(1.0 / every.as_secs_f64())
        }
        _ => load.rate,
    };
    let burst = matches!(shape.workload, Workload::Burst(..));
    let pace = match rate {
        None => Pace::Closed,
        Some(rate) if rate.is_finite() && rate > 0.0 => {
            let even = burst || load.spacing == SpacingArg::Even;
            Pace::Open { rate, spacing: if even { Spacing::Even } else { Spacing::Poisson } }
        }
        Some(rate) => bail!("--rate {rate} is no number of operations per second"),
    };
    let asked = load.concurrency.unwrap_or(if load.rate.is_some() { 256 } else { 16 });
    // Bursts come one after the other; within one, objects go side by side.
    let concurrency = if burst { 1 } else { asked.max(1) };
    let warm_up = if burst { std::time::Duration::ZERO } else { load.warm_up };
    let mut settings: BTreeMap<String, String> =
        shape.settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    settings.insert("size".to_owned(), sizes.to_string());
    settings.insert("objects".to_owned(), objects.to_string());
    settings.insert("spread".to_owned(), load.spread.to_string());
    if pace != Pace::Closed && !burst {
        settings.insert("spacing".to_owned(), format!("{:?}", load.spacing).to_lowercase());
    }
    let config = Config {
        workload: shape.name.to_owned(),
        settings,
        concurrency: asked.max(1),
        rate,
        warm_up_s: warm_up.as_secs_f64(),
        seed: load.seed,
        check: load.check,
        retries: load.retries,
    };
    let session = Session {
        workload: shape.workload,
        config,
        sizes,
        objects,
        shard: shape.shard,
        spread: load.spread,
        prefix: load.prefix.clone(),
        pace,
        concurrency,
        warm_up,
        end: load.ops.map_or(End::After(load.duration), End::Operations),
        seed: load.seed,
        check: load.check,
        retries: load.retries,
        rounds: load.repeat.max(1),
        keep: load.keep,
    };
    Ok(Some((session, shape.common)))
}

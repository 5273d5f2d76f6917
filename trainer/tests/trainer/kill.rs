//! `coffer-train` as a process: killed at random moments, asked to end, raced.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use coffer_client::place::{Address, Opener, Place};
use coffer_client::{Digest, ProfileOptions};
use coffer_gateway::run::Embedded;
use coffer_train::checkpoint::{Checkpoints, STATE, Selector, State};
use coffer_train::train::{EpochRecord, Timing};
use tokio::runtime::Runtime;

use crate::support::{dataset, load, runtime, steps};

/// A command that trains a small model on the small dataset.
fn command(data: &str, run: &str, epochs: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coffer-train"));
    command.args(["vae", "--hidden", "16", "--latent", "3", "--batch", "16", "--window", "70"]);
    command.args(["--seed", "5", "--validation", "0.1", "--checkpoint-every", "2"]);
    command.args(["--keep-last", "3"]);
    command.args(["--data", data, "--run", run, "--epochs", &epochs.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    output
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(id, signal).unwrap();
}

/// Waits until the run has a checkpoint after more than `step` steps.
fn wait_beyond(runtime: &Runtime, place: &Place, step: u64) {
    let checkpoints = Checkpoints::open(place);
    runtime.block_on(async {
        while checkpoints.root().await.unwrap().is_none_or(|root| root.latest().id.0 <= step) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// What a finished run came to: hashes of its parts, and its history but for how long it took.
fn result(runtime: &Runtime, place: &Place) -> (BTreeMap<String, Digest>, Vec<EpochRecord>) {
    let loaded = load(runtime, place, Selector::Latest);
    let mut history = State::of(&loaded).unwrap().history;
    history.iter_mut().for_each(|record| record.timing = Timing::default());
    let parts = loaded.parts.iter().filter(|(name, _)| *name != STATE);
    (parts.map(|(name, content)| (name.clone(), Digest::of(content))).collect(), history)
}

struct Directory {
    runtime: Runtime,
    dir: tempfile::TempDir,
}

impl Directory {
    fn new() -> Self {
        let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        dataset(&runtime, &Place::directory(&data).unwrap());
        Self { runtime, dir }
    }

    fn address(&self, name: &str) -> String {
        format!("file://{}", self.dir.path().join(name).display())
    }

    fn command(&self, run: &str, epochs: u64) -> Command {
        command(&self.address("data"), &self.address(run), epochs)
    }

    fn place(&self, run: &str) -> Place {
        let path = self.dir.path().join(run);
        std::fs::create_dir_all(&path).unwrap();
        Place::directory(&path).unwrap()
    }
}

/// A moment within about what a start and two dozen steps take.
fn moment() -> Duration {
    Duration::from_micros(getrandom::u64().unwrap() % 700_000)
}

#[test]
fn killed_twenty_times_a_run_ends_with_the_same_bits() {
    const EPOCHS: u64 = 60;
    let test = Directory::new();
    succeed(&mut test.command("whole", EPOCHS));
    let place = test.place("cut");
    let (mut kills, mut mid_epoch) = (0, 0);
    while kills < 20 {
        let mut child = test.command("cut", EPOCHS).spawn().unwrap();
        std::thread::sleep(moment());
        // None is to be the one that ends the run.
        if test.runtime.block_on(Checkpoints::open(&place).root()).unwrap().is_some_and(|root| {
            mid_epoch += u32::from(root.latest().position.ended_epoch().is_none());
            root.latest().position.epoch + 5 > EPOCHS
        }) {
            signal(&child, rustix::process::Signal::KILL);
            child.wait().unwrap();
            break;
        }
        signal(&child, rustix::process::Signal::KILL);
        assert!(!child.wait().unwrap().success());
        kills += 1;
    }
    let output = succeed(&mut test.command("cut", EPOCHS));
    assert!(!errors(&output).contains("warning"), "{}", errors(&output));
    println!("{kills} kills, {mid_epoch} in the middle of an epoch");
    assert!(kills >= 5 && mid_epoch > 0, "{kills} kills, {mid_epoch} in the middle of an epoch");
    assert_eq!(result(&test.runtime, &place), result(&test.runtime, &test.place("whole")));
}

#[test]
fn a_signal_ends_a_run_with_a_checkpoint_and_says_so() {
    let test = Directory::new();
    let mut step = 0;
    for (asked, code) in [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143)]
    {
        let child = test.command("run", 100_000).spawn().unwrap();
        wait_beyond(&test.runtime, &test.place("run"), step);
        signal(&child, asked);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", errors(&output));
        let listed = steps(&test.runtime, &test.place("run"));
        step = *listed.last().unwrap();
        let text = errors(&output);
        assert!(text.contains(&format!("step-{step:08} is safe: the same command")), "{text}");
    }
}

/// A gateway, and the trainer's way to it.
struct Cluster {
    runtime: Runtime,
    gateway: Embedded,
    _dir: tempfile::TempDir,
    config: std::path::PathBuf,
}

impl Cluster {
    fn start() -> Self {
        let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
        let store = dir.path().join("store");
        std::fs::create_dir(&store).unwrap();
        let gateway = runtime.block_on(Embedded::start(&store, Default::default())).unwrap();
        let key = gateway.root_key();
        let config = dir.path().join("config.toml");
        let text = format!(
            "[profile.default]\nendpoint = {:?}\nca_file = {:?}\naccess_key = {:?}\n\
             secret_key = {:?}\n",
            gateway.endpoint().to_string(),
            gateway.ca_file().display().to_string(),
            key.access_key,
            key.secret_key.as_str(),
        );
        std::fs::write(&config, text).unwrap();
        Self { runtime, gateway, _dir: dir, config }
    }

    fn place(&self, opener: &Opener, address: &str) -> Place {
        let address: Address = address.parse().unwrap();
        self.runtime.block_on(opener.create(&address)).unwrap()
    }

    fn command(&self, run: &str, epochs: u64) -> Command {
        let mut command = command("s3://bucket/data", &format!("s3://bucket/{run}"), epochs);
        command.arg("--config").arg(&self.config);
        command
    }
}

#[test]
fn trainers_race_through_a_gateway_and_are_killed_there() {
    let cluster = Cluster::start();
    let opener = Opener::new(ProfileOptions {
        config: Some(cluster.config.clone()),
        ..ProfileOptions::default()
    });
    dataset(&cluster.runtime, &cluster.place(&opener, "s3://bucket/data"));
    let [raced, cut, whole] =
        ["raced", "cut", "whole"].map(|run| cluster.place(&opener, &format!("s3://bucket/{run}")));

    // Two on one run: the one that saves first goes on, and the other is told.
    let mut both = [cluster.command("raced", 6), cluster.command("raced", 6)]
        .map(|mut command| command.spawn().unwrap());
    let mut told = both.each_mut().map(|child| child.wait().unwrap().code());
    told.sort_unstable();
    let outputs = both.map(|child| child.wait_with_output().unwrap());
    let texts = outputs.each_ref().map(errors);
    // One may have been so late that it found the run done, and had nothing to do.
    assert!(told == [Some(0), Some(1)] || told == [Some(0), Some(0)], "{texts:?}");
    if told == [Some(0), Some(1)] {
        let only = "only one may write to a run at a time";
        assert_eq!(texts.iter().filter(|text| text.contains(only)).count(), 1, "{texts:?}");
    }
    let root = cluster.runtime.block_on(Checkpoints::open(&raced).root()).unwrap().unwrap();
    for entry in root.checkpoints() {
        let problems =
            cluster.runtime.block_on(Checkpoints::open(&raced).verify(entry, &mut |_| ()));
        assert!(problems.unwrap().is_empty(), "{} isn't whole", entry.id);
    }
    succeed(&mut cluster.command("whole", 6));
    assert_eq!(result(&cluster.runtime, &raced), result(&cluster.runtime, &whole));

    let mut child = cluster.command("cut", 6).spawn().unwrap();
    wait_beyond(&cluster.runtime, &cut, 3);
    signal(&child, rustix::process::Signal::KILL);
    child.wait().unwrap();
    let output = succeed(&mut cluster.command("cut", 6));
    assert!(errors(&output).contains("going on from step-"), "{}", errors(&output));
    assert_eq!(result(&cluster.runtime, &cut), result(&cluster.runtime, &whole));
    cluster.runtime.block_on(async {
        opener.close().await;
        cluster.gateway.stop().await;
    });
}

/// Outside of git there is no revision; within, it's told.
#[test]
fn the_revision_of_the_working_directory_is_part_of_the_lineage() {
    let test = Directory::new();
    let revision = |run: &str, within: &Path| {
        succeed(test.command(run, 1).current_dir(within));
        load(&test.runtime, &test.place(run), Selector::Latest).manifest.lineage.revision
    };
    assert_eq!(revision("outside", test.dir.path()), None);
    let source = test.dir.path().join("source");
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(&source).args(["-c", "user.name=t", "-c", "user.email=t@t"]);
        command.args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").output()
    };
    std::fs::create_dir(&source).unwrap();
    if git(&["init", "-q"]).is_err() {
        println!("SKIPPED: git is not installed");
        return;
    }
    std::fs::write(source.join("file"), "one").unwrap();
    for args in [&["add", "file"][..], &["commit", "-q", "-m", "one"]] {
        assert!(git(args).unwrap().status.success());
    }
    let clean = revision("clean", &source).unwrap();
    assert_eq!((clean.commit.len(), clean.dirty), (40, false));
    std::fs::write(source.join("file"), "two").unwrap();
    assert!(revision("dirty", &source).unwrap().dirty);
}

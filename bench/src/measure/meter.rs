//! What a run costs the server and us: readings before and after, and their differences.

use super::process::{Stat, peak_memory, tree, written};
use super::{disk, process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// Where the server's costs can be read.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Its processes; their children count as well.
    pub pids: Vec<u32>,
    /// Directories of control groups (version 2), in place of processes.
    pub cgroups: Vec<PathBuf>,
    /// Where it keeps its data.
    pub dirs: Vec<PathBuf>,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum MeterError {
    /// There is no such process.
    #[error("there is no process {0} on this machine: name the server's with --server-pid")]
    NoProcess(u32),
    /// The control group has no figures.
    #[error("no processor time in {path}: name a control group (version 2) that exists")]
    NoCgroup {
        /// The file.
        path: PathBuf,
    },
    /// The directory can't be read.
    #[error("the server's directory can't be read: {0}")]
    Disk(#[from] io::Error),
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// Processor time of the server, in seconds.
    pub server_cpu_s: Option<f64>,
    /// Bytes that its processes had written to disks.
    pub server_written_bytes: Option<u64>,
    /// The most memory that one of its processes has held, since its own start.
    pub server_peak_memory_bytes: Option<u64>,
    /// Processor time of this program, in seconds.
    pub client_cpu_s: f64,
    /// By how much the space grew that its files take.
    pub disk_growth_bytes: Option<i64>,
}

/// A reading that was begun.
#[derive(Debug)]
pub struct Meter {
    sources: Sources,
    /// Seconds by process; the children that had ended count with it.
    processes: BTreeMap<u32, f64>,
    cgroups: f64,
    written: BTreeMap<u32, u64>,
    client: f64,
    disk: Option<u64>,
}

impl Meter {
    /// Begins.
    ///
    /// # Errors
    /// If a process, a control group or a directory is not there.
    pub fn start(sources: &Sources) -> Result<Self, MeterError> {
        let stats = tree(&sources.pids);
        if let Some(missing) =
            sources.pids.iter().find(|pid| !stats.iter().any(|stat| stat.pid == **pid))
        {
            return Err(MeterError::NoProcess(*missing));
        }
        Ok(Self {
            processes: stats.iter().map(|stat| (stat.pid, stat.seconds())).collect(),
            cgroups: cgroup_seconds(&sources.cgroups)?,
            written: stats.iter().filter_map(|s| Some((s.pid, written(s.pid)?))).collect(),
            client: own_seconds(),
            disk: disk_of(sources)?,
            sources: sources.clone(),
        })
    }

    /// What was used since then.
    ///
    /// # Errors
    /// As [`Meter::start`].
    pub fn read(&self) -> Result<Reading, MeterError> {
        let client_cpu_s = own_seconds() - self.client;
        let stats = tree(&self.sources.pids);
        let cgroups = cgroup_seconds(&self.sources.cgroups)? - self.cgroups;
        let used = |stat: &Stat| {
            let before = self.processes.get(&stat.pid);
            // What ran before and ended meanwhile is in its parent's time as a whole.
            stat.seconds() - before.copied().unwrap_or(0.0)
        };
        let ended = self.processes.iter().filter(|(pid, _)| !stats.iter().any(|s| s.pid == **pid));
        let counted_before: f64 = ended.map(|(_, seconds)| seconds).sum();
        let processes = stats.iter().map(used).sum::<f64>() - counted_before;
        let known = !self.sources.pids.is_empty() || !self.sources.cgroups.is_empty();
        let wrote = |stat: &Stat| {
            Some(written(stat.pid)?.saturating_sub(*self.written.get(&stat.pid).unwrap_or(&0)))
        };
        let growth = match (self.disk, disk_of(&self.sources)?) {
            (Some(before), Some(after)) => {
                Some(i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(0))
            }
            _ => None,
        };
        Ok(Reading {
            server_cpu_s: known.then_some((processes + cgroups).max(0.0)),
            server_written_bytes: (!self.written.is_empty())
                .then(|| stats.iter().filter_map(wrote).sum()),
            server_peak_memory_bytes: stats.iter().filter_map(|s| peak_memory(s.pid)).max(),
            client_cpu_s,
            disk_growth_bytes: growth,
        })
    }
}

fn own_seconds() -> f64 {
    Stat::of(std::process::id()).map_or(0.0, |stat| stat.seconds())
}

fn disk_of(sources: &Sources) -> Result<Option<u64>, MeterError> {
    let any = !sources.dirs.is_empty();
    Ok(any.then(|| disk::allocated(&sources.dirs)).transpose()?)
}

fn cgroup_seconds(cgroups: &[PathBuf]) -> Result<f64, MeterError> {
    let mut sum = 0.0;
    for dir in cgroups {
        let path = dir.join("cpu.stat");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let micros = process::field(&text, "usage_usec").ok_or(MeterError::NoCgroup { path })?;
        #[expect(clippy::cast_precision_loss, reason = "microseconds of years")]
        let seconds = micros as f64 / 1e6;
        sum += seconds;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn reads_control_groups_and_names_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let stat = dir.path().join("cpu.stat");
        std::fs::write(&stat, "usage_usec 2000000\nuser_usec 1\n").unwrap();
        let sources = Sources { cgroups: vec![dir.path().to_owned()], ..Sources::default() };
        let meter = Meter::start(&sources).unwrap();
        std::fs::write(&stat, "usage_usec 3500000\nuser_usec 1\n").unwrap();
        let reading = meter.read().unwrap();
        assert!((reading.server_cpu_s.unwrap() - 1.5).abs() < 1e-9);
        std::fs::remove_file(&stat).unwrap();
        assert!(meter.read().unwrap_err().to_string().contains("cpu.stat"));
        let nobody = Sources { pids: vec![0x3fff_ffff], ..Sources::default() };
        assert!(matches!(Meter::start(&nobody), Err(MeterError::NoProcess(0x3fff_ffff))));
        assert_eq!(Meter::start(&Sources::default()).unwrap().read().unwrap().server_cpu_s, None);
    }

    #[test]
    fn a_childs_time_counts_while_it_runs() {
        // A shell that computes until its input ends, in a child of its own.
        let script = "(while :; do :; done) & trap 'kill $!' EXIT; read line";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let sources = Sources { pids: vec![shell.id()], ..Sources::default() };
        let meter = Meter::start(&sources).unwrap();
        let begun = std::time::Instant::now();
        let used = || meter.read().unwrap().server_cpu_s.unwrap();
        while used() < 0.05 && begun.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(used() >= 0.05);
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}

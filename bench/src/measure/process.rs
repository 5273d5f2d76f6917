//! Processor time and traffic of processes, from Linux' /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;

/// What /proc/PID/stat tells of a process. Times are in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub pid: u32,
    /// Who started it.
    pub parent: u32,
    /// In user and kernel mode, of all its threads.
    pub own: u64,
    /// The same of its children that have ended and were waited for.
    pub ended_children: u64,
}

impl Stat {
    /// Reads a line of /proc/PID/stat. The program's name in it may hold anything, brackets too.
    pub fn parse(line: &str) -> Option<Self> {
        let (before, rest) = line.rsplit_once(')')?;
        let pid = before.split_once('(')?.0.trim().parse().ok()?;
        // The first field here is the third of the line, the process' state.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let parent = u32::try_from(number(1)?).ok()?;
        let sum = |a: usize, b: usize| number(a)?.checked_add(number(b)?);
        Some(Self { pid, parent, own: sum(11, 12)?, ended_children: sum(13, 14)? })
    }

    /// Reads a process' own.
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Its time and that of its children that have ended, in seconds.
    pub fn seconds(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a tick is a hundredth of a second")]
        let (ticks, rate) = ((self.own + self.ended_children) as f64, ticks_per_second() as f64);
        ticks / rate
    }
}

/// How long a clock tick is, as the kernel tells each process in its auxiliary vector.
fn ticks_per_second() -> u64 {
    static TICKS: LazyLock<u64> = LazyLock::new(|| {
        let vector = fs::read("/proc/self/auxv").unwrap_or_default();
        // 100 everywhere but on a few old platforms.
        auxiliary(&vector, AT_CLKTCK).filter(|ticks| *ticks > 0).unwrap_or(100)
    });
    *TICKS
}

/// The entry with the clock's ticks per second (getauxval(3)).
const AT_CLKTCK: usize = 17;

/// An entry's value: the vector is pairs of a type and a value, each as wide as a pointer.
fn auxiliary(vector: &[u8], wanted: usize) -> Option<u64> {
    let mut words = vector
        .chunks_exact(size_of::<usize>())
        .map(|word| word.try_into().map_or(0, usize::from_ne_bytes));
    while let (Some(kind), Some(value)) = (words.next(), words.next()) {
        if kind == wanted {
            return u64::try_from(value).ok();
        }
    }
    None
}

/// All processes of the machine.
fn all() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Stat::of).collect()
}

/// `roots`, those of them that run, and all their descendants.
pub fn tree(roots: &[u32]) -> Vec<Stat> {
    descendants(roots, &all())
}

fn descendants(roots: &[u32], all: &[Stat]) -> Vec<Stat> {
    let by_pid: BTreeMap<u32, &Stat> = all.iter().map(|stat| (stat.pid, stat)).collect();
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(stat.pid);
    }
    let (mut found, mut waiting) = (BTreeSet::new(), roots.to_vec());
    while let Some(pid) = waiting.pop() {
        if by_pid.contains_key(&pid) && found.insert(pid) {
            waiting.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found.iter().filter_map(|pid| by_pid.get(pid).map(|stat| **stat)).collect()
}

/// The number after `name` in a file of lines such as `write_bytes: 4096` or `VmHWM:  512 kB`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':').split_ascii_whitespace().next()?.parse().ok()
}

/// Bytes that a process has had written to disks. Needs the right to look (the same user, or root).
pub(super) fn written(pid: u32) -> Option<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/io")).ok()?, "write_bytes")
}

/// The most memory that a process has held at once, in bytes.
pub(super) fn peak_memory(pid: u32) -> Option<u64> {
    let kib = field(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM")?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_hold_brackets_and_spaces() {
        let line = "42 (a ) R (b) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 30 4 20 0 1 0 5 6 7";
        let stat = Stat { pid: 42, parent: 7, own: 120, ended_children: 34 };
        assert_eq!(Stat::parse(line), Some(stat));
    }

    #[test]
    fn the_kernel_tells_the_length_of_a_tick() {
        let vector = fs::read("/proc/self/auxv").unwrap();
        assert!(auxiliary(&vector, AT_CLKTCK).is_some_and(|ticks| (24..=1024).contains(&ticks)));
        assert_eq!(auxiliary(&vector[..5], AT_CLKTCK), None);
    }

    #[test]
    fn this_process_has_used_time_and_is_in_its_own_tree() {
        let me = std::process::id();
        let stats = tree(&[me]);
        assert!(stats.iter().any(|stat| stat.pid == me));
        assert_eq!(tree(&[0x3fff_ffff]), []);
        assert!(peak_memory(me).is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn descendants_are_found_once_and_strangers_are_not() {
        let stat = |pid, parent| Stat { pid, parent, own: 0, ended_children: 0 };
        let all = [stat(1, 0), stat(5, 1), stat(6, 5), stat(7, 6), stat(8, 1)];
        let pids = |roots: &[u32]| {
            descendants(roots, &all).iter().map(|stat| stat.pid).collect::<Vec<_>>()
        };
        assert_eq!(pids(&[5, 6]), [5, 6, 7]);
        assert_eq!(pids(&[8, 9]), [8]);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in "\\PC*|[0-9]{0,9} \\([a-z) ]*\\)( [0-9]{0,20}){0,20}") {
            let _ = Stat::parse(&line);
            let _ = field(&line, "VmHWM");
        }
    }
}

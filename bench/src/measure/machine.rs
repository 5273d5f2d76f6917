//! What the figures were measured on.

use serde::{Deserialize, Serialize};
use std::fs;

/// The machine that this program runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, as it calls itself.
    pub cpu: String,
    /// Logical processors that may be used.
    pub cores: usize,
    /// In bytes.
    pub memory_bytes: u64,
    /// The kernel's version.
    pub kernel: String,
    /// Average number of processes that wanted to run in the minute before: others than the server
    /// and this program make wall-clock figures worthless.
    pub load_before: f64,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let load = read("/proc/loadavg");
        Self {
            cpu: model.map_or_else(String::new, |(_, name)| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: super::process::field(&read("/proc/meminfo"), "MemTotal").unwrap_or(0)
                * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        }
    }
}

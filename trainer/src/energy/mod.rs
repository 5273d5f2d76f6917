//! Energy that training takes, as the hardware's own counters tell it.
//!
//! | component | counter |
//! |---|---|
//! | CPU | its packages, by Linux' powercap (RAPL, of Intel and AMD); memory modules aren't part of it |
//! | GPUs in use | NVML's total energy; on GPUs older than Volta, their power integrated over time |
//!
//! A counter counts all that a package or GPU takes, whoever uses it. What can't be read has no
//! figure: nothing is estimated from anything else.

mod gpus;
mod meter;
mod nvml;
mod rapl;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use meter::EnergyMeter;
pub use rapl::Rapl;

/// What energy goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The CPU's packages.
    Cpu,
    /// The GPUs in use.
    Gpu,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Gpu];

    /// Its name, as in messages and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Cpu => "rapl",
            Self::Gpu => "nvml",
        }
    }
}

/// Energy by component, in joules; what wasn't measured throughout has no figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// Of the CPU's packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_joules: Option<f64>,
    /// Of the GPUs in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_joules: Option<f64>,
}

impl Energy {
    /// The figure of one component.
    pub fn of(&self, component: Component) -> Option<f64> {
        match component {
            Component::Cpu => self.cpu_joules,
            Component::Gpu => self.gpu_joules,
        }
    }

    /// All components that have a figure, as checkpoints' manifests record them.
    pub fn recorded(&self) -> Option<coffer_client::checkpoint::Energy> {
        let known = || Component::ALL.into_iter().filter(|of| self.of(*of).is_some());
        let joules = known().filter_map(|of| self.of(of)).reduce(|sum, joules| sum + joules)?;
        let source = known().map(Component::source).collect::<Vec<_>>().join(" + ");
        Some(coffer_client::checkpoint::Energy { joules, source })
    }

    /// Whether there is no figure at all.
    pub fn is_empty(&self) -> bool {
        Component::ALL.iter().all(|component| self.of(*component).is_none())
    }

    /// Nothing used, all of it measured.
    pub const ZERO: Self = Self { cpu_joules: Some(0.0), gpu_joules: Some(0.0) };

    /// All together, where each has a figure; of none at all, there is none.
    pub fn sum(each: impl Iterator<Item = Self>) -> Self {
        each.reduce(|sum, energy| sum.plus(&energy)).unwrap_or_default()
    }

    /// What was used since `earlier`, where both have a figure.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, |now, before| now - before)
    }

    /// Both together, where both have a figure.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.with(other, |one, another| one + another)
    }

    fn with(&self, other: &Self, join: impl Fn(f64, f64) -> f64) -> Self {
        let join = |component| Some(join(self.of(component)?, other.of(component)?));
        Self { cpu_joules: join(Component::Cpu), gpu_joules: join(Component::Gpu) }
    }
}

impl fmt::Display for Energy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = Component::ALL.into_iter().filter_map(|of| Some((of.name(), self.of(of)?)));
        for (place, (name, joules)) in figures.enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            let (value, unit) = if joules < 1e4 { (joules, "J") } else { (joules / 1e3, "kJ") };
            write!(f, "{comma}{name} {value:.1} {unit}")?;
        }
        Ok(())
    }
}

/// A counter of energy.
pub trait EnergySource: Send {
    /// What it counts.
    fn component(&self) -> Component;

    /// Joules since its first reading; never less than before. Call it often enough that the
    /// counter beneath can't come round unnoticed, as [`EnergyMeter`] does.
    ///
    /// # Errors
    /// If the counter can't be read any more. It stays so: what was missed is unknown.
    fn joules(&mut self, now: Instant) -> Result<f64, Unavailable>;
}

/// Why energy can't be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The system has no counter of the CPU.
    #[error(
        "energy of the CPU is unavailable: no package counter in {}: virtual machines and containers \
         have none; elsewhere, `modprobe intel_rapl_msr` may bring it (Intel and AMD)",
        .0.display()
    )]
    NoCounter(PathBuf),
    /// A counter isn't for this user.
    #[error(
        "energy of the CPU is unavailable: {} may not be read: `chmod a+r` it as root, or run with \
         CAP_DAC_READ_SEARCH",
        .0.display()
    )]
    Denied(PathBuf),
    /// A counter can't be read, for another reason.
    #[error("energy of the CPU is unavailable: {}: {problem}", path.display())]
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The driver tells nothing of the GPUs.
    #[error(
        "energy of the GPUs is unavailable: NVML: {0}; the driver's libnvidia-ml.so.1 must be found by \
         the loader (in containers: the `utility` capability)"
    )]
    Nvml(String),
    /// It can't be known which GPUs are in use.
    #[error("energy of the GPUs is unavailable: {0}")]
    Unknown(String),
    /// A GPU gave no reading.
    #[error("energy of the GPUs is unavailable: {gpu}: {problem}")]
    Gpu {
        /// Its UUID.
        gpu: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Unavailable {
    /// What has no figure.
    pub fn component(&self) -> Component {
        match self {
            Self::NoCounter(_) | Self::Denied(_) | Self::Unreadable { .. } => Component::Cpu,
            Self::Nvml(_) | Self::Unknown(_) | Self::Gpu { .. } => Component::Gpu,
        }
    }
}

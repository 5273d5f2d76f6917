//! The GPUs' energy, as NVIDIA's driver tells it. The driver's library is loaded at run time.

use std::sync::Arc;
use std::time::Instant;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::gpus::{Listed, Numbering, pick};
use super::{Component, EnergySource, Unavailable};

/// Sources for the GPUs with these CUDA numbers.
///
/// # Errors
/// If the driver isn't there, or it can't be known which GPUs they are.
pub(super) fn open(numbers: &[usize]) -> Result<Vec<Box<dyn EnergySource>>, Unavailable> {
    let told = |error: NvmlError| Unavailable::Nvml(error.to_string());
    let nvml = Arc::new(Nvml::init().map_err(told)?);
    let listed = |number| {
        let gpu = nvml.device_by_index(number)?;
        Ok(Listed { uuid: gpu.uuid()?, name: gpu.name()? })
    };
    let count = nvml.device_count().map_err(told)?;
    let gpus: Vec<_> = (0..count).map(listed).collect::<Result<_, _>>().map_err(told)?;
    let uuids =
        pick(&gpus, &Numbering::of_this_process(), numbers).map_err(Unavailable::Unknown)?;
    let source = |uuid: String| {
        let counters = NvmlGpu { nvml: Arc::clone(&nvml), uuid: uuid.clone() };
        Gpu::open(uuid, counters).map(|gpu| Box::new(gpu) as Box<dyn EnergySource>)
    };
    uuids.into_iter().map(source).collect()
}

/// What one GPU tells of itself.
pub(super) trait Counters: Send {
    /// Millijoules since the driver was loaded; none if this GPU has no such counter.
    fn millijoules(&self) -> Result<Option<u64>, String>;

    /// What it draws now.
    fn watts(&self) -> Result<f64, String>;
}

struct NvmlGpu {
    nvml: Arc<Nvml>,
    uuid: String,
}

impl NvmlGpu {
    fn ask<T>(
        &self,
        question: impl FnOnce(Device<'_>) -> Result<T, NvmlError>,
    ) -> Result<T, NvmlError> {
        question(self.nvml.device_by_uuid(self.uuid.as_str())?)
    }
}

impl Counters for NvmlGpu {
    fn millijoules(&self) -> Result<Option<u64>, String> {
        match self.ask(|gpu| gpu.total_energy_consumption()) {
            Ok(energy) => Ok(Some(energy)),
            Err(NvmlError::NotSupported) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn watts(&self) -> Result<f64, String> {
        let milliwatts = self.ask(|gpu| gpu.power_usage()).map_err(|error| error.to_string())?;
        Ok(f64::from(milliwatts) / 1e3)
    }
}

/// One GPU.
pub(super) struct Gpu<C> {
    uuid: String,
    counters: C,
    way: Way,
}

/// How its energy is known.
enum Way {
    /// By its counter, in millijoules: at first, and last.
    Counter { first: u64, last: u64 },
    /// By its power, taken to run straight from one sample to the next.
    Power { last: Option<(Instant, f64)>, joules: f64 },
}

impl<C: Counters> Gpu<C> {
    pub(super) fn open(uuid: String, counters: C) -> Result<Self, Unavailable> {
        let way = match counters.millijoules() {
            Ok(Some(first)) => Way::Counter { first, last: first },
            Ok(None) => Way::Power { last: None, joules: 0.0 },
            Err(problem) => return Err(Unavailable::Gpu { gpu: uuid, problem }),
        };
        Ok(Self { uuid, counters, way })
    }

    fn count(&mut self, now: Instant) -> Result<f64, String> {
        match &mut self.way {
            Way::Counter { first, last } => {
                let found = self.counters.millijoules()?.ok_or("its energy counter is gone")?;
                if found < *last {
                    return Err(format!("its energy counter fell from {last} to {found} mJ"));
                }
                *last = found;
                Ok((found - *first) as f64 / 1e3)
            }
            Way::Power { last, joules } => {
                let watts = self.counters.watts()?;
                if let Some((then, before)) = *last {
                    let seconds = now.saturating_duration_since(then).as_secs_f64();
                    *joules += seconds * f64::midpoint(before, watts);
                }
                *last = Some((now, watts));
                Ok(*joules)
            }
        }
    }
}

impl<C: Counters> EnergySource for Gpu<C> {
    fn component(&self) -> Component {
        Component::Gpu
    }

    fn joules(&mut self, now: Instant) -> Result<f64, Unavailable> {
        let counted = self.count(now);
        counted.map_err(|problem| Unavailable::Gpu { gpu: self.uuid.clone(), problem })
    }
}

//! The CPU's energy counters, as Linux shows them in `/sys/class/powercap`.
//!
//! ```text
//! intel-rapl:0/        name: package-0       counted (AMD's packages have this name, too)
//! intel-rapl:0:0/      name: core            a part of package-0
//! intel-rapl:1/        name: psys            the whole machine, packages included
//! intel-rapl-mmio:0/   name: package-0       the same counter by another way
//! ```
//!
//! `energy_uj` counts microjoules, and begins at 0 again after `max_energy_range_uj`: at 300 W, that
//! can be after a few minutes. The format: Linux, Documentation/power/powercap/powercap.rst.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Component, EnergySource, Unavailable};

/// Where Linux has the counters.
const POWERCAP: &str = "/sys/class/powercap";

/// The packages of all CPUs.
#[derive(Debug)]
pub struct Rapl {
    packages: Vec<Package>,
}

#[derive(Debug)]
struct Package {
    counter: PathBuf,
    /// Microjoules after which the counter begins anew; none if the system doesn't tell.
    range: Option<u64>,
    last: u64,
    /// Microjoules since it was opened.
    total: u64,
}

impl Rapl {
    /// Opens the counters of this machine.
    ///
    /// # Errors
    /// If there are none, or they can't be read.
    pub fn open() -> Result<Self, Unavailable> {
        Self::within(Path::new(POWERCAP))
    }

    /// Opens the counters within `folder`.
    ///
    /// # Errors
    /// If there are none, or they can't be read.
    pub fn within(folder: &Path) -> Result<Self, Unavailable> {
        let none = || Unavailable::NoCounter(folder.to_owned());
        let mut packages = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|_| none())?.flatten() {
            if is_domain(&entry.file_name().to_string_lossy()) && is_package(&entry.path()) {
                packages.push(Package::open(&entry.path())?);
            }
        }
        if packages.is_empty() { Err(none()) } else { Ok(Self { packages }) }
    }
}

impl EnergySource for Rapl {
    fn component(&self) -> Component {
        Component::Cpu
    }

    fn joules(&mut self, _: Instant) -> Result<f64, Unavailable> {
        let mut sum = 0;
        for package in &mut self.packages {
            sum += package.count()?;
        }
        Ok(sum as f64 / 1e6)
    }
}

impl Package {
    fn open(folder: &Path) -> Result<Self, Unavailable> {
        let counter = folder.join("energy_uj");
        let range = number(&folder.join("max_energy_range_uj")).ok();
        Ok(Self { last: number(&counter)?, counter, range, total: 0 })
    }

    /// Microjoules since it was opened.
    fn count(&mut self) -> Result<u64, Unavailable> {
        let now = number(&self.counter)?;
        let used = match self.range {
            _ if now >= self.last => now - self.last,
            Some(range) if self.last <= range => range - self.last + now,
            _ => {
                let problem = format!("it fell from {} to {now}, beyond its range", self.last);
                return Err(Unavailable::Unreadable { path: self.counter.clone(), problem });
            }
        };
        self.last = now;
        self.total += used;
        Ok(self.total)
    }
}

/// Whether a folder's name is that of a domain that is no part of another: `intel-rapl:0`.
fn is_domain(name: &str) -> bool {
    let number = name.strip_prefix("intel-rapl:");
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Whether a domain is a package, or a die of one that has several.
fn is_package(folder: &Path) -> bool {
    let name = std::fs::read_to_string(folder.join("name"));
    name.is_ok_and(|name| name.starts_with("package-"))
}

fn number(path: &Path) -> Result<u64, Unavailable> {
    let problem = |problem| Unavailable::Unreadable { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Unavailable::Denied(path.to_owned()),
        _ => problem(error.to_string()),
    })?;
    text.trim().parse().map_err(|_| problem(format!("{:?} is no number", text.trim())))
}

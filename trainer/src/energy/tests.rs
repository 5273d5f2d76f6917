//! Counters in folders and GPUs of the tests' own.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use super::nvml::{Counters, Gpu};
use super::*;

fn domain(folder: &Path, entry: &str, name: &str, energy: u64) {
    let folder = folder.join(entry);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("name"), format!("{name}\n")).unwrap();
    fs::write(folder.join("energy_uj"), format!("{energy}\n")).unwrap();
    fs::write(folder.join("max_energy_range_uj"), "1000000\n").unwrap();
}

fn two_packages() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("intel-rapl")).unwrap();
    domain(folder.path(), "intel-rapl:0", "package-0", 900_000);
    domain(folder.path(), "intel-rapl:0:0", "core", 5);
    domain(folder.path(), "intel-rapl:0:1", "dram", 5);
    domain(folder.path(), "intel-rapl:1", "package-1", 100);
    domain(folder.path(), "intel-rapl:2", "psys", 7);
    domain(folder.path(), "intel-rapl-mmio:0", "package-0", 900_000);
    folder
}

fn set(folder: &TempDir, entry: &str, energy: &str) {
    fs::write(folder.path().join(entry).join("energy_uj"), energy).unwrap();
}

fn joules(source: &mut impl EnergySource) -> Result<f64, Unavailable> {
    source.joules(Instant::now())
}

#[test]
fn packages_are_counted_once_and_over_the_end_of_their_range() {
    let folder = two_packages();
    let mut rapl = Rapl::within(folder.path()).unwrap();
    assert_eq!(joules(&mut rapl), Ok(0.0));
    for other in ["intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:2", "intel-rapl-mmio:0"] {
        set(&folder, other, "999999");
    }
    assert_eq!(joules(&mut rapl), Ok(0.0));
    set(&folder, "intel-rapl:0", "950000");
    set(&folder, "intel-rapl:1", "200100");
    assert_eq!(joules(&mut rapl), Ok(0.25));
    // 50,000 up to the end, 50,000 after it.
    set(&folder, "intel-rapl:0", "50000");
    assert_eq!(joules(&mut rapl), Ok(0.35));
    assert_eq!(joules(&mut rapl), Ok(0.35));
}

#[test]
fn what_is_wrong_with_a_counter_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let none = Rapl::within(empty.path()).unwrap_err();
    assert!(none.to_string().contains("modprobe intel_rapl_msr"), "{none}");
    assert_eq!(Rapl::within(&empty.path().join("away")).unwrap_err().component(), Component::Cpu);

    let folder = two_packages();
    set(&folder, "intel-rapl:1", "many");
    let garbled = Rapl::within(folder.path()).unwrap_err().to_string();
    assert!(garbled.contains("intel-rapl:1") && garbled.contains("\"many\""), "{garbled}");

    // Without its range, nobody knows how much is between a high figure and a low one.
    let folder = two_packages();
    fs::remove_file(folder.path().join("intel-rapl:0/max_energy_range_uj")).unwrap();
    let mut rapl = Rapl::within(folder.path()).unwrap();
    set(&folder, "intel-rapl:0", "1");
    assert!(joules(&mut rapl).unwrap_err().to_string().contains("fell from 900000 to 1"));
    let denied = Unavailable::Denied("/sys/class/powercap/intel-rapl:0/energy_uj".into());
    assert!(
        denied.to_string().contains("intel-rapl:0/energy_uj") && denied.to_string().contains("a+r")
    );
}

#[test]
fn a_counter_that_vanishes_takes_its_figure_with_it_and_is_told_once() {
    let folder = two_packages();
    let rapl = Rapl::within(folder.path()).unwrap();
    let gpu =
        Gpu::open("GPU-1".into(), Fake { energy: vec![Some(5_000), Some(7_500)].into() }).unwrap();
    let meter = EnergyMeter::of(vec![Box::new(rapl), Box::new(gpu)], Vec::new());
    assert_eq!(meter.take_news(), []);
    let before = meter.read();
    assert_eq!(before.cpu_joules, Some(0.0));
    fs::remove_dir_all(folder.path().join("intel-rapl:0")).unwrap();
    let after = meter.read();
    assert_eq!((after.cpu_joules, after.gpu_joules), (None, Some(2.5)));
    assert_eq!(after.since(&before).cpu_joules, None);
    let [Unavailable::Unreadable { path, .. }] = &meter.take_news()[..] else { panic!() };
    assert!(path.ends_with("intel-rapl:0/energy_uj"));
    assert_eq!(meter.take_news(), []);
    // Nor does it come back: what was missed stays unknown.
    domain(folder.path(), "intel-rapl:0", "package-0", 900_001);
    assert_eq!(meter.read().cpu_joules, None);
}

#[test]
fn what_is_missing_from_the_start_is_told_and_the_rest_measured() {
    let missing = Unavailable::Unknown("CUDA's order isn't known".into());
    let folder = two_packages();
    let rapl = Rapl::within(folder.path()).unwrap();
    let meter = EnergyMeter::of(vec![Box::new(rapl)], vec![missing.clone()]);
    assert_eq!(meter.take_news(), [missing]);
    assert_eq!(meter.read(), Energy { cpu_joules: Some(0.0), gpu_joules: None });
}

/// A GPU that gives these readings of its counter, and its last one for ever.
struct Fake {
    energy: RefCell<Vec<Option<u64>>>,
}

impl Counters for Fake {
    fn millijoules(&self) -> Result<Option<u64>, String> {
        let mut left = self.energy.borrow_mut();
        if left.len() > 1 { Ok(left.remove(0)) } else { left.first().copied().ok_or("gone".into()) }
    }

    fn watts(&self) -> Result<f64, String> {
        Err("it has a counter".into())
    }
}

impl From<Vec<Option<u64>>> for Fake {
    fn from(energy: Vec<Option<u64>>) -> Self {
        Self { energy: energy.into() }
    }
}

/// A GPU without a counter, that draws these watts one after the other.
struct Old(RefCell<Vec<f64>>);

impl Counters for Old {
    fn millijoules(&self) -> Result<Option<u64>, String> {
        Ok(None)
    }

    fn watts(&self) -> Result<f64, String> {
        self.0.borrow_mut().pop().ok_or_else(|| "fallen off the bus".to_owned())
    }
}

#[test]
fn gpus_are_counted_by_their_counter_which_never_falls() {
    let mut gpu =
        Gpu::open("GPU-1".into(), Fake::from(vec![Some(10), Some(1_010), Some(9)])).unwrap();
    assert_eq!(joules(&mut gpu), Ok(1.0));
    assert!(joules(&mut gpu).unwrap_err().to_string().contains("GPU-1"));
}

#[test]
fn power_is_integrated_where_there_is_no_counter() {
    let mut gpu = Gpu::open("GPU-1".into(), Old(vec![50.0, 100.0, 300.0, 100.0].into())).unwrap();
    let start = Instant::now();
    let mut at = |seconds| gpu.joules(start + Duration::from_secs(seconds));
    assert_eq!(at(0), Ok(0.0));
    assert_eq!(at(2), Ok(400.0));
    assert_eq!(at(3), Ok(600.0));
    assert_eq!(at(3), Ok(600.0));
    assert!(at(4).is_err());
}

#[test]
fn figures_are_shown_with_their_component() {
    let both = Energy { cpu_joules: Some(12.34), gpu_joules: Some(45_678.0) };
    assert_eq!(both.to_string(), "cpu 12.3 J, gpu 45.7 kJ");
    assert_eq!(serde_json::to_string(&Energy::default()).unwrap(), "{}");
    assert!(Energy::default().is_empty() && !both.is_empty());
    assert_eq!(both.plus(&both).cpu_joules, Some(24.68));
}

proptest! {
    #[test]
    fn steps_of_a_counter_add_up_over_its_ends(steps in prop::collection::vec(0u64..=1_000_000, 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        domain(folder.path(), "intel-rapl:0", "package-0", 123_456);
        let mut rapl = Rapl::within(folder.path()).unwrap();
        let (mut raw, mut sum) = (123_456, 0);
        for step in steps {
            // It may come round in each step, but not get beyond where it was.
            raw += step;
            if raw > 1_000_000 {
                raw -= 1_000_000;
            }
            sum += step;
            set(&folder, "intel-rapl:0", &raw.to_string());
            let found = joules(&mut rapl).unwrap();
            // A whole turn looks like none at all.
            if step == 1_000_000 {
                sum -= step;
            }
            prop_assert!((found - sum as f64 / 1e6).abs() < 1e-9, "{found} {sum}");
        }
    }

    #[test]
    fn no_content_of_a_counter_panics(content: String) {
        let folder = tempfile::tempdir().unwrap();
        domain(folder.path(), "intel-rapl:0", "package-0", 0);
        set(&folder, "intel-rapl:0", &content);
        let _ = Rapl::within(folder.path());
    }
}

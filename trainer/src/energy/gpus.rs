//! Which of the driver's GPUs are those that CUDA numbers 0, 1, ...

/// A GPU as the driver lists it, by its place on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// As `GPU-8f2c...`.
    pub(super) uuid: String,
    /// Its model.
    pub(super) name: String,
}

/// How CUDA numbers GPUs: its environment variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbering {
    /// `CUDA_VISIBLE_DEVICES`, if it's set.
    pub(super) visible: Option<String>,
    /// `CUDA_DEVICE_ORDER`, if it's set.
    pub(super) order: Option<String>,
}

impl Numbering {
    pub(super) fn of_this_process() -> Self {
        let variable = |name| std::env::var(name).ok();
        Self { visible: variable("CUDA_VISIBLE_DEVICES"), order: variable("CUDA_DEVICE_ORDER") }
    }
}

/// The UUIDs of the GPUs with the CUDA numbers `wanted`.
///
/// CUDA puts the fastest GPU first unless `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`: then numbers tell which
/// GPU is meant only where all are of one model. A list of visible GPUs ends at the first entry that
/// names none. (CUDA Programming Guide, environment variables.)
///
/// # Errors
/// With a text that says why it can't be known and what would help.
pub(super) fn pick(
    gpus: &[Listed],
    numbering: &Numbering,
    wanted: &[usize],
) -> Result<Vec<String>, String> {
    let uniform = gpus.windows(2).all(|pair| matches!(pair, [a, b] if a.name == b.name));
    let ordered = uniform || numbering.order.as_deref() == Some("PCI_BUS_ID");
    let by_number = |number: usize| {
        if ordered {
            return Ok(gpus.get(number));
        }
        Err("there are GPUs of several models, and CUDA numbers them otherwise than the driver: set \
             CUDA_DEVICE_ORDER=PCI_BUS_ID"
            .to_owned())
    };
    let visible = match &numbering.visible {
        None => (0..gpus.len()).map(by_number).collect::<Result<Vec<_>, _>>()?,
        Some(list) => {
            let mut visible = Vec::new();
            for entry in list.split(',').map(str::trim) {
                if entry.starts_with("MIG-") {
                    return Err(format!("{entry} is a part of a GPU, which has no counter"));
                }
                let found = match entry.parse() {
                    Ok(number) => by_number(number)?,
                    Err(_) => by_prefix(gpus, entry),
                };
                let Some(found) = found else { break };
                visible.push(Some(found));
            }
            visible
        }
    };
    let uuid = |number: &usize| {
        let gpu = visible.get(*number).copied().flatten();
        gpu.map(|gpu| gpu.uuid.clone()).ok_or_else(|| format!("the driver lists no cuda:{number}"))
    };
    wanted.iter().map(uuid).collect()
}

/// The one GPU whose UUID begins with `entry`.
fn by_prefix<'a>(gpus: &'a [Listed], entry: &str) -> Option<&'a Listed> {
    let mut found = gpus.iter().filter(|gpu| !entry.is_empty() && gpu.uuid.starts_with(entry));
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<Listed> {
        let gpu = |(at, name): (usize, &&str)| Listed {
            uuid: format!("GPU-{at}a"),
            name: (*name).to_owned(),
        };
        names.iter().enumerate().map(gpu).collect()
    }

    fn numbering(visible: Option<&str>, order: Option<&str>) -> Numbering {
        Numbering { visible: visible.map(str::to_owned), order: order.map(str::to_owned) }
    }

    #[test]
    fn numbers_mean_gpus_only_where_their_order_is_known() {
        let (same, mixed) = (listed(&["H100", "H100", "H100"]), listed(&["T4", "H100"]));
        let plain = Numbering::default();
        assert_eq!(pick(&same, &plain, &[0, 2]).unwrap(), ["GPU-0a", "GPU-2a"]);
        assert!(pick(&mixed, &plain, &[0]).unwrap_err().contains("PCI_BUS_ID"));
        let bus = numbering(None, Some("PCI_BUS_ID"));
        assert_eq!(pick(&mixed, &bus, &[1]).unwrap(), ["GPU-1a"]);
        assert_eq!(pick(&listed(&["T4"]), &plain, &[0]).unwrap(), ["GPU-0a"]);
        assert!(pick(&same, &plain, &[3]).unwrap_err().contains("cuda:3"));
        assert!(pick(&[], &plain, &[0]).is_err());
    }

    #[test]
    fn visible_gpus_are_numbered_anew() {
        let same = listed(&["H100", "H100", "H100"]);
        let visible = |list| numbering(Some(list), None);
        assert_eq!(pick(&same, &visible("2, 0"), &[0, 1]).unwrap(), ["GPU-2a", "GPU-0a"]);
        assert_eq!(pick(&same, &visible("GPU-1"), &[0]).unwrap(), ["GPU-1a"]);
        // The list ends at what names no GPU, or more than one.
        for list in ["", "-1,0", "0,9,1", "GPU-,0", "NoDevFiles"] {
            assert!(pick(&same, &visible(list), &[1]).is_err(), "{list}");
        }
        assert!(pick(&same, &visible("MIG-1"), &[0]).unwrap_err().contains("part of a GPU"));
        // UUIDs need no order.
        let mixed = listed(&["T4", "H100"]);
        assert_eq!(pick(&mixed, &visible("GPU-1a"), &[0]).unwrap(), ["GPU-1a"]);
    }
}

//! What `smartctl --json` says, in the figures that predict failure.
//!
//! ATA attributes are numbered; of the many, those are read that are counted alike by all makers:
//! 5 reallocated sectors, 187 reported uncorrectable errors, 197 pending sectors, 198 offline
//! uncorrectable sectors.

use coffer_core::shard::DiskReport;
use serde_json::Value;

/// The longest name of a model that is kept, in bytes.
const MAX_MODEL: usize = 80;

/// Reads the output of `smartctl --json --info --health --attributes`. `None` where it has no figure
/// at all: no SMART, no permission, a disk that sleeps, no JSON.
pub fn parse(device: &str, json: &[u8]) -> Option<DiskReport> {
    let root: Value = serde_json::from_slice(json).ok()?;
    let number = |path: &str| root.pointer(path).and_then(Value::as_u64);
    let nvme = |field: &str| number(&format!("/nvme_smart_health_information_log/{field}"));
    let ata = |id| ata_attribute(&root, id);
    let sas_errors = ["read", "write"]
        .iter()
        .filter_map(|kind| {
            number(&format!("/scsi_error_counter_log/{kind}/total_uncorrected_errors"))
        })
        .reduce(u64::saturating_add);
    let mut report = DiskReport {
        passed: root.pointer("/smart_status/passed").and_then(Value::as_bool),
        reallocated_sectors: ata(5).or_else(|| number("/scsi_grown_defect_list")),
        pending_sectors: ata(197),
        // Both count some of the same.
        uncorrectable_sectors: ata(198).max(ata(187)),
        media_errors: nvme("media_errors").or(sas_errors),
        critical_warning: nvme("critical_warning"),
        percentage_used: nvme("percentage_used"),
        temperature_celsius: number("/temperature/current"),
        power_on_hours: number("/power_on_time/hours"),
        ..DiskReport::default()
    };
    if report == DiskReport::default() {
        return None;
    }
    device.clone_into(&mut report.device);
    let model = ["/model_name", "/scsi_model_name"].iter().find_map(|path| root.pointer(path));
    let model = model.and_then(Value::as_str).unwrap_or("unknown");
    model[..model.floor_char_boundary(MAX_MODEL)].clone_into(&mut report.model);
    Some(report)
}

fn ata_attribute(root: &Value, id: u64) -> Option<u64> {
    let table = root.pointer("/ata_smart_attributes/table")?.as_array()?;
    let row = table.iter().find(|row| row.get("id").and_then(Value::as_u64) == Some(id))?;
    row.pointer("/raw/value")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(answer: &Value) -> Option<DiskReport> {
        parse("sda", answer.to_string().as_bytes())
    }

    #[test]
    fn an_ata_disk_an_nvme_disk_and_a_sas_disk() {
        let row = |id: u64, raw: u64| json!({"id": id, "value": 100, "raw": {"value": raw, "string": "x"}});
        let ata = json!({
            "model_name": "Maker 8TB",
            "smart_status": {"passed": true},
            "ata_smart_attributes": {"table": [row(5, 8), row(187, 3), row(197, 2), row(198, 1), row(9, 77)]},
            "temperature": {"current": 35},
            "power_on_time": {"hours": 77},
        });
        let expected = DiskReport {
            device: "sda".into(),
            model: "Maker 8TB".into(),
            passed: Some(true),
            reallocated_sectors: Some(8),
            pending_sectors: Some(2),
            uncorrectable_sectors: Some(3),
            temperature_celsius: Some(35),
            power_on_hours: Some(77),
            ..DiskReport::default()
        };
        assert_eq!(read(&ata), Some(expected));
        let nvme = json!({
            "model_name": "Flash",
            "nvme_smart_health_information_log": {
                "critical_warning": 4, "percentage_used": 103, "media_errors": 9, "temperature": 50,
            },
        });
        let report = read(&nvme).unwrap();
        let figures = (report.critical_warning, report.percentage_used, report.media_errors);
        assert_eq!(figures, (Some(4), Some(103), Some(9)));
        let sas = json!({
            "scsi_model_name": "Sas",
            "scsi_grown_defect_list": 12,
            "scsi_error_counter_log": {
                "read": {"total_uncorrected_errors": 2}, "write": {"total_uncorrected_errors": 1},
            },
        });
        let report = read(&sas).unwrap();
        assert_eq!((report.reallocated_sectors, report.media_errors), (Some(12), Some(3)));
        assert_eq!(report.model, "Sas");
    }

    #[test]
    fn an_answer_without_figures_is_none() {
        let refused =
            json!({"smartctl": {"exit_status": 2, "messages": [{"string": "no permission"}]}});
        assert_eq!(read(&refused), None);
        assert_eq!(parse("sda", b"smartctl: command line error"), None);
        assert_eq!(parse("sda", b""), None);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,100}".prop_map(Value::from),
        ];
        let name = prop::sample::select(vec![
            "smart_status",
            "passed",
            "ata_smart_attributes",
            "table",
            "id",
            "raw",
            "value",
            "nvme_smart_health_information_log",
            "media_errors",
            "temperature",
            "current",
            "model_name",
        ]);
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_said_nothing_panics_and_names_are_bounded(answer in value(), bytes: Vec<u8>) {
            let _ = parse("sda", &bytes);
            if let Some(report) = read(&answer) {
                prop_assert!(report.model.len() <= MAX_MODEL);
                prop_assert_eq!(report.device, "sda");
            }
        }
    }
}

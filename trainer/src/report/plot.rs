//! Curves over the epochs of a run.

use coffer_plot::{Across, Curve, Panel, Scale, draw};

use crate::dataset::picture::PictureError;
use crate::train::{EpochRecord, Losses, decimals};

/// The horizontal axis of all plots.
const EPOCHS: Across<'_> = Across { label: "epoch", scale: Scale::Linear };

/// The loss in training, validation and test after each epoch, as PNG. It follows from the numbers of
/// the run alone.
///
/// # Errors
/// If it can't be encoded.
pub fn loss_plot(history: &[EpochRecord], unit: &str) -> Result<Vec<u8>, PictureError> {
    let of = |name, losses: fn(&EpochRecord) -> Option<&Losses>| {
        curve(name, history, |record| losses(record).map(Losses::total))
    };
    let curves = vec![
        of("train", |record| Some(&record.train)),
        of("validation", |record| record.validation.as_ref()),
        of("test", |record| Some(&record.test)),
    ];
    let title = "Loss per image";
    Ok(draw(vec![Panel { title, unit, across: EPOCHS, from_zero: false, curves }])?)
}

/// What each epoch's training took, as PNG: its speed, the share of time that it waited for data, and
/// its energy where it was measured.
///
/// # Errors
/// If it can't be encoded.
pub fn cost_plot(history: &[EpochRecord]) -> Result<Vec<u8>, PictureError> {
    Ok(draw(costs(history))?)
}

fn costs(history: &[EpochRecord]) -> Vec<Panel<'static>> {
    let panel =
        |title, unit, curves| Panel { title, unit, across: EPOCHS, from_zero: true, curves };
    let of = |name, value: fn(&EpochRecord) -> Option<f64>| curve(name, history, value);
    let speed = of("speed", |record| Some(record.timing.per_second(record.steps as f64)));
    let waiting = of("waiting", |record| Some(100.0 * record.timing.wait_share()));
    let energy = vec![
        of("cpu", |record| record.timing.energy.cpu_joules),
        of("gpu", |record| record.timing.energy.gpu_joules),
    ];
    vec![
        panel("Speed of training", "steps/s", vec![speed]),
        panel("Waiting for data", "% of time", vec![waiting]),
        panel("Energy of training", "J/epoch", energy),
    ]
}

/// A curve of those epochs that have the value, with the last of them beside its name.
fn curve(
    name: &str,
    history: &[EpochRecord],
    value: impl Fn(&EpochRecord) -> Option<f64>,
) -> Curve {
    let points = history.iter().filter_map(|record| Some((record.epoch as f64, value(record)?)));
    let points: Vec<_> = points.collect();
    let note = points.last().map_or(String::new(), |(_, value)| {
        let decimals = decimals(*value);
        format!("{value:.decimals$}")
    });
    Curve { name: name.to_owned(), note, points }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::Energy;
    use crate::train::Timing;

    fn history(joules: &[Option<f64>]) -> Vec<EpochRecord> {
        let record = |(epoch, joules): (u64, &Option<f64>)| EpochRecord {
            epoch,
            steps: 10,
            train: Losses([("loss".to_owned(), 1.0 / epoch as f64)].into()),
            validation: None,
            test: Losses::default(),
            confusion: None,
            timing: Timing {
                train_seconds: 2.0,
                wait_seconds: 0.5,
                energy: Energy { cpu_joules: *joules, gpu_joules: None },
                ..Timing::default()
            },
        };
        (1..).zip(joules).map(record).collect()
    }

    #[test]
    fn figures_stand_at_their_own_epochs() {
        let panels = costs(&history(&[Some(1.0), None, Some(2.5)]));
        let points = |panel: usize, curve: usize| panels[panel].curves[curve].points.clone();
        assert_eq!(points(0, 0), [(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]);
        assert_eq!(points(1, 0), [(1.0, 25.0), (2.0, 25.0), (3.0, 25.0)]);
        assert_eq!(points(2, 0), [(1.0, 1.0), (3.0, 2.5)]);
        assert_eq!(points(2, 1), []);
        assert_eq!(panels[2].curves[0].note, "2.5000");
    }

    #[test]
    fn any_history_makes_a_picture_and_what_it_took_is_no_part_of_the_loss() {
        for epochs in [0, 1, 2, 200] {
            let loss = |joules| loss_plot(&history(&vec![joules; epochs]), "nats").unwrap();
            assert!(loss(None).starts_with(b"\x89PNG"));
            assert!(loss(None) == loss(Some(1.0)));
            assert!(cost_plot(&history(&vec![None; epochs])).unwrap().starts_with(b"\x89PNG"));
        }
    }
}

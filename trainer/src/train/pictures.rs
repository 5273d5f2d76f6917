//! The pictures of a run: loss plot and, for models that make pictures, a grid of them.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::RunError;
use super::record::{EpochRecord, Losses};
use super::run::Run;
use crate::dataset::picture::PictureError;
use crate::model::Learner;
use crate::report::{Curve, GRID_SIDE, grid, loss_plot};
use crate::seeded::Draws;

/// Seed of the latent points of the grid: the same for all runs and epochs, to compare them.
const PICTURE_SEED: u64 = 0;

impl Run<'_> {
    /// Writes the pictures of the run to the store and to the local directory, if one is wanted.
    /// Returns their addresses.
    pub(super) fn report(
        &self,
        learner: &dyn Learner,
        history: &[EpochRecord],
    ) -> Result<Vec<String>, RunError> {
        let mut files =
            BTreeMap::from([("loss.png".to_owned(), plot(history, self.config.model.unit())?)]);
        let draws = Draws::pictures(PICTURE_SEED, GRID_SIDE * GRID_SIDE);
        if let Some(pictures) = learner.pictures(draws)? {
            let png = grid(&pictures, GRID_SIDE)?;
            files.insert(format!("grid-epoch-{:04}.png", history.len()), png.clone());
            files.insert("grid.png".to_owned(), png);
        }
        let plots = self.place.child("plots");
        for (name, png) in &files {
            self.runtime.block_on(plots.write(name, Bytes::from(png.clone())))?;
            if let Some(directory) = &self.out {
                let path = directory.join(name);
                let copied =
                    std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, png));
                copied.map_err(|source| RunError::Copy { path, source })?;
            }
        }
        Ok(["loss.png", "grid.png"]
            .into_iter()
            .filter(|name| files.contains_key(*name))
            .map(|name| plots.address_of(name))
            .collect())
    }
}

fn plot(history: &[EpochRecord], unit: &str) -> Result<Vec<u8>, PictureError> {
    let curve = |name, losses: fn(&EpochRecord) -> Option<&Losses>| Curve {
        name,
        values: history.iter().filter_map(losses).map(Losses::total).collect(),
    };
    let mut curves = vec![
        curve("train", |record| Some(&record.train)),
        curve("validation", |record| record.validation.as_ref()),
        curve("test", |record| Some(&record.test)),
    ];
    curves.retain(|curve| !curve.values.is_empty());
    loss_plot("Loss per image", unit, &curves)
}

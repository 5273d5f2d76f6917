//! The pictures of a run: plots of losses and cost and, for models that make pictures, a grid.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::RunError;
use super::record::EpochRecord;
use super::run::Run;
use crate::model::Learner;
use crate::report::{GRID_SIDE, cost_plot, grid, loss_plot};
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
        let mut files = BTreeMap::from([
            ("loss.png".to_owned(), loss_plot(history, self.config.model.unit())?),
            ("cost.png".to_owned(), cost_plot(history)?),
        ]);
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
        Ok(["loss.png", "cost.png", "grid.png"]
            .into_iter()
            .filter(|name| files.contains_key(*name))
            .map(|name| plots.address_of(name))
            .collect())
    }
}

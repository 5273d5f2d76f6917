//! Objects that must be there before a run. Those that an earlier run has left are used again.

use crate::data::Population;
use crate::s3::{Target, TargetError};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashMap;

/// Contents in memory at a time, in bytes, unless a single one is larger.
const MEMORY: u64 = 256 << 20;
/// Requests at a time, at most.
const SIDE_BY_SIDE: u64 = 16;

/// The objects with numbers less than `count`.
#[derive(Debug, Clone)]
pub struct Objects {
    /// What they are.
    pub population: Population,
    /// How many there are.
    pub count: u64,
}

/// Stores those of `objects` that are not there yet, and calls `stored` after each. Returns how many
/// there were already: objects of the same name and size, whose content follows from their name.
///
/// # Errors
/// If the server refuses.
pub async fn prepare(
    target: &Target,
    objects: &Objects,
    stored: impl Fn(),
) -> Result<u64, TargetError> {
    let there = target.list_all(objects.population.prefix()).await?;
    let there: HashMap<String, u64> = there.into_iter().map(|o| (o.key, o.size)).collect();
    let population = &objects.population;
    let missing: Vec<u64> = (0..objects.count)
        .filter(|number| there.get(&population.key(*number)) != Some(&population.size(*number)))
        .collect();
    let largest = missing.iter().map(|number| population.size(*number)).max().unwrap_or(0);
    let side_by_side = (MEMORY / largest.max(1)).clamp(1, SIDE_BY_SIDE);
    let found = objects.count - u64::try_from(missing.len()).unwrap_or(0);
    let store = async |number: u64| {
        target.store(&population.key(number), population.content(number)).await?;
        stored();
        Ok::<_, TargetError>(())
    };
    stream::iter(missing)
        .map(store)
        .buffer_unordered(usize::try_from(side_by_side).unwrap_or(1))
        .try_collect::<()>()
        .await?;
    Ok(found)
}

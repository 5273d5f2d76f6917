//! What is made of raw samples.

use super::shard::Sample;

/// Makes of a raw sample what the consumer wants. Called on threads that may block, a shard at a
/// time, several shards side by side.
pub trait Decode: Send + Sync + 'static {
    /// What it makes.
    type Item: Send + 'static;

    /// Decodes one sample.
    ///
    /// # Errors
    /// If the sample isn't what it should be.
    fn decode(
        &self,
        sample: Sample,
    ) -> Result<Self::Item, Box<dyn std::error::Error + Send + Sync>>;
}

/// Leaves samples as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Decode for Raw {
    type Item = Sample;

    fn decode(&self, sample: Sample) -> Result<Sample, Box<dyn std::error::Error + Send + Sync>> {
        Ok(sample)
    }
}

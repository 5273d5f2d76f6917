//! Judges for tests: what may a store have answered?
//!
//! Behind the feature `testing`, so that no program carries it. It is as pure as the rest of this
//! crate: histories come from whoever drives the store, be it real clients or a simulator.
//!
//! | module | what |
//! |---|---|
//! | [`history`] | what clients asked and were told, and when |
//! | [`linearize`] | whether a history could have come from a store that does one thing at a time |
//! | [`bucket`] | the store that does one thing at a time: a bucket with few keys |

pub mod bucket;
mod explain;
pub mod history;
pub mod linearize;

#[cfg(test)]
mod tests;

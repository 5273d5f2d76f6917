//! Lifecycle rules: what becomes of objects with time.
//!
//! The rules say, [`Lifecycle::plan`] decides for one key, and a worker of the gateway does it.
//! Nothing is ever decided early: when in doubt, data stays. Source: Amazon S3 User Guide,
//! "Lifecycle configuration elements" and "How Amazon S3 handles lifecycle conflicts".
//!
//! | module | what |
//! |---|---|
//! | [`rules`] | the rules, and which S3 accepts |
//! | [`plan`] | what is due for a key, for an upload, and when an object will expire |

pub mod plan;
pub mod rules;
#[cfg(test)]
mod tests;

pub use plan::{Action, Clock, KeyPlan, KeyVersion, VersionKind};
pub use rules::{
    Expiration, Filter, FilterForm, Lifecycle, LifecycleError, NoncurrentExpiration, Problem, Rule,
};

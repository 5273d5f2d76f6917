//! Requests to the store that is measured, made here rather than by an object-store library: each is
//! one HTTP request, timed from its first byte to its answer's last, and its failure is seen as such.

mod customer_key;
mod exchange;
mod objects;
mod target;
mod trust;

pub use customer_key::CustomerKey;
pub use exchange::{Answer, Exchange, Reader};
pub use objects::{ListedObject, tag};
pub use target::{Ask, Http, Target, TargetError, TargetOptions};

//! What can be set on a bucket: the typed settings that its record holds, and what they decide.
//!
//! Everything here is data and pure functions. The gateway translates S3's XML to these types and
//! asks them; the catalog stores them. Numbers stand for time: milliseconds since the Unix epoch.
//!
//! | module | what it answers |
//! |---|---|
//! | [`cors`] | which web pages may read what a browser gets |
//! | [`lifecycle`] | what becomes of objects with time |
//! | [`policy`] | who may do what by the bucket's policy |
//! | [`record`] | all settings of a bucket together, as its record holds them |
//! | [`settings`] | versioning, public access block, ownership, default retention and encryption |
//! | [`tags`] | which tags S3 allows on an object or a bucket |

pub mod cors;
pub mod lifecycle;
pub mod policy;
pub mod record;
pub mod settings;
pub mod tags;

pub use cors::Cors;
pub use lifecycle::Lifecycle;
pub use policy::Policy;
pub use record::{BucketSettings, ObjectLock, Setting};
pub use settings::{
    DefaultEncryption, DefaultRetention, LockMode, Ownership, PublicAccessBlock, Retention,
    RetentionPeriod, SettingError, Versioning,
};
pub use tags::{TagError, TagLimit, Tags};

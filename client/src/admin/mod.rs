//! Operating a cluster. All of it needs an administrator's key or token; all are methods of
//! [`crate::Client`].

mod fsck;
mod gateways;
pub mod health;
mod nodes;

pub use fsck::{
    AilingPart, AilingShard, Fsck, FsckOptions, FsckProgress, FsckRecord, FsckSummary, Orphan,
    Risk, ShardTally, SilentNode,
};
pub use gateways::{Addition, GatewayInfo, GatewayRole, NewGateway};
pub use health::{Event, Events, HealthReport, Verdict};
pub use nodes::{NewNode, NodeChange, NodeInfo};

use crate::s3::Call;
use http::Method;

/// A request to an administrative path below `/.coffer/v1/`.
fn call(method: Method, path: &str) -> Call {
    Call::new(method, ".coffer", &format!("v1/{path}"))
}

//! The catalog's replicated log: raft, by openraft, among the gateways of a cluster.
//!
//! | module | what |
//! |---|---|
//! | [`types`] | its members and entries |
//! | [`options`] | who a member is, and its times |
//! | [`network`] | what gateways say to each other |
//! | [`link`] | raft's own messages, sent |
//! | [`service`] | all messages, answered |
//! | [`leader`] | who leads |
//! | [`commit`] | commands gather to groups, and groups are committed |
//! | [`gate`] | answers wait until the journal holds what they tell of |
//! | [`reads`] | reads of what is current, on any gateway |
//! | [`members`] | members come and go |
//! | [`snapshot`] | snapshots as pages of rows |

pub mod commit;
pub mod gate;
pub mod leader;
pub mod link;
pub mod members;
pub mod network;
pub mod options;
pub mod reads;
pub mod service;
pub mod snapshot;
pub mod types;

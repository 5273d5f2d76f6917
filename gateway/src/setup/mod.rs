//! First start: keys, certificates, configuration. Nothing that exists is ever overwritten.
//!
//! | module | what |
//! |---|---|
//! | [`files`] | writing files so that a crash leaves the old or the new one, and keeping secrets secret |
//! | [`ca`] | the cluster's certificate authority and the certificates it issues |
//! | [`config`] | `gateway.toml` and `cluster.json` |
//! | [`init`] | making all of it |
//! | [`gateways`] | several gateways: what they share, and how each begins |

pub mod ca;
pub mod config;
pub mod files;
pub mod gateways;
pub mod init;

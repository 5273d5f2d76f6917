//! What gateways do, as tasks: the protocols of `coffer-gateway`'s engine and workers, over the
//! simulated network, with the pure parts of `coffer-core` as they are.
//!
//! | module | follows |
//! |---|---|
//! | [`put`] | `gateway/src/engine/{write,store}.rs` |
//! | [`get`] | `gateway/src/engine/{read,fetch}.rs` |
//! | [`client`] | clients' requests, and whether the answers are right |
//! | [`gc`] | `gateway/src/engine/gc.rs` |
//! | [`sweep`] | what nodes hold and nobody needs |
//! | [`repair`] | what is missing or misplaced, by `core::repair` |

pub mod client;
pub mod gc;
pub mod get;
pub mod put;
pub mod repair;
pub mod sweep;

use crate::executor::{Ctx, Inbox};
use crate::kv::SimKv;
use crate::log::{Applied, Heard};
use crate::node::{Answer, Request};
use crate::trace::Time;
use crate::world::{MS, SECOND};
use coffer_core::catalog::{Command, Machine};
use coffer_core::ids::NodeId;
use coffer_core::placement::ClusterMap;
use coffer_core::shard::ShardError;
use std::sync::Arc;

/// How long a node is waited for.
pub const SHARD_TIMEOUT: Time = 600 * MS;
/// How long the catalog is waited for.
pub const CATALOG_TIMEOUT: Time = 2 * SECOND;
/// How long a node that has failed is not asked first.
const SHUNNED_FOR: Time = 400 * MS;

/// What became of a command.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// It was applied as this entry of the log.
    Applied(usize, Applied),
    /// Nothing has changed.
    Unavailable,
    /// Nobody knows.
    Unknown,
}

impl Ctx {
    /// Gives a command to the catalog.
    pub async fn submit(&self, command: Command) -> Submitted {
        let inbox: Inbox<Heard> = Inbox::new(self);
        let reply = inbox.sender();
        self.with(|w| w.propose(self.gateway, command, Box::new(reply)));
        match inbox.next(CATALOG_TIMEOUT).await {
            Some(Heard::Applied(index, outcome)) => Submitted::Applied(index, outcome),
            Some(Heard::Unavailable) => Submitted::Unavailable,
            None => {
                self.with(|w| w.trace.count("commands of unknown outcome", 1));
                Submitted::Unknown
            }
        }
    }

    /// Waits until this gateway's catalog has all that was committed before now. `false`: it can't
    /// be known.
    pub async fn read_index(&self) -> bool {
        let inbox: Inbox<usize> = Inbox::new(self);
        let reply = inbox.sender();
        self.with(|w| w.ask_read_index(self.gateway, Box::new(reply)));
        match inbox.next(CATALOG_TIMEOUT).await {
            Some(index) => self.applied(index).await,
            None => false,
        }
    }

    /// Waits until this gateway has applied a length of the log.
    pub async fn applied(&self, length: usize) -> bool {
        for _ in 0..40 {
            if self.with(|w| w.gateways[self.gateway].applied) >= length {
                return true;
            }
            self.sleep(100 * MS).await;
        }
        false
    }

    /// This gateway's catalog as it is.
    pub fn catalog(&self) -> Machine<Arc<SimKv>> {
        self.with(|w| w.gateways[self.gateway].machine.clone())
    }

    /// The cluster map, as far as this gateway knows.
    pub fn map(&self) -> Option<ClusterMap> {
        self.catalog().cluster().ok().flatten()
    }

    /// What this gateway's clock shows, in ms.
    pub fn clock(&self) -> u64 {
        self.with(|w| w.clock(self.gateway))
    }

    /// Whether this gateway acts as the leader.
    pub fn acts_as_leader(&self) -> bool {
        self.with(|w| w.gateways[self.gateway].acts_as_leader)
    }

    /// Asks a node; the answer arrives with its tag, or never.
    pub fn ask<T: 'static>(
        &self,
        node: NodeId,
        request: Request,
        tag: T,
        inbox: &Inbox<(T, Answer)>,
    ) {
        let reply = inbox.sender();
        let put = Box::new(move |w: &mut crate::world::World, answer| reply(w, (tag, answer)));
        self.with(|w| w.send(self.gateway, node, request, put));
    }

    /// Asks a node and waits.
    pub async fn call(&self, node: NodeId, request: Request) -> Answer {
        let inbox = Inbox::new(self);
        self.ask(node, request, (), &inbox);
        match inbox.next(SHARD_TIMEOUT).await {
            Some(((), answer)) => answer,
            None => Answer::Failed(ShardError::Timeout),
        }
    }

    /// Whether a node has failed this gateway lately.
    pub fn is_shunned(&self, node: NodeId) -> bool {
        self.with(|w| {
            let until = w.gateways[self.gateway].shunned.get(&node);
            until.is_some_and(|until| *until > w.agenda.now())
        })
    }

    /// A node has failed this gateway.
    pub fn shun(&self, node: NodeId) {
        self.with(|w| {
            let until = w.agenda.now() + SHUNNED_FOR;
            w.gateways[self.gateway].shunned.insert(node, until);
        });
    }
}

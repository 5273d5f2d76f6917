//! The replicated log as gateways experience it: one order for all, and every way in which a
//! proposal can go wrong.
//!
//! Raft itself is not simulated; its promise is. What is proposed is committed once at most, maybe
//! long after its proposer has given up; what is committed is applied by every gateway in the same
//! order, sooner or later.

use crate::executor::GatewayIx;
use crate::kv::SimKv;
use crate::mutation::Mutation;
use crate::trace::{Invariant, Time};
use crate::world::{MS, Party, SECOND, World};
use coffer_core::catalog::{CatalogError, Command, Machine, Outcome};
use coffer_core::manifest::Move;
use std::sync::Arc;

/// What became of a command that was applied.
pub type Applied = Result<Outcome, CatalogError>;

/// What a proposer hears, if anything.
#[derive(Debug, Clone)]
pub enum Heard {
    /// It was applied as this entry of the log.
    Applied(usize, Applied),
    /// There is no leader: nothing has changed.
    Unavailable,
}

#[derive(Debug)]
struct Entry {
    command: Command,
    outcome: Applied,
    /// The hash of the catalog after it.
    hash: u64,
}

/// The log, and the catalog that applies it at once.
#[derive(Debug)]
pub struct Log {
    entries: Vec<Entry>,
    kv: Arc<SimKv>,
    /// What is true.
    pub truth: Machine<Arc<SimKv>>,
    /// The gateway that can commit.
    pub leader: Option<GatewayIx>,
}

impl Default for Log {
    fn default() -> Self {
        let kv = Arc::new(SimKv::default());
        Self { entries: Vec::new(), truth: Machine::new(kv.clone()), kv, leader: None }
    }
}

impl Log {
    /// How many entries are committed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is committed yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What is done with what a proposer hears.
pub type HeardReply = Box<dyn FnOnce(&mut World, Heard)>;
/// What is done with a length of the log.
pub type IndexReply = Box<dyn FnOnce(&mut World, usize)>;

impl World {
    /// Whether a gateway can speak for a majority.
    pub fn has_majority(&self, gateway: GatewayIx) -> bool {
        let hears = |g: &GatewayIx| {
            let awake = self.gateways[*g].up && self.stalled_for(*g).is_none();
            awake && (*g == gateway || self.hear_each_other(gateway, *g))
        };
        2 * (0..self.gateways.len()).filter(hears).count() > self.gateways.len()
    }

    /// Whether two gateways can hear each other.
    pub fn hear_each_other(&self, a: GatewayIx, b: GatewayIx) -> bool {
        a == b || !self.is_cut(Party::Gateway(a), Party::Gateway(b))
    }

    fn leads(&self, gateway: GatewayIx) -> bool {
        self.log.leader == Some(gateway) && self.gateways[gateway].up && self.has_majority(gateway)
    }

    /// Proposes a command.
    pub fn propose(&mut self, from: GatewayIx, command: Command, reply: HeardReply) {
        let delay = self.delay();
        self.agenda.after(delay, move |w| {
            let leader = w.log.leader.filter(|l| w.hear_each_other(from, *l) && w.gateways[*l].up);
            let Some(leader) = leader else { return w.tell(from, None, Heard::Unavailable, reply) };
            if !w.leads(leader) {
                return w.maybe_later(command);
            }
            let replication = w.rng.range(MS, 6 * MS);
            w.agenda.after(replication, move |w| {
                if !w.leads(leader) {
                    return w.maybe_later(command);
                }
                if w.has(Mutation::ProposedTwice) && w.rng.chance(30) {
                    w.commit(command.clone());
                }
                let heard = w.commit(command);
                w.tell(from, Some(leader), heard, reply);
            });
        });
    }

    /// A proposal whose leader was lost: it is lost too, or is committed at some time.
    fn maybe_later(&mut self, command: Command) {
        if self.rng.chance(500) {
            let late: Time = self.rng.range(50 * MS, 8 * SECOND);
            self.agenda.after(late, move |w| match w.log.leader {
                Some(leader) if w.leads(leader) => drop(w.commit(command)),
                _ => {}
            });
        }
    }

    fn tell(&mut self, to: GatewayIx, by: Option<GatewayIx>, heard: Heard, reply: HeardReply) {
        if by.is_some() && self.faults && self.rng.chance(10) {
            return;
        }
        let delay = self.delay();
        self.agenda.after(delay, move |w| {
            if by.is_none_or(|by| w.hear_each_other(by, to)) {
                reply(w, heard);
            }
        });
    }

    /// How far the log is, by the leader's word; there may be no answer.
    pub fn ask_read_index(&mut self, from: GatewayIx, reply: IndexReply) {
        let delay = self.delay();
        self.agenda.after(delay, move |w| {
            let leader = w.log.leader.filter(|l| w.leads(*l) && w.hear_each_other(from, *l));
            if leader.is_none() {
                return;
            }
            let (index, delay) = (w.log.len(), w.delay());
            w.agenda.after(delay, move |w| reply(w, index));
        });
    }

    fn commit(&mut self, command: Command) -> Heard {
        let index = self.log.len();
        self.log.kv.begin(index);
        let unchecked = self.has(Mutation::RelocateUnchecked);
        let outcome = apply(&self.log.truth, command.clone(), unchecked);
        let blob = match &command {
            Command::Relocate { blob, .. } => Some(*blob),
            Command::PutObject { manifest, .. } => manifest.parts.first().map(|p| p.blob),
            Command::PutPart { record, .. } => Some(record.part.blob),
            _ => None,
        };
        self.note(
            blob,
            format_args!("log {index}: {} -> {}", tell_command(&command), tell_outcome(&outcome)),
        );
        self.trace.count(
            match (&command, &outcome) {
                (Command::PutObject { .. } | Command::CompleteUpload { .. }, Ok(_)) => {
                    "objects written"
                }
                (Command::Relocate { .. }, Ok(_)) => "relocations",
                (Command::Relocate { .. }, Err(_)) => "relocations refused",
                (_, Err(CatalogError::BlobRefused(_))) => "commits of condemned data refused",
                (Command::Condemn { .. }, Ok(_)) => "condemnations",
                _ => "other commands",
            },
            1,
        );
        if self.log.kv.batches() > 1 {
            let detail =
                format!("{} committed {} batches", tell_command(&command), self.log.kv.batches());
            self.violate(Invariant::Catalog, blob, detail);
        }
        if let Err((invariant, blob, detail)) =
            self.oracle.observe(index, &command, &outcome, &self.log.truth)
        {
            self.violate(invariant, blob, detail);
        }
        let hash = self.log.kv.hash();
        self.log.entries.push(Entry { command, outcome: outcome.clone(), hash });
        for gateway in 0..self.gateways.len() {
            let delay = if self.rng.chance(30) {
                self.rng.range(0, 3 * SECOND)
            } else {
                self.rng.range(0, 4 * MS)
            };
            self.agenda.after(delay, move |w| w.catch_up(gateway, index + 1));
        }
        Heard::Applied(index, outcome)
    }

    /// A gateway applies the log up to a length, if it can hear of it.
    pub fn catch_up(&mut self, gateway: GatewayIx, length: usize) {
        let heard_of = self.log.leader.is_some_and(|l| self.hear_each_other(l, gateway));
        if !self.gateways[gateway].up || self.stalled_for(gateway).is_some() || !heard_of {
            return;
        }
        let unchecked = self.has(Mutation::RelocateUnchecked);
        for index in self.gateways[gateway].applied..length.min(self.log.len()) {
            let (state, entry) = (&mut self.gateways[gateway], &self.log.entries[index]);
            state.kv.begin(index);
            let outcome = apply(&state.machine, entry.command.clone(), unchecked);
            state.applied = index + 1;
            if outcome != entry.outcome || state.kv.hash() != entry.hash {
                let what = format!(
                    "gateway {gateway} differs after entry {index} ({})",
                    tell_command(&entry.command)
                );
                return self.violate(Invariant::CatalogsEqual, None, what);
            }
            if index % 8 == 7 && state.machine.sync().is_err() {
                self.violate(Invariant::Catalog, None, "a sync failed".into());
            }
        }
    }

    /// A gateway's store loses what was not synced; or it is given a snapshot of another's.
    pub fn recover_catalog(&mut self, gateway: GatewayIx) {
        let lose = self.rng.index(9);
        let state = &mut self.gateways[gateway];
        state.applied = state.kv.crash(lose);
        if self.rng.chance(200) {
            let from = self.rng.index(self.gateways.len());
            let length = self.gateways[from].applied;
            if length > self.gateways[gateway].applied {
                let source = self.gateways[from].kv.clone();
                self.gateways[gateway].kv.install(&source, length);
                self.gateways[gateway].applied = length;
            }
        }
    }
}

/// Applies a command; `unchecked` plants a bug: moves are made to fit whatever the catalog says.
fn apply(machine: &Machine<Arc<SimKv>>, mut command: Command, unchecked: bool) -> Applied {
    if let (true, Command::Relocate { blob, moves, .. }) = (unchecked, &mut command)
        && let Ok(Some((_, part))) = machine.blob_part(*blob)
    {
        for step in moves {
            let Some(chunk) = part.chunk(step.chunk) else { continue };
            let (from, generation) =
                (chunk.node_of(step.index.into()), chunk.key(step.index).generation);
            *step = Move { from, generation, ..*step };
        }
    }
    machine.apply(command)
}

fn tell_command(command: &Command) -> String {
    match command {
        Command::PutObject { bucket, key, record, .. } => {
            format!("put {bucket}/{} {}", key.as_str(), record.version)
        }
        Command::DeleteObject { bucket, key, .. } => format!("delete {bucket}/{}", key.as_str()),
        Command::DeleteVersion { bucket, key, version, .. } => {
            format!("delete {bucket}/{} {version}", key.as_str())
        }
        Command::PutPart { upload, number, .. } => format!("part {} of {upload}", number.get()),
        Command::CompleteUpload { upload, .. } => format!("complete {upload}"),
        Command::CreateUpload { upload, .. } => format!("begin {upload}"),
        Command::AbortUpload { upload, .. } => format!("abort {upload}"),
        Command::ForgetGarbage { ids } => format!("forget {} rows of garbage", ids.len()),
        Command::Relocate { blob, moves, .. } => {
            let moves: Vec<String> =
                moves.iter().map(|m| format!("{}g{}->{}", m.index, m.generation, m.to)).collect();
            format!("relocate {blob} {}", moves.join(" "))
        }
        Command::Condemn { blobs, .. } => format!("condemn {blobs:?}"),
        Command::ChangeCluster { map, .. } => {
            let nodes: Vec<String> =
                map.nodes.iter().map(|n| format!("{}={:?}", n.name, n.state)).collect();
            format!("cluster map {}: {}", map.version, nodes.join(" "))
        }
        Command::CreateBucket { bucket, .. } => format!("make {bucket}"),
        Command::DeleteBucket { bucket, .. } => format!("remove {bucket}"),
        Command::SetBucket { bucket, .. } => format!("set {bucket}"),
        Command::AmendVersion { bucket, key, .. } => format!("amend {bucket}/{}", key.as_str()),
    }
}

fn tell_outcome(outcome: &Applied) -> String {
    match outcome {
        Ok(_) => "ok".into(),
        Err(error) => error.to_string(),
    }
}

//! The world of a run: nodes, gateways, the network between them, and what is known of all of it.

use crate::executor::{Agenda, GatewayIx};
use crate::kv::SimKv;
use crate::log::Log;
use crate::mutation::Mutation;
use crate::node::{Answer, Node, Request};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::trace::{Invariant, Time, Trace, Violation};
use coffer_core::catalog::Machine;
use coffer_core::erasure::{Code, Coder};
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::random::SeededRandom;
use coffer_core::seal::Key;
use coffer_core::shard::{ShardError, ShardKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A millisecond of simulated time.
pub const MS: Time = 1_000;
/// A second of simulated time.
pub const SECOND: Time = 1_000 * MS;
/// What the clocks show at the start, in ms since the Unix epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// Erasure codes that buckets may have.
const CODES: [(u8, u8); 6] = [(4, 2), (4, 2), (4, 2), (2, 2), (1, 2), (3, 1)];

/// Two parties that a network can part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A gateway.
    Gateway(GatewayIx),
    /// A storage node.
    Node(NodeId),
}

/// A gateway's process, and its catalog.
#[derive(Debug)]
pub struct Gateway {
    /// Whether its process runs.
    pub up: bool,
    /// It stands still until then.
    pub stalled_until: Time,
    /// How far its clock is off, in ms.
    pub offset_ms: i64,
    /// It acts as the leader, whether or not it still is.
    pub acts_as_leader: bool,
    /// Its store.
    pub kv: Arc<SimKv>,
    /// Its catalog.
    pub machine: Machine<Arc<SimKv>>,
    /// How many entries of the log it has applied.
    pub applied: usize,
    /// Nodes that have failed it, and until when it does not ask them first.
    pub shunned: BTreeMap<NodeId, Time>,
    /// Nodes that its repair got no answer from, and since when.
    pub silent: BTreeMap<NodeId, Time>,
}

impl Gateway {
    fn new() -> Self {
        let kv = Arc::new(SimKv::default());
        Self {
            up: true,
            stalled_until: 0,
            offset_ms: 0,
            acts_as_leader: false,
            machine: Machine::new(kv.clone()),
            kv,
            applied: 0,
            shunned: BTreeMap::new(),
            silent: BTreeMap::new(),
        }
    }
}

/// What a run is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Print the trace.
    pub verbose: bool,
    /// Plant a bug.
    pub mutation: Option<Mutation>,
}

/// Everything there is.
pub struct World {
    /// What is to come.
    pub agenda: Agenda,
    /// The source of choices.
    pub rng: Rng,
    /// The source of ids and keys.
    pub random: Arc<SeededRandom>,
    /// What happened.
    pub trace: Trace,
    /// The storage nodes, those that were lost too.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// The replicated log.
    pub log: Log,
    /// What must be so.
    pub oracle: Oracle,
    /// Who can't hear whom.
    pub cuts: BTreeSet<(Party, Party)>,
    /// Whether messages may be lost and come twice.
    pub faults: bool,
    /// Gateways that have just crashed.
    pub crashed: Vec<GatewayIx>,
    /// The promise that was broken.
    pub violation: Option<Violation>,
    /// The bug that was planted.
    pub mutation: Option<Mutation>,
    /// Wraps data keys.
    pub bucket_key: Key,
    /// The erasure coder.
    pub coder: Coder,
    /// How objects are coded.
    pub code: Code,
    /// How many racks the nodes stand in; 0: each stands alone.
    pub racks: u64,
    seed: u64,
}

/// What is done with a node's answer.
pub type Reply = Box<dyn FnOnce(&mut World, Answer)>;

impl World {
    /// The world of a seed, with as many nodes and gateways as it says.
    pub fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::new(seed);
        let gateways = (0..rng.range(1, 4)).map(|_| Gateway::new()).collect();
        let count = u8::try_from(rng.range(6, 10)).unwrap_or(6);
        let racks = rng.range(0, 5);
        let code = rng.pick(&CODES).and_then(|(k, m)| Code::new(k, m).ok());
        let nodes = (1..=count).map(Node::new).map(|n| (n.id, n)).collect();
        Self {
            agenda: Agenda::default(),
            rng,
            random: Arc::new(SeededRandom::new(seed)),
            trace: Trace::new(options.verbose),
            nodes,
            gateways,
            log: Log::default(),
            oracle: Oracle::default(),
            cuts: BTreeSet::new(),
            faults: true,
            crashed: Vec::new(),
            violation: None,
            mutation: options.mutation,
            bucket_key: Key::from_bytes([7; 32]),
            coder: Coder::default(),
            racks,
            code: code.unwrap_or(Code::DEFAULT),
            seed,
        }
    }

    /// Notes an event.
    pub fn note(&mut self, blob: Option<BlobId>, event: std::fmt::Arguments<'_>) {
        self.trace.note(self.agenda.now(), blob, event);
    }

    /// A promise is broken. The first one counts.
    pub fn violate(&mut self, invariant: Invariant, blob: Option<BlobId>, detail: String) {
        if self.violation.is_none() {
            let (seed, step) = (self.seed, self.trace.steps());
            let recent = self.trace.recent(blob);
            self.violation = Some(Violation { seed, step, invariant, detail, recent });
        }
    }

    /// Whether a bug is planted.
    pub fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// 16 random bytes, for an id.
    pub fn id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.rng.draw().to_be_bytes());
        id[8..].copy_from_slice(&self.rng.draw().to_be_bytes());
        id
    }

    /// What a gateway's clock shows, in ms since the Unix epoch.
    pub fn clock(&self, gateway: GatewayIx) -> u64 {
        let now = EPOCH_MS + self.agenda.now() / MS;
        self.gateways.get(gateway).map_or(now, |g| now.saturating_add_signed(g.offset_ms))
    }

    /// For how long a gateway still stands still.
    pub fn stalled_for(&self, gateway: GatewayIx) -> Option<Time> {
        let until = self.gateways.get(gateway)?.stalled_until;
        until.checked_sub(self.agenda.now()).filter(|t| *t > 0)
    }

    /// Whether two parties can't hear each other.
    pub fn is_cut(&self, a: Party, b: Party) -> bool {
        self.cuts.contains(&(a.min(b), a.max(b)))
    }

    /// How long a message takes: mostly short, now and then very long.
    pub fn delay(&mut self) -> Time {
        if self.faults && self.rng.chance(15) {
            self.rng.range(50 * MS, 900 * MS)
        } else {
            self.rng.range(MS / 5, 3 * MS)
        }
    }

    /// The name that a shard has on nodes.
    pub fn name(&self, key: ShardKey) -> ShardKey {
        match self.mutation {
            Some(Mutation::NoGenerations) => ShardKey { generation: 0, ..key },
            _ => key,
        }
    }

    /// Asks a node. There may be no answer at all.
    pub fn send(&mut self, from: GatewayIx, to: NodeId, request: Request, reply: Reply) {
        let request = self.rename(request);
        let changes = matches!(request, Request::Put(..) | Request::Delete(..));
        if self.is_cut(Party::Gateway(from), Party::Node(to)) || (self.faults && self.rng.chance(3))
        {
            return;
        }
        if changes && self.faults && self.rng.chance(5) {
            // A process that stood still, or a copy of a message, comes much later.
            let (late, again) = (self.rng.range(SECOND, 20 * SECOND), request.clone());
            self.agenda.after(late, move |w| w.arrive(from, to, again, Box::new(|_, _| {})));
        }
        let delay = self.delay();
        self.agenda.after(delay, move |w| w.arrive(from, to, request, reply));
    }

    fn rename(&self, request: Request) -> Request {
        match request {
            Request::Put(key, info, bytes) => Request::Put(self.name(key), info, bytes),
            Request::Get(key, blocks) => Request::Get(self.name(key), blocks),
            Request::Delete(keys, why) => {
                Request::Delete(keys.into_iter().map(|k| self.name(k)).collect(), why)
            }
            Request::List => Request::List,
        }
    }

    fn arrive(&mut self, from: GatewayIx, to: NodeId, request: Request, reply: Reply) {
        let changes = matches!(request, Request::Put(..) | Request::Delete(..));
        let service =
            if changes { self.rng.range(MS, 8 * MS) } else { self.rng.range(MS / 5, 2 * MS) };
        let Some(node) = self.nodes.get_mut(&to) else { return };
        if !node.up || node.lost {
            let refused = Answer::Failed(ShardError::Unreachable("connection refused".into()));
            return self.answer(from, to, refused, reply);
        }
        let (epoch, service) = (node.epoch, service * node.slowness);
        if self.has(Mutation::AckBeforeFsync)
            && let Request::Put(..) = request
        {
            self.answer(from, to, Answer::Done, reply);
            return self
                .agenda
                .after(service, move |w| w.finish(from, to, epoch, request, Box::new(|_, _| {})));
        }
        self.agenda.after(service, move |w| w.finish(from, to, epoch, request, reply));
    }

    fn finish(&mut self, from: GatewayIx, to: NodeId, epoch: u64, request: Request, reply: Reply) {
        let Some(node) = self.nodes.get_mut(&to).filter(|n| n.epoch == epoch && n.up) else {
            return;
        };
        let name = node.name.clone();
        let answer = node.serve(request.clone());
        match request {
            Request::Put(key, ..) => {
                self.note(Some(key.blob), format_args!("{name} put {key}: {}", brief(&answer)));
                if matches!(answer, Answer::Done) {
                    self.oracle.stored(to, key);
                }
            }
            Request::Delete(keys, why) => {
                for key in keys {
                    self.note(Some(key.blob), format_args!("{name} delete {key} ({why:?})"));
                    self.deleted(to, key);
                }
            }
            Request::Get(key, _) => {
                self.note(Some(key.blob), format_args!("{name} get {key}: {}", brief(&answer)));
            }
            Request::List => self.note(None, format_args!("{name} list")),
        }
        self.answer(from, to, answer, reply);
    }

    fn answer(&mut self, from: GatewayIx, to: NodeId, answer: Answer, reply: Reply) {
        let delay = self.delay();
        self.agenda.after(delay, move |w| {
            if !w.is_cut(Party::Gateway(from), Party::Node(to)) {
                reply(w, answer);
            }
        });
    }

    fn deleted(&mut self, node: NodeId, key: ShardKey) {
        let needed = self.oracle.needs(node, key, |k| self.name(k));
        if needed {
            let detail = format!("{key} was deleted from {node}, where its manifest says it is");
            self.violate(Invariant::LiveShardDeleted, Some(key.blob), detail);
        }
        self.oracle.deleted(node, key);
    }
}

fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Done | Answer::Bytes(_) | Answer::Names(..) => "ok".into(),
        Answer::Failed(error) => error.to_string(),
    }
}

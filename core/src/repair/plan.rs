//! The steps that a chunk needs.
//!
//! Placement says which nodes are wanted for a chunk, with what is known now: the same answer that
//! a write would get. It is taken as a set: a shard on a wanted node stays, whatever its number. So
//! only as many shards move as the chunk's nodes differ from those that are wanted, and a chunk on
//! which every step was taken needs none.

use crate::erasure::Code;
use crate::ids::NodeId;
use crate::manifest::{ChunkRef, Move, Part};
use crate::placement::{ClusterMap, NodeState};
use crate::shard::ShardKey;
use serde::{Deserialize, Serialize};

/// What is known of a node in the cluster map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It answers and takes shards.
    Up,
    /// It answers much later than the others.
    Slow,
    /// It answers, and takes no new shards.
    Full,
    /// It does not answer, but may soon: what it holds is left where it is.
    Away,
    /// It has not answered for so long that what it held is rebuilt on other nodes.
    Lost,
}

impl Standing {
    /// Whether it can be given shards.
    pub fn takes_shards(self) -> bool {
        matches!(self, Self::Up | Self::Slow)
    }

    /// Whether it can be asked for shards.
    pub fn answers(self) -> bool {
        matches!(self, Self::Up | Self::Slow | Self::Full)
    }
}

/// What comes first. Less is more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// Shards are missing.
    Missing {
        /// How many more may be lost before the chunk can't be read.
        spare: u8,
    },
    /// All shards are there, but not all where they belong.
    Misplaced,
}

/// One shard's repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Write it again under the same name on the node that lost or damaged it.
    Rewrite {
        /// The shard's number.
        index: u8,
        /// The node.
        node: NodeId,
    },
    /// Rebuild it from others, elsewhere.
    Rebuild(Move),
    /// Copy it from where it is.
    Copy(Move),
}

impl Step {
    /// The number of the shard that it is about.
    pub fn index(&self) -> u8 {
        match self {
            Self::Rewrite { index, .. } => *index,
            Self::Rebuild(step) | Self::Copy(step) => step.index,
        }
    }
}

/// What a chunk needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkPlan {
    /// The chunk's number within the part.
    pub chunk: u32,
    /// How soon.
    pub urgency: Urgency,
    /// Sound shards on nodes that answer.
    pub available: usize,
    /// How many of them it takes to read the chunk.
    pub needed: usize,
    /// What can be done now; the order is that in which it is to be done.
    pub steps: Vec<Step>,
    /// Shards that are missing and that no node can take now.
    pub unplaced: usize,
}

impl ChunkPlan {
    /// Whether the chunk can be read now.
    pub fn is_readable(&self) -> bool {
        self.available >= self.needed
    }
}

/// What plans are made from.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// The present cluster map.
    pub map: &'a ClusterMap,
    /// What is known of a node in it.
    pub standing: &'a dyn Fn(NodeId) -> Standing,
    /// Whether a node was found to have lost or damaged a shard that it should have.
    pub is_bad: &'a dyn Fn(NodeId, ShardKey) -> bool,
}

/// How a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Sound(NodeId),
    /// On a node that does not answer now.
    Away(NodeId),
    /// Its node answers, but does not have it as it was stored.
    Bad(NodeId),
    /// Never written, or on a node that does not come back.
    Missing,
}

impl Situation<'_> {
    /// What the chunks of a part need, in the order of their numbers. Empty: all is as it should be.
    pub fn plan_part(&self, part: &Part) -> Vec<ChunkPlan> {
        part.chunks().filter_map(|chunk| self.plan(chunk)).collect()
    }

    /// What a chunk needs; `None` when all is as it should be, or may be soon without help.
    pub fn plan(&self, chunk: ChunkRef<'_>) -> Option<ChunkPlan> {
        let code = chunk.chunk.shape.code();
        let conditions: Vec<Condition> = indices(chunk).map(|i| self.condition(chunk, i)).collect();
        let sound = |c: &&Condition| matches!(c, Condition::Sound(_));
        let mut draft = Draft::new(self, chunk, &conditions);
        draft.mend(code);
        draft.rearrange();
        let Draft { steps, unplaced, mended, .. } = draft;
        if steps.is_empty() && unplaced == 0 {
            return None;
        }
        let available = conditions.iter().filter(sound).count();
        let spare = u8::try_from(available.saturating_sub(code.k())).unwrap_or(u8::MAX);
        let urgency = match mended + unplaced {
            0 => Urgency::Misplaced,
            _ => Urgency::Missing { spare },
        };
        let needed = code.k();
        Some(ChunkPlan { chunk: chunk.position.chunk, urgency, available, needed, steps, unplaced })
    }

    /// The shards of a chunk that may be read, the best first: data shards before parity, and slow
    /// nodes last.
    pub fn sources(&self, chunk: ChunkRef<'_>) -> Vec<u8> {
        let mut sources: Vec<(bool, u8)> = indices(chunk)
            .filter_map(|i| match self.condition(chunk, i) {
                Condition::Sound(node) => Some(((self.standing)(node) == Standing::Slow, i)),
                _ => None,
            })
            .collect();
        sources.sort_unstable();
        sources.into_iter().map(|(_, i)| i).collect()
    }

    fn condition(&self, chunk: ChunkRef<'_>, index: u8) -> Condition {
        let Some(node) = chunk.node_of(index.into()) else { return Condition::Missing };
        match self.map.get(node).map(|n| n.state) {
            None | Some(NodeState::Gone) => return Condition::Missing,
            Some(NodeState::Active | NodeState::Draining) => {}
        }
        match (self.standing)(node) {
            Standing::Lost => Condition::Missing,
            Standing::Away => Condition::Away(node),
            _ if (self.is_bad)(node, chunk.key(index)) => Condition::Bad(node),
            _ => Condition::Sound(node),
        }
    }

    fn takes_shards(&self, node: NodeId) -> bool {
        (self.standing)(node).takes_shards()
    }

    fn is_draining(&self, node: NodeId) -> bool {
        self.map.get(node).is_some_and(|n| n.state == NodeState::Draining)
    }
}

fn indices(chunk: ChunkRef<'_>) -> std::ops::Range<u8> {
    0..u8::try_from(chunk.shards()).unwrap_or(u8::MAX)
}

/// A plan in the making.
struct Draft<'a> {
    situation: &'a Situation<'a>,
    chunk: ChunkRef<'a>,
    /// Who holds each shard when all steps so far have been taken.
    holders: Vec<Option<NodeId>>,
    /// Wanted nodes that have no shard yet; a node that is wanted for two is listed twice.
    free: Vec<NodeId>,
    /// Shards that must be rebuilt on another node.
    missing: Vec<u8>,
    /// Shards on nodes where they are not wanted.
    misplaced: Vec<(u8, NodeId)>,
    steps: Vec<Step>,
    /// How many of the steps bring back what was missing.
    mended: usize,
    unplaced: usize,
}

impl<'a> Draft<'a> {
    fn new(situation: &'a Situation<'a>, chunk: ChunkRef<'a>, conditions: &[Condition]) -> Self {
        let (blob, code) = (chunk.key(0).blob, chunk.chunk.shape.code());
        let there = |id| (situation.standing)(id) != Standing::Lost;
        let wanted = situation.map.place(blob, chunk.position.chunk, code, 1, there).ok();
        let mut draft = Self {
            situation,
            chunk,
            holders: Vec::new(),
            // With too few nodes for the code, whoever has a shard keeps it.
            free: wanted.clone().unwrap_or_default(),
            missing: Vec::new(),
            misplaced: Vec::new(),
            steps: Vec::new(),
            mended: 0,
            unplaced: 0,
        };
        for (index, condition) in indices(chunk).zip(conditions) {
            let (Condition::Sound(node) | Condition::Away(node) | Condition::Bad(node)) =
                *condition
            else {
                draft.missing.push(index);
                draft.holders.push(None);
                continue;
            };
            let stays = match draft.free.iter().position(|id| *id == node) {
                Some(at) => {
                    draft.free.remove(at);
                    true
                }
                None => wanted.is_none(),
            };
            let is_bad = matches!(condition, Condition::Bad(_));
            match (stays, is_bad) {
                (true, false) => {}
                (true, true) if situation.takes_shards(node) => {
                    draft.steps.push(Step::Rewrite { index, node });
                    draft.mended += 1;
                }
                (_, true) => draft.missing.push(index),
                (false, false) => draft.misplaced.push((index, node)),
            }
            let leaves = draft.missing.last() == Some(&index);
            draft.holders.push((!leaves).then_some(node));
        }
        draft
    }

    /// Finds nodes for the shards that are missing.
    fn mend(&mut self, code: Code) {
        let (situation, chunk) = (self.situation, self.chunk);
        for index in std::mem::take(&mut self.missing) {
            let takes = |id: NodeId| situation.takes_shards(id);
            let home = self.free.iter().position(|id| takes(*id)).map(|at| self.free.remove(at));
            let to = home.or_else(|| {
                let (blob, number) = (chunk.key(0).blob, chunk.position.chunk);
                situation.map.place_one(blob, number, code, &self.holders, takes)
            });
            match to.and_then(|to| self.step(index, to)) {
                Some(step) => {
                    self.holders[usize::from(index)] = Some(step.to);
                    self.steps.push(Step::Rebuild(step));
                    self.mended += 1;
                }
                None => self.unplaced += 1,
            }
        }
    }

    /// Moves what is misplaced, as long as shards do not crowd together more than before; only a
    /// node that drains is left at any rate.
    fn rearrange(&mut self) {
        let situation = self.situation;
        self.free.retain(|id| situation.takes_shards(*id));
        self.misplaced.retain(|(_, from)| (situation.standing)(*from).answers());
        while let Some((at, slot)) = self.best_move() {
            let (index, from) = self.misplaced.remove(at);
            let to = self.free[slot];
            let now = situation.map.crowding(&self.holders);
            let after = situation.map.crowding(&self.with(index, to));
            if after > now && !situation.is_draining(from) {
                continue;
            }
            if let Some(step) = self.step(index, to) {
                self.free.remove(slot);
                self.holders[usize::from(index)] = Some(to);
                self.steps.push(Step::Copy(step));
            }
        }
    }

    /// The move that leaves shards the least crowded, from draining nodes first.
    fn best_move(&self) -> Option<(usize, usize)> {
        let situation = self.situation;
        let pairs = (0..self.misplaced.len())
            .flat_map(|at| (0..self.free.len()).map(move |slot| (at, slot)));
        pairs.min_by_key(|(at, slot)| {
            let (index, from) = self.misplaced[*at];
            let crowding = situation.map.crowding(&self.with(index, self.free[*slot]));
            (!situation.is_draining(from), crowding)
        })
    }

    fn with(&self, index: u8, to: NodeId) -> Vec<Option<NodeId>> {
        let mut holders = self.holders.clone();
        holders[usize::from(index)] = Some(to);
        holders
    }

    /// The step that takes a shard to a node; `None` if its name has no next generation.
    fn step(&self, index: u8, to: NodeId) -> Option<Move> {
        let step = Move {
            chunk: self.chunk.position.chunk,
            index,
            from: self.chunk.node_of(index.into()),
            generation: self.chunk.key(index).generation,
            to,
        };
        step.next().map(|_| step)
    }
}

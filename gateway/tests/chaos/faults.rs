//! What goes wrong, and when: all of it follows from the dice.

use super::support::dice::Dice;
use super::support::processes::Member;
use std::collections::BTreeSet;
use std::time::Duration;

/// As many nodes may fail as the code has parity shards.
const NODES: usize = 2;
/// How many faults are drawn until one fits in with the others.
const TRIES: usize = 4;

/// Something that goes wrong, and is well again after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`.
    Kill(Victim),
    /// It stands still, as after SIGSTOP.
    Stop(Victim),
    /// Nothing that others send it arrives, and nothing that it sends.
    Isolate(Member),
    /// The same between two of them.
    Cut(Member, Member),
    /// So many bytes are left on the disk of a node.
    Fill { node: usize, free: u64 },
    /// The time of day is off.
    Jump { member: Member, seconds: i64 },
    /// So many bytes of a node's volumes change while it runs.
    Rot { node: usize, bytes: u64 },
    /// The same of a node that is killed.
    KillAndRot { node: usize, bytes: u64 },
}

/// Whom it befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    One(Member),
    /// The gateway that leads then.
    Leader,
}

/// A fault and its time, counted from the beginning of the round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) fault: Fault,
}

/// What can be done on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means {
    pub(crate) gateways: usize,
    pub(crate) nodes: usize,
    pub(crate) jumps: bool,
    pub(crate) fills: bool,
}

impl Fault {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Kill(Victim::Leader) => "leading gateway killed",
            Self::Kill(Victim::One(Member::Gateway(_))) => "gateway killed",
            Self::Kill(Victim::One(Member::Node(_))) => "node killed",
            Self::Stop(Victim::Leader) => "leading gateway stopped",
            Self::Stop(Victim::One(Member::Gateway(_))) => "gateway stopped",
            Self::Stop(Victim::One(Member::Node(_))) => "node stopped",
            Self::Isolate(Member::Gateway(_)) => "gateway isolated",
            Self::Isolate(Member::Node(_)) => "node isolated",
            Self::Cut(_, Member::Gateway(_)) => "gateway cut off from a gateway",
            Self::Cut(_, Member::Node(_)) => "gateway cut off from a node",
            Self::Fill { .. } => "disk full",
            Self::Jump { .. } => "clock jumped",
            Self::Rot { .. } => "bytes flipped under a node",
            Self::KillAndRot { .. } => "node killed, bytes flipped",
        }
    }

    /// The members that serve no more, or not all of the others. `None` stands for the leader.
    fn impairs(&self) -> Vec<Option<Member>> {
        match *self {
            Self::Kill(Victim::Leader) | Self::Stop(Victim::Leader) => vec![None],
            Self::Kill(Victim::One(member)) | Self::Stop(Victim::One(member)) => vec![Some(member)],
            Self::Isolate(member) | Self::Jump { member, .. } => vec![Some(member)],
            Self::Cut(one, other) => vec![Some(one), Some(other)],
            Self::Fill { node, .. } | Self::KillAndRot { node, .. } => {
                vec![Some(Member::Node(node))]
            }
            Self::Rot { .. } => Vec::new(),
        }
    }
}

/// The faults of a round, by time. No more than two nodes are impaired at a time, one of which is
/// the only one whose bytes change in this round.
pub(crate) fn plan(length: Duration, means: Means, dice: &mut Dice) -> Vec<Planned> {
    let rotten = below(dice, means.nodes);
    let mut round: Vec<Planned> = Vec::new();
    let mut now = Duration::ZERO;
    while now < length {
        now += millis(dice, 200..1_500);
        for _ in 0..TRIES {
            let planned = draw(now, rotten, means, dice);
            // At times two of three gateways are away, and the third can do nothing.
            let gateways = if dice.below(8) == 0 { 2 } else { 1 };
            if fits(&planned, &round, rotten, gateways) {
                round.push(planned);
                break;
            }
        }
    }
    round
}

/// Whether a fault may be added to what happens at the same time.
fn fits(planned: &Planned, round: &[Planned], rotten: usize, gateways: usize) -> bool {
    // To be well again takes a moment.
    let over = |other: &&Planned| other.until + Duration::from_secs(1) < planned.from;
    let others: Vec<_> =
        round.iter().filter(|p| !over(p)).flat_map(|p| p.fault.impairs()).collect();
    let own = planned.fault.impairs();
    if own.iter().any(|member| others.contains(member)) {
        return false;
    }
    let all: BTreeSet<_> = others.into_iter().chain(own).collect();
    let is_node = |member: &&Option<Member>| matches!(member, Some(Member::Node(_)));
    let rotten = Some(Member::Node(rotten));
    let nodes = all.iter().filter(is_node).chain([&rotten]).collect::<BTreeSet<_>>().len();
    let ours = all.iter().filter(|member| !is_node(member)).count();
    nodes <= NODES && ours <= gateways
}

fn draw(from: Duration, rotten: usize, means: Means, dice: &mut Dice) -> Planned {
    let lasts = match dice.below(4) {
        // Longer than a gateway waits for a node before it takes it for lost.
        0 => millis(dice, 9_000..14_000),
        _ => millis(dice, 300..5_000),
    };
    Planned { from, until: from + lasts, fault: draw_fault(rotten, means, dice) }
}

fn draw_fault(rotten: usize, means: Means, dice: &mut Dice) -> Fault {
    let gateway = Member::Gateway(below(dice, means.gateways));
    let node = below(dice, means.nodes);
    let member = if dice.below(2) == 0 { gateway } else { Member::Node(node) };
    let bytes = 1 + dice.below(40);
    match dice.below(20) {
        3 => Fault::Kill(Victim::Leader),
        4..6 => Fault::Stop(Victim::One(member)),
        6 => Fault::Stop(Victim::Leader),
        7..9 => Fault::Isolate(member),
        9..12 => {
            let other = Member::Gateway(below(dice, means.gateways));
            let other = if other == gateway { Member::Node(node) } else { other };
            Fault::Cut(gateway, if dice.below(2) == 0 { other } else { Member::Node(node) })
        }
        12..15 if means.fills => {
            // Nothing at all is left, or less than the node wants to keep free.
            Fault::Fill { node, free: *dice.pick(&[0, 0, 100_000, 4 << 20]) }
        }
        15..18 if means.jumps => {
            let seconds = *dice.pick(&[2, 30, 600, 3_600, 72_000]);
            Fault::Jump { member, seconds: if dice.below(2) == 0 { seconds } else { -seconds } }
        }
        18 => Fault::Rot { node: rotten, bytes },
        19 => Fault::KillAndRot { node: rotten, bytes },
        _ => Fault::Kill(Victim::One(member)),
    }
}

fn below(dice: &mut Dice, count: usize) -> usize {
    dice.below(count as u64) as usize
}

fn millis(dice: &mut Dice, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(range.start + dice.below(range.end - range.start))
}

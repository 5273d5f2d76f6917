//! The cluster, and all that can be done to it.

use super::clocks::{Clocks, Leftovers};
use super::disks::{self, Disks, Lengths};
use super::faults::{Fault, Means, Planned, Victim};
use super::load::{BUCKET, Door};
use super::proxies::Network;
use super::support::dice::Dice;
use super::support::processes::{Member, Processes, free_ports};
use super::support::signed::Signed;
use super::tally::Tally;
use coffer_client::{Credentials, Http3, TokenRequest, Verb};
use coffer_node::service::{NodeClient, RemoteNode};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const GATEWAYS: usize = 3;
/// Two more than a chunk has shards, so that each finds a place with two nodes away.
const NODES: usize = 8;

/// What is said in each node.toml, beside its id: small volumes, and every byte is verified all the
/// time.
const NODE: &str = "volume_size = 1048576\nreserve_bytes = 8388608\nscrub_days = 0.0001\n\
                    scrub_mib_per_second = 64\nsmart_minutes = 0\n";

/// What is said in each gateway.toml otherwise than by default: nodes are soon taken for lost, and
/// data that nobody needs is soon gone.
const GATEWAY: [(&str, &str); 2] = [("node_patience_seconds", "8"), ("garbage_grace_seconds", "3")];

/// The cluster.
pub(crate) struct World {
    // Unmounted before their directory is deleted.
    disks: Disks,
    pub(crate) cluster: Processes,
    network: Network,
    clocks: Clocks,
    /// After the processes have been killed.
    leftovers: Leftovers,
    pub(crate) nodes: Vec<RemoteNode>,
    /// What each node held when all was whole. Only that changes by itself: of a chunk that is being
    /// written, shards may lack or share a node, so that it could not bear more.
    pub(crate) settled: Vec<Lengths>,
    /// Nodes whose bytes have changed since then.
    pub(crate) rotten: BTreeSet<usize>,
    tally: Arc<Tally>,
    dice: Dice,
}

/// A fault that has been brought about.
struct Under {
    fault: Fault,
    /// Whom it has befallen.
    victim: Option<Member>,
}

impl World {
    pub(crate) async fn start(tally: &Arc<Tally>, dice: &mut Dice) -> Self {
        let cluster = Processes::prepare(GATEWAYS, NODES).await;
        let disks = Disks::mount((0..NODES).map(|node| cluster.node_dir(node)));
        let mut targets = Vec::new();
        for (member, port) in cluster.members().into_iter().zip(free_ports(GATEWAYS + NODES)) {
            let listen = SocketAddr::from(([127, 0, 0, 1], port));
            targets.push((member, configure(&cluster, member, listen), listen));
        }
        let tls = coffer_node::rpc::MutualTls::load(cluster.gateway_dir(0), "gateway").unwrap();
        let client = NodeClient::new(&tls).unwrap();
        let nodes = targets.iter().take(NODES).map(|(member, _, listen)| {
            client.node(setting(&cluster, *member, "node_id").parse().unwrap(), &listen.to_string())
        });
        let nodes = nodes.collect();
        let network = Network::new(targets).await;
        let clocks = Clocks::new(&cluster.dir.path().join("clocks"));
        let dress = clocks.clone();
        let mut cluster = cluster.dressed(Box::new(move |member, command| {
            dress.dress(member, command);
        }));
        cluster.start_all().await;
        let mut world = Self {
            disks,
            cluster,
            network,
            clocks,
            leftovers: Leftovers::default(),
            nodes,
            settled: vec![Lengths::new(); NODES],
            rotten: BTreeSet::new(),
            tally: tally.clone(),
            dice: dice.fork(),
        };
        world.cluster.members().into_iter().for_each(|member| world.started(member));
        world
    }

    /// Takes note of a process that was started.
    fn started(&mut self, member: Member) {
        let pid = self.cluster.pid(member).unwrap();
        self.network.runs_as(member, pid);
        self.leftovers.runs_as(pid);
    }

    pub(crate) fn means(&self) -> Means {
        let (jumps, fills) = (self.clocks.can_jump(), self.disks.can_fill());
        Means { gateways: GATEWAYS, nodes: NODES, jumps, fills }
    }

    /// Makes the bucket, and doors to it: over each gateway, by HTTP/3 and HTTP/2, and with another
    /// gateway to turn to. Tokens open them whatever time a gateway takes it to be.
    pub(crate) async fn doors(&self) -> Vec<Door> {
        let root = self.cluster.client_of(0, Http3::Never);
        root.create_bucket(BUCKET).await.unwrap();
        let wanted = TokenRequest {
            name: "chaos".into(),
            bucket: Some(BUCKET.into()),
            prefix: None,
            verbs: vec![Verb::Read, Verb::Write, Verb::List, Verb::Delete],
            ttl: Duration::from_secs(7 * 24 * 3600),
        };
        let token = root.create_token(&wanted).await.unwrap().token;
        let mut doors = Vec::new();
        for gateway in 0..GATEWAYS {
            for (name, client) in [
                ("HTTP/3", self.cluster.client_of(gateway, Http3::Always)),
                ("HTTP/2", self.cluster.client_of(gateway, Http3::Never)),
                ("or another", self.cluster.client_from(gateway, Http3::Auto)),
            ] {
                let signed = Signed::over(client).speaking_for(Credentials::Token(token.clone()));
                let name = format!("gateway {}, {name}", gateway + 1);
                doors.push(Door { gateway, name, signed });
            }
        }
        doors
    }

    /// Lets a round of faults happen, and all of them end.
    pub(crate) async fn suffer(&mut self, round: &[Planned]) {
        let began = Instant::now();
        let mut events: Vec<(Duration, usize, bool)> = Vec::new();
        for (at, planned) in round.iter().enumerate() {
            events.extend([(planned.from, at, true), (planned.until, at, false)]);
        }
        events.sort_unstable();
        let mut under: BTreeMap<usize, Under> = BTreeMap::new();
        for (when, at, begins) in events {
            tokio::time::sleep_until(began + when).await;
            if begins {
                let fault = round[at].fault;
                let busy: Vec<Member> = under.values().filter_map(|u| u.victim).collect();
                if let Some(now) = self.bring_about(fault, &busy).await {
                    self.tally.fault(fault.name());
                    println!("{} {fault:?} of {:?}", super::clock_time(), now.victim);
                    under.insert(at, now);
                }
            } else if let Some(ended) = under.remove(&at) {
                self.lift(&ended);
            }
            let ended = self.cluster.ended();
            assert!(ended.is_empty(), "{ended:?} ended: {}", self.cluster.logs());
        }
    }

    /// `None`: not now, since the victim suffers already.
    async fn bring_about(&mut self, fault: Fault, busy: &[Member]) -> Option<Under> {
        let victim = match fault {
            Fault::Kill(victim) | Fault::Stop(victim) => Some(self.find(victim).await?),
            Fault::Isolate(member) | Fault::Jump { member, .. } => Some(member),
            Fault::Fill { node, .. } | Fault::KillAndRot { node, .. } => Some(Member::Node(node)),
            Fault::Cut(..) | Fault::Rot { .. } => None,
        };
        if victim.is_some_and(|victim| busy.contains(&victim)) {
            return None;
        }
        match fault {
            Fault::Kill(_) => self.cluster.kill(victim?),
            Fault::Stop(_) => self.cluster.pause(victim?, true),
            Fault::Isolate(member) => self.isolate(member, true),
            Fault::Cut(one, other) => self.network.cut(one, other, true),
            Fault::Fill { node, free } => self.disks.fill(node, free),
            Fault::Jump { member, seconds } => self.clocks.set(member, seconds),
            Fault::Rot { node, bytes } => self.rot(node, bytes),
            Fault::KillAndRot { node, bytes } => {
                self.cluster.kill(victim?);
                self.rot(node, bytes);
            }
        }
        Some(Under { fault, victim })
    }

    fn lift(&mut self, under: &Under) {
        match (under.fault, under.victim) {
            (Fault::Kill(_) | Fault::KillAndRot { .. }, Some(member)) => {
                self.cluster.spawn(member);
                self.started(member);
            }
            (Fault::Stop(_), Some(member)) => self.cluster.pause(member, false),
            (Fault::Isolate(member), _) => self.isolate(member, false),
            (Fault::Cut(one, other), _) => self.network.cut(one, other, false),
            (Fault::Fill { node, .. }, _) => self.disks.free(node),
            (Fault::Jump { member, .. }, _) => self.clocks.set(member, 0),
            _ => {}
        }
    }

    async fn find(&self, victim: Victim) -> Option<Member> {
        match victim {
            Victim::One(member) => Some(member),
            Victim::Leader => {
                let leader = tokio::time::timeout(Duration::from_secs(2), self.cluster.leader());
                leader.await.ok().map(Member::Gateway)
            }
        }
    }

    fn isolate(&self, member: Member, cut: bool) {
        for other in self.cluster.members() {
            if other != member {
                self.network.cut(member, other, cut);
            }
        }
    }

    fn rot(&mut self, node: usize, bytes: u64) {
        let flipped = disks::flip(&self.settled[node], bytes, &mut self.dice);
        self.rotten.insert(node);
        println!("{} {flipped} bytes flipped on node {}", super::clock_time(), node + 1);
    }

    /// What each node holds now.
    pub(crate) fn lengths(&self) -> Vec<Lengths> {
        (0..NODES).map(|node| disks::lengths(&self.cluster.node_dir(node))).collect()
    }
}

/// Has a member listen where its proxy sends to. Returns where others were told that it listens.
fn configure(cluster: &Processes, member: Member, listen: SocketAddr) -> SocketAddr {
    let name = if matches!(member, Member::Node(_)) { "listen" } else { "peer_listen" };
    let front = setting(cluster, member, name);
    let path = file(cluster, member);
    let mut text = std::fs::read_to_string(&path).unwrap();
    text = text.replace(&format!("{name} = \"{front}\""), &format!("{name} = \"{listen}\""));
    match member {
        Member::Node(_) => text += NODE,
        Member::Gateway(_) => {
            for (name, value) in GATEWAY {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
                text = text.replace(&line, &format!("{name} = {value}"));
            }
        }
    }
    std::fs::write(&path, text).unwrap();
    front.parse().unwrap()
}

/// A setting in quotes, of a member's configuration.
fn setting(cluster: &Processes, member: Member, name: &str) -> String {
    let text = std::fs::read_to_string(file(cluster, member)).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

fn file(cluster: &Processes, member: Member) -> std::path::PathBuf {
    match member {
        Member::Gateway(gateway) => cluster.gateway_dir(gateway).join("gateway.toml"),
        Member::Node(node) => cluster.node_dir(node).join("node.toml"),
    }
}

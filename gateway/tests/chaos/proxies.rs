//! The network between the processes: each of them is reached through a proxy, which drops what it
//! is told to drop.
//!
//! A gateway's datagrams come from ports that the system has picked. Whose a port is, the system
//! tells in `/proc`.

use super::support::processes::Member;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The longest datagram.
const LONGEST: usize = 65_536;

/// All proxies. They end when this is dropped.
pub(crate) struct Network {
    rules: Arc<Rules>,
    _proxies: JoinSet<()>,
}

/// What is dropped, and who runs as which process.
#[derive(Default)]
struct Rules {
    cut: Mutex<BTreeSet<(Member, Member)>>,
    processes: Mutex<BTreeMap<Member, u32>>,
}

impl Rules {
    fn drops(&self, one: Option<Member>, other: Member) -> bool {
        let cut = self.cut.lock().unwrap();
        one.is_some_and(|one| cut.contains(&(one, other)) || cut.contains(&(other, one)))
    }

    /// Whose socket has a local port. Sockets of the test itself are nobody's.
    fn owner(&self, port: u16) -> Option<Member> {
        let inode = inode_of(port)?;
        let link = format!("socket:[{inode}]");
        let processes = self.processes.lock().unwrap().clone();
        let owner = processes.into_iter().find(|(_, pid)| has_open(*pid, &link));
        owner.map(|(member, _)| member)
    }
}

impl Network {
    /// Proxies from the addresses that others are told to the ones where the members listen.
    pub(crate) async fn new(targets: Vec<(Member, SocketAddr, SocketAddr)>) -> Self {
        let (rules, mut proxies) = (Arc::new(Rules::default()), JoinSet::new());
        for (member, front, target) in targets {
            let front = Arc::new(UdpSocket::bind(front).await.unwrap());
            proxies.spawn(serve(member, front, target, rules.clone()));
        }
        Self { rules, _proxies: proxies }
    }

    /// Takes note of a process that was started.
    pub(crate) fn runs_as(&self, member: Member, pid: u32) {
        self.rules.processes.lock().unwrap().insert(member, pid);
    }

    /// Drops all that two members say to each other, or lets it through again.
    pub(crate) fn cut(&self, one: Member, other: Member, cut: bool) {
        let mut all = self.rules.cut.lock().unwrap();
        if cut {
            all.insert((one, other));
        } else {
            all.remove(&(one, other));
        }
    }
}

/// The way from one port to a member and back.
struct Flow {
    from: Option<Member>,
    socket: Arc<UdpSocket>,
}

async fn serve(member: Member, front: Arc<UdpSocket>, target: SocketAddr, rules: Arc<Rules>) {
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let (mut back, mut buffer) = (JoinSet::new(), vec![0; LONGEST]);
    loop {
        // An error tells of a datagram that was sent before.
        let Ok((len, peer)) = front.recv_from(&mut buffer).await else { continue };
        let flow = match flows.entry(peer) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                socket.connect(target).await.unwrap();
                let from = rules.owner(peer.port());
                let answers = (front.clone(), socket.clone(), rules.clone());
                back.spawn(answer(member, from, peer, answers));
                new.insert(Flow { from, socket })
            }
        };
        if !rules.drops(flow.from, member) {
            // A member that is down is what others find out by themselves.
            let _ = flow.socket.send(&buffer[..len]).await;
        }
    }
}

async fn answer(
    member: Member,
    to: Option<Member>,
    peer: SocketAddr,
    (front, socket, rules): (Arc<UdpSocket>, Arc<UdpSocket>, Arc<Rules>),
) {
    let mut buffer = vec![0; LONGEST];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(len) if !rules.drops(to, member) => {
                let _ = front.send_to(&buffer[..len], peer).await;
            }
            Ok(_) => {}
            // Nobody listens there now.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    }
}

/// The inode of the UDP socket that is bound to a local port.
fn inode_of(port: u16) -> Option<u64> {
    let wanted = format!(":{port:04X}");
    ["/proc/net/udp", "/proc/net/udp6"].iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace();
            let is_it = fields.nth(1).is_some_and(|local| local.ends_with(&wanted));
            is_it.then(|| fields.nth(7)?.parse().ok()).flatten()
        })
    })
}

fn has_open(pid: u32, link: &str) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|l| l == Path::new(link)))
}

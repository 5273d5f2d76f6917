//! The network between the processes: each of them is reached through a proxy, which keeps to itself
//! what it is told not to let through.
//!
//! A gateway's connections come from ports that the system has picked. Whose a port is, the system
//! tells in `/proc`.

use super::support::processes::Member;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Bytes that are brought across at a time.
const PIECE: usize = 65_536;

/// All proxies. They end when this is dropped.
pub(crate) struct Network {
    rules: Arc<Rules>,
    _proxies: JoinSet<()>,
}

/// What is kept back, and who runs as which process.
#[derive(Default)]
struct Rules {
    cut: Mutex<BTreeSet<(Member, Member)>>,
    processes: Mutex<BTreeMap<Member, u32>>,
}

impl Rules {
    fn keeps_back(&self, one: Option<Member>, other: Member) -> bool {
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
            let front = TcpListener::bind(front).await.unwrap();
            proxies.spawn(serve(member, front, target, rules.clone()));
        }
        Self { rules, _proxies: proxies }
    }

    /// Takes note of a process that was started.
    pub(crate) fn runs_as(&self, member: Member, pid: u32) {
        self.rules.processes.lock().unwrap().insert(member, pid);
    }

    /// Keeps back all that two members say to each other, or lets it through again.
    pub(crate) fn cut(&self, one: Member, other: Member, cut: bool) {
        let mut all = self.rules.cut.lock().unwrap();
        if cut {
            all.insert((one, other));
        } else {
            all.remove(&(one, other));
        }
    }
}

async fn serve(member: Member, front: TcpListener, target: SocketAddr, rules: Arc<Rules>) {
    let mut flows = JoinSet::new();
    loop {
        while flows.try_join_next().is_some() {}
        let Ok((client, peer)) = front.accept().await else { continue };
        let from = rules.owner(peer.port());
        flows.spawn(flow(member, from, client, target, rules.clone()));
    }
}

/// A connection to a member: as of a network that loses all for a while, it hangs, and goes on.
async fn flow(
    member: Member,
    from: Option<Member>,
    client: TcpStream,
    target: SocketAddr,
    rules: Arc<Rules>,
) {
    let open = async || {
        while rules.keeps_back(from, member) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    open().await;
    // A member that is down is what others find out by themselves.
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let bring = async |mut from: OwnedReadHalf, mut to: OwnedWriteHalf| {
        let mut buffer = vec![0; PIECE];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            open().await;
            if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    // When one side has closed the connection, it is of no use to the other.
    tokio::select! {
        () = bring(from_client, to_server) => {}
        () = bring(from_server, to_client) => {}
    }
}

/// The inode of the TCP socket that is bound to a local port.
fn inode_of(port: u16) -> Option<u64> {
    let wanted = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace();
            let is_it = fields.nth(1).is_some_and(|local| local.ends_with(&wanted));
            // Those that are closed have none.
            let inode = is_it.then(|| fields.nth(7)?.parse().ok()).flatten();
            inode.filter(|inode| *inode != 0)
        })
    })
}

fn has_open(pid: u32, link: &str) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|l| l == Path::new(link)))
}

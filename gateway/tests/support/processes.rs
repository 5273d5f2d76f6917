//! A cluster of real processes: gateways and storage nodes, to be killed and restarted.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coffer_client::{Client, ClientOptions, Http3, Profile, ProfileOptions, RetryPolicy};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a process may take until it serves, and a request until it counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// So many processes and their load are enough for one machine: tests take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Ports that the system gives to nobody who asks for any port, so that they are still free when a
/// process that was killed is started again.
const PORTS: Range<u16> = 10_000..32_000;

/// One of the processes, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Member {
    Gateway(usize),
    Node(usize),
}

/// Changes the command that starts a process.
type Dress = Box<dyn Fn(Member, &mut Command) + Send + Sync>;

/// The processes, in one directory. Gateways are counted from 0 here.
pub(crate) struct Processes {
    _turn: tokio::sync::MutexGuard<'static, ()>,
    pub(crate) dir: tempfile::TempDir,
    nodes: Vec<Option<Child>>,
    gateways: Vec<Gateway>,
    dress: Dress,
}

/// A gateway's directory, and its process while it runs.
struct Gateway {
    dir: PathBuf,
    child: Option<Child>,
}

impl Processes {
    /// Makes and starts a cluster with one gateway.
    pub(crate) async fn start() -> Self {
        Self::with_gateways(1).await
    }

    /// Makes and starts a cluster with six nodes.
    pub(crate) async fn with_gateways(count: usize) -> Self {
        let mut cluster = Self::prepare(count, 6).await;
        cluster.start_all().await;
        cluster
    }

    /// Makes the directories of a cluster of `count` gateways, and starts nothing.
    pub(crate) async fn prepare(count: usize, nodes: usize) -> Self {
        let turn = TURN.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports(nodes + 2 * count);
        let (nodes, gateways) = ports.split_at(nodes);
        let mut init = Command::new(binary("coffer-gateway"));
        init.arg("init").arg("--data").arg(dir.path());
        for port in nodes {
            init.arg("--node-address").arg(format!("127.0.0.1:{port}"));
        }
        match gateways {
            [listen, _] => drop(init.arg("--listen").arg(format!("127.0.0.1:{listen}"))),
            several => several.chunks(2).for_each(|ports| {
                init.arg("--gateway-address").arg(address_pair(ports));
            }),
        }
        let made = init.stdout(Stdio::null()).status().unwrap();
        assert!(made.success(), "coffer-gateway init failed");
        let name = |n| if count == 1 { "gateway".to_owned() } else { format!("gateway-{}", n + 1) };
        let gateways = (0..count).map(|n| Gateway { dir: dir.path().join(name(n)), child: None });
        let (gateways, nodes) = (gateways.collect(), nodes.iter().map(|_| None).collect());
        Self { _turn: turn, dir, nodes, gateways, dress: Box::new(|_, _| {}) }
    }

    /// Has `dress` change the commands of processes that are started from now on.
    pub(crate) fn dressed(mut self, dress: Dress) -> Self {
        self.dress = dress;
        self
    }

    /// Starts all processes and waits until all gateways serve.
    pub(crate) async fn start_all(&mut self) {
        self.members().into_iter().for_each(|member| self.spawn(member));
        for gateway in 0..self.gateways.len() {
            self.until_ready(gateway).await;
        }
    }

    /// All processes, nodes first.
    pub(crate) fn members(&self) -> Vec<Member> {
        let nodes = (0..self.nodes.len()).map(Member::Node);
        nodes.chain((0..self.gateways.len()).map(Member::Gateway)).collect()
    }

    /// Makes and starts one more gateway, which waits to be added. Returns its place here.
    pub(crate) fn another_gateway(&mut self, id: u64) -> usize {
        let dir = self.dir.path().join(format!("gateway-{id}"));
        let mut init = Command::new(binary("coffer-gateway"));
        init.arg("init-gateway").arg("--from").arg(&self.gateways[0].dir);
        init.arg("--data").arg(&dir).arg("--id").arg(id.to_string());
        init.arg("--gateway-address").arg(address_pair(&free_ports(2)));
        assert!(init.stdout(Stdio::null()).status().unwrap().success());
        self.gateways.push(Gateway { dir, child: None });
        self.spawn_gateway(self.gateways.len() - 1);
        self.gateways.len() - 1
    }

    pub(crate) fn node_dir(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("node-{}", node + 1))
    }

    pub(crate) fn start_node(&mut self, node: usize) {
        let mut command = Command::new(binary("coffer-node"));
        command.arg("--data").arg(self.node_dir(node));
        (self.dress)(Member::Node(node), &mut command);
        self.nodes[node] = Some(spawn(command, &self.dir.path().join(format!("node-{node}.log"))));
    }

    pub(crate) fn gateway_dir(&self, gateway: usize) -> &Path {
        &self.gateways[gateway].dir
    }

    /// Starts a gateway, and does not wait for it.
    pub(crate) fn spawn_gateway(&mut self, gateway: usize) {
        let log = self.dir.path().join(format!("gateway-{}.log", gateway + 1));
        let mut command = Command::new(binary("coffer-gateway"));
        command.arg("serve").arg("--data").arg(&self.gateways[gateway].dir);
        (self.dress)(Member::Gateway(gateway), &mut command);
        self.gateways[gateway].child = Some(spawn(command, &log));
    }

    /// Starts a process, and does not wait for it.
    pub(crate) fn spawn(&mut self, member: Member) {
        match member {
            Member::Gateway(gateway) => self.spawn_gateway(gateway),
            Member::Node(node) => self.start_node(node),
        }
    }

    /// Waits until a gateway serves.
    pub(crate) async fn until_ready(&self, gateway: usize) {
        let client = self.client_of(gateway, Http3::Never);
        let started = Instant::now();
        while client.list_buckets().await.is_err() {
            assert!(started.elapsed() < PATIENCE, "no gateway: {}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts the first gateway and waits until it is ready.
    pub(crate) async fn start_gateway(&mut self) {
        self.spawn_gateway(0);
        self.until_ready(0).await;
    }

    /// Makes and starts one more node. Returns its id and its address.
    pub(crate) fn new_node(&mut self) -> (String, String) {
        let dir = self.node_dir(self.nodes.len());
        let address = format!("127.0.0.1:{}", free_ports(1)[0]);
        let mut make = Command::new(binary("coffer-gateway"));
        make.arg("new-node").arg("--data").arg(&self.gateways[0].dir);
        make.arg("--node-dir").arg(&dir).arg("--address").arg(&address);
        assert!(make.stdout(Stdio::null()).status().unwrap().success());
        let text = std::fs::read_to_string(dir.join("node.toml")).unwrap();
        let id = text.split('"').nth(1).unwrap().to_owned();
        self.nodes.push(None);
        self.start_node(self.nodes.len() - 1);
        (id, address)
    }

    fn child(&mut self, member: Member) -> &mut Option<Child> {
        match member {
            Member::Gateway(gateway) => &mut self.gateways[gateway].child,
            Member::Node(node) => &mut self.nodes[node],
        }
    }

    /// The number of a process, if it was started.
    pub(crate) fn pid(&self, member: Member) -> Option<u32> {
        let child = match member {
            Member::Gateway(gateway) => &self.gateways[gateway].child,
            Member::Node(node) => &self.nodes[node],
        };
        child.as_ref().map(Child::id)
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self, member: Member) {
        kill(self.child(member));
    }

    /// The processes that have ended though nobody killed them.
    pub(crate) fn ended(&mut self) -> Vec<Member> {
        let mut ended = self.members();
        ended.retain(|member| {
            self.child(*member).as_mut().is_some_and(|c| c.try_wait().unwrap().is_some())
        });
        ended
    }

    /// As `kill -9`.
    pub(crate) fn kill_node(&mut self, node: usize) {
        kill(&mut self.nodes[node]);
    }

    /// As `kill -9`, of the first gateway.
    pub(crate) fn kill_gateway(&mut self) {
        self.kill_gateway_number(0);
    }

    /// As `kill -9`.
    pub(crate) fn kill_gateway_number(&mut self, gateway: usize) {
        kill(&mut self.gateways[gateway].child);
    }

    /// Stops a gateway where it stands, as `kill -STOP`, or lets it go on, as `kill -CONT`.
    pub(crate) fn pause_gateway(&self, gateway: usize, pause: bool) {
        self.pause(Member::Gateway(gateway), pause);
    }

    /// As [`Processes::pause_gateway`].
    pub(crate) fn pause(&self, member: Member, pause: bool) {
        let pid = self.pid(member).unwrap().to_string();
        let signal = if pause { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn gateway_pid(&self) -> u32 {
        self.gateways[0].child.as_ref().unwrap().id()
    }

    /// The gateway that leads, as the others say.
    pub(crate) async fn leader(&self) -> usize {
        let started = Instant::now();
        loop {
            for gateway in (0..self.gateways.len()).filter(|g| self.gateways[*g].child.is_some()) {
                let asked = self.client_of(gateway, Http3::Never).gateways().await;
                let leader = asked
                    .unwrap_or_default()
                    .into_iter()
                    .find(|g| g.role == coffer_client::admin::GatewayRole::Leader && g.reachable);
                let place = leader.and_then(|l| {
                    self.gateways.iter().position(|g| g.dir.ends_with(format!("gateway-{}", l.id)))
                });
                if let Some(place) = place {
                    return place;
                }
            }
            assert!(started.elapsed() < PATIENCE, "no leader: {}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A client that reports every failure at once.
    pub(crate) fn client(&self) -> Client {
        self.client_over(Http3::Auto)
    }

    /// As [`Processes::client`]. Over TCP a killed gateway is noticed at once, over QUIC only when
    /// it has been silent for a while.
    pub(crate) fn client_over(&self, http3: Http3) -> Client {
        self.client_of(0, http3)
    }

    /// As [`Processes::client_over`], of one gateway and no other.
    pub(crate) fn client_of(&self, gateway: usize, http3: Http3) -> Client {
        let mut profile = self.profile(gateway);
        profile.others.clear();
        without_retries(profile, http3)
    }

    /// As [`Processes::client_of`], but where that gateway does not answer, another is asked.
    pub(crate) fn client_from(&self, gateway: usize, http3: Http3) -> Client {
        without_retries(self.profile(gateway), http3)
    }

    /// The profile of a gateway, which names the others, too.
    pub(crate) fn profile(&self, gateway: usize) -> Profile {
        let config = Some(self.gateways[gateway].dir.join("client.toml"));
        let options = ProfileOptions { config, ..ProfileOptions::default() };
        Profile::load_with(&options, &|_| None).unwrap()
    }

    /// The ends of all logs, for a failing test's message.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.dir.path()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|e| e == "log") {
                let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(8).collect();
                text += &format!("\n{}:\n{}", entry.path().display(), tail.join("\n"));
            }
        }
        text
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if std::env::var_os("COFFER_TEST_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            println!("kept: {}", self.dir.path().display());
        }
        self.gateways.iter_mut().for_each(|gateway| kill(&mut gateway.child));
        self.nodes.iter_mut().for_each(kill);
    }
}

fn without_retries(mut profile: Profile, http3: Http3) -> Client {
    profile.http3 = http3;
    let retry = RetryPolicy::none();
    Client::with_options(profile, ClientOptions { retry, ..ClientOptions::default() }).unwrap()
}

/// As `--gateway-address` takes it.
fn address_pair(ports: &[u16]) -> String {
    format!("127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1])
}

fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        child.kill().ok();
        child.wait().ok();
    }
}

fn spawn(mut command: Command, log: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Ports that are free for TCP and UDP now. No two calls return the same.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(())));
    let room = u64::from(PORTS.end - PORTS.start);
    let next = |_| NEXT.fetch_add(1, Ordering::Relaxed) % room;
    let candidates = (0..room).map(next).map(|n| PORTS.start + u16::try_from(n).unwrap());
    let is_free = |port: &u16| {
        let address = ("127.0.0.1", *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    let ports: Vec<u16> = candidates.filter(is_free).take(count).collect();
    assert_eq!(ports.len(), count, "{PORTS:?} are in use");
    ports
}

/// A program of this workspace, built if it is not there yet.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let path = folder.join(name);
    if !path.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let package = if name == "coffer" { "coffer-client" } else { name };
        let built = Command::new(cargo).args(["build", "-p", package]).status().unwrap();
        assert!(built.success() && path.exists(), "{name} can't be built");
    }
    path
}

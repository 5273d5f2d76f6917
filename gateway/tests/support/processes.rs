//! A cluster of real processes: a gateway and six storage nodes, to be killed and restarted.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coffer_client::{Client, ClientOptions, Http3, Profile, ProfileOptions, RetryPolicy};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take until it serves, and a request until it counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Seven processes and their load are enough for one machine: tests take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The processes, in one directory.
pub(crate) struct Processes {
    _turn: tokio::sync::MutexGuard<'static, ()>,
    pub(crate) dir: tempfile::TempDir,
    nodes: Vec<Option<Child>>,
    gateway: Option<Child>,
}

impl Processes {
    /// Makes and starts a cluster.
    pub(crate) async fn start() -> Self {
        let turn = TURN.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports(7);
        let mut init = Command::new(binary("coffer-gateway"));
        init.arg("init").arg("--data").arg(dir.path());
        init.arg("--listen").arg(format!("127.0.0.1:{}", ports[6]));
        for port in &ports[..6] {
            init.arg("--node-address").arg(format!("127.0.0.1:{port}"));
        }
        let made = init.stdout(Stdio::null()).status().unwrap();
        assert!(made.success(), "coffer-gateway init failed");
        let nodes = (0..6).map(|_| None).collect();
        let mut cluster = Self { _turn: turn, dir, nodes, gateway: None };
        for node in 0..6 {
            cluster.start_node(node);
        }
        cluster.start_gateway().await;
        cluster
    }

    pub(crate) fn node_dir(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("node-{}", node + 1))
    }

    pub(crate) fn start_node(&mut self, node: usize) {
        let mut command = Command::new(binary("coffer-node"));
        command.arg("--data").arg(self.node_dir(node));
        self.nodes[node] = Some(spawn(command, &self.dir.path().join(format!("node-{node}.log"))));
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) async fn start_gateway(&mut self) {
        let mut command = Command::new(binary("coffer-gateway"));
        command.arg("serve").arg("--data").arg(self.dir.path().join("gateway"));
        self.gateway = Some(spawn(command, &self.dir.path().join("gateway.log")));
        let client = self.client_over(Http3::Never);
        let started = Instant::now();
        while client.list_buckets().await.is_err() {
            assert!(started.elapsed() < PATIENCE, "no gateway: {}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// As `kill -9`.
    pub(crate) fn kill_node(&mut self, node: usize) {
        kill(&mut self.nodes[node]);
    }

    /// As `kill -9`.
    pub(crate) fn kill_gateway(&mut self) {
        kill(&mut self.gateway);
    }

    pub(crate) fn gateway_pid(&self) -> u32 {
        self.gateway.as_ref().unwrap().id()
    }

    /// A client that reports every failure at once.
    pub(crate) fn client(&self) -> Client {
        self.client_over(Http3::Auto)
    }

    /// As [`Processes::client`]. Over TCP a killed gateway is noticed at once, over QUIC only when
    /// it has been silent for a while.
    pub(crate) fn client_over(&self, http3: Http3) -> Client {
        let retry = RetryPolicy::none();
        let options = ProfileOptions {
            config: Some(self.dir.path().join("gateway/client.toml")),
            ..ProfileOptions::default()
        };
        let mut profile = Profile::load_with(&options, &|_| None).unwrap();
        profile.http3 = http3;
        Client::with_options(profile, ClientOptions { retry, ..ClientOptions::default() }).unwrap()
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
        kill(&mut self.gateway);
        self.nodes.iter_mut().for_each(kill);
    }
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

/// Ports that are free for TCP and UDP now; asked for together, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = Vec::new();
    while held.len() < count {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)) {
            held.push((port, tcp, udp));
        }
    }
    held.into_iter().map(|(port, ..)| port).collect()
}

/// A program of this workspace, built if it is not there yet.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let path = folder.join(name);
    if !path.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let built = Command::new(cargo).args(["build", "-p", name]).status().unwrap();
        assert!(built.success() && path.exists(), "{name} can't be built");
    }
    path
}

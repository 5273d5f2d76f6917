//! The door to the catalog for the rest of the gateway.

use super::raft::commit::{ANSWER, Committed, Committer, Undone};
use super::raft::gate::Gate;
use super::raft::leader::{Leader, Place, leads};
use super::raft::link::Links;
use super::raft::members::{self, Member, MemberChange, MemberStatus};
use super::raft::network::{PeerError, PeerRequest, PeerResponse};
use super::raft::options::Options;
use super::raft::reads::Reads;
use super::raft::service::RaftService;
use super::raft::snapshot::SnapshotData;
use super::raft::types::{Encoded, GatewayId, Group, LogId, Peer, SnapshotMeta, Types};
use super::store::export::Export;
pub use super::store::state::Catalog;
use super::store::{LogStore, LsmTrees, StateMachine, States, Trees};
use crate::expected::Expected;
use coffer_core::catalog::{CatalogError, Command, KvError, Outcome, Scope};
use coffer_core::ids::BucketName;
use coffer_core::random::OsRandom;
use coffer_core::seal::{Envelope, Key};
use futures::future::BoxFuture;
use openraft::Raft;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// The pause before a leader is looked for again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a gateway may take to say how it is.
const STATUS: Duration = Duration::from_secs(2);

/// A handle on the catalog; clones share it. When the last one is gone, this gateway's member of the
/// raft stops.
#[derive(Clone)]
pub struct CatalogHandle {
    states: Arc<States>,
    log: LogStore,
    gate: Gate,
    raft: Raft<Types>,
    leader: Leader,
    expected: Expected,
    local: Committer,
    forward: Committer,
    reads: Reads,
    progress: watch::Receiver<Option<LogId>>,
    leadership: watch::Receiver<bool>,
    patience: Duration,
    _running: Arc<Running>,
}

/// Stops the raft when it is dropped.
struct Running(Option<oneshot::Sender<()>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.0.take() {
            let _ = stop.send(());
        }
    }
}

impl std::fmt::Debug for CatalogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CatalogHandle").field("applied", &*self.progress.borrow()).finish()
    }
}

fn stopped(error: impl std::fmt::Display) -> CatalogError {
    CatalogError::Stopped(error.to_string())
}

impl CatalogHandle {
    /// Opens the catalog of a lone gateway in `dir`, sealed by a key that derives from `master`.
    ///
    /// # Errors
    /// When the directory can't be used, is open elsewhere, or was sealed under another key.
    pub async fn open(dir: &Path, master: &Key) -> Result<Self, CatalogError> {
        Self::join(dir, master, Options::alone()).await
    }

    /// Opens the catalog of a member of a cluster in `dir`.
    ///
    /// # Errors
    /// As [`CatalogHandle::open`].
    pub async fn join(dir: &Path, master: &Key, options: Options) -> Result<Self, CatalogError> {
        let dir = dir.to_owned();
        let trees = options.work.run(move || LsmTrees::open(&dir)).await?;
        Self::start(Arc::new(trees), master, options).await
    }

    /// Starts a member of a cluster on any store.
    ///
    /// # Errors
    /// [`CatalogError`] when the store can't be read, or the options do not fit.
    pub async fn start(
        trees: Arc<dyn Trees>,
        master: &Key,
        options: Options,
    ) -> Result<Self, CatalogError> {
        let envelope = envelope(master);
        let (work, id) = (options.work, options.id);
        let open = move || {
            let states = States::open(trees, envelope, Arc::new(OsRandom), work)?;
            let current = states.clone();
            let sync = move || current.current().kv().sync();
            let log = LogStore::open(states.log(), sync, work)?;
            log.step_down(id)?;
            let machine = StateMachine::open(states.clone())?;
            Ok::<_, KvError>((states, log, machine))
        };
        let (states, log, machine) = work.run(open).await?;
        let progress = machine.progress();
        let config = options.config()?;
        let links = Links(options.link.clone());
        let raft =
            Raft::new(options.id, config, links, log.clone(), machine).await.map_err(stopped)?;
        if options.founds() && !raft.is_initialized().await.map_err(stopped)? {
            raft.initialize(options.founders.clone()).await.map_err(stopped)?;
        } else if options.founders.len() == 1 {
            // Nobody else can lead; do not wait for a sign of life.
            raft.trigger().elect().await.map_err(stopped)?;
        }

        let leader = Leader::new(raft.metrics(), options.link.clone());
        let patience = options.timing.patience;
        let reads = Reads::new(raft.clone(), leader.clone(), progress.clone(), patience);
        let gate = Gate::default();
        let expected = Expected::default();
        let local = Committer::local(raft.clone(), gate.clone(), expected.clone());
        let to = leader.clone();
        let forward = move |group| -> BoxFuture<'static, _> {
            let to = to.clone();
            Box::pin(async move { forward(&to, group).await })
        };
        // The leader's answers have passed its gate.
        let forward = Committer::new(forward, Gate::default(), expected.clone());
        let (stop, stopping) = oneshot::channel();
        let (lead, leadership) = watch::channel(false);
        tokio::spawn(run(raft.clone(), lead, stopping));
        let _running = Arc::new(Running(Some(stop)));
        Ok(Self {
            states,
            log,
            gate,
            raft,
            leader,
            expected,
            local,
            forward,
            reads,
            progress,
            leadership,
            patience,
            _running,
        })
    }

    /// Applies a command. When it returns `Ok`, the change is durable.
    ///
    /// # Errors
    /// [`CatalogError`]. After [`CatalogError::Stopped`] the change may or may not have happened.
    pub async fn submit(&self, command: Command) -> Result<Outcome, CatalogError> {
        let command = Encoded::new(&command)?;
        let deadline = Instant::now() + self.patience;
        loop {
            let by = match self.leader.find(deadline).await? {
                Place::Here => &self.local,
                Place::There(..) => &self.forward,
            };
            match by.commit_one(command.clone(), deadline).await {
                Ok(answer) => return answer,
                Err(Undone::Unknown(why)) => return Err(CatalogError::Stopped(why)),
                Err(undone) if Instant::now() + PAUSE > deadline => {
                    return Err(CatalogError::Unavailable(undone.to_string()));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Where those who are about to submit commands together are announced.
    pub fn expected(&self) -> Expected {
        self.expected.clone()
    }

    /// Looks something up. What was answered to anyone before is seen, but for [`Scope::Hidden`]:
    /// that is answered as things stand here, which may be behind.
    ///
    /// # Errors
    /// The query's; [`CatalogError::Unavailable`] when it can't be known what is current.
    pub async fn read<T>(
        &self,
        scope: Scope<'_>,
        query: impl FnOnce(&Catalog) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        if scope != Scope::Hidden {
            self.reads.current().await?;
        }
        query(&self.states.catalog())
    }

    /// Waits until all that was answered to anyone before is seen here.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it can't be known what is current.
    pub async fn current(&self) -> Result<(), CatalogError> {
        self.reads.current().await
    }

    /// Lists something in a bucket, away from the threads that serve connections.
    ///
    /// # Errors
    /// As [`CatalogHandle::read`].
    pub async fn list<T: Send + 'static>(
        &self,
        bucket: BucketName,
        query: impl FnOnce(&Catalog, &BucketName) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        self.reads.current().await?;
        let catalog = self.states.catalog();
        tokio::task::spawn_blocking(move || query(&catalog, &bucket)).await.map_err(stopped)?
    }

    /// Follows whether this gateway leads: whether it should do what one gateway should do for all.
    pub fn leadership(&self) -> watch::Receiver<bool> {
        self.leadership.clone()
    }

    /// Whether this gateway leads.
    pub fn leads(&self) -> bool {
        *self.leadership.borrow()
    }

    /// Waits until the catalog has failed for good here: its store has lost a write, and only a new
    /// start can tell what it still has. Says why.
    pub async fn failed(&self) -> CatalogError {
        let mut metrics = self.raft.metrics();
        let failed = metrics.wait_for(|metrics| metrics.running_state.is_err()).await;
        let why = failed.ok().and_then(|metrics| metrics.running_state.clone().err());
        CatalogError::Stopped(why.map_or_else(|| "it has ended".into(), |why| why.to_string()))
    }

    /// Follows which entry of the log has been applied here last.
    pub fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.progress.clone()
    }

    /// How often the catalog's disk was synced since this gateway was started.
    pub fn syncs(&self) -> u64 {
        self.states.syncs()
    }

    /// The log: its groups, and how to keep them from being removed.
    pub fn log(&self) -> &LogStore {
        &self.log
    }

    /// Where this gateway's answers wait for the journal, while it leads.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// All rows as of one entry of the log; nothing before there is one.
    ///
    /// # Errors
    /// [`CatalogError::Stopped`].
    pub async fn snapshot(&self) -> Result<Option<(SnapshotMeta, Export)>, CatalogError> {
        let snapshot = self.raft.get_snapshot().await.map_err(stopped)?;
        Ok(snapshot.and_then(|s| match *s.snapshot {
            SnapshotData::Source(export) => Some((s.meta, export)),
            SnapshotData::Arrived(_) => None,
        }))
    }

    /// What answers the other gateways.
    pub fn service(&self) -> RaftService {
        RaftService::new(self.raft.clone(), self.local.clone())
    }

    /// The members, as the leader knows them; as this gateway does, if there is no leader.
    pub async fn members(&self) -> Vec<Member> {
        let asked = match self.leader.find(Instant::now()).await {
            Ok(Place::There(id, peer)) => {
                let request = PeerRequest::ListMembers;
                self.leader.link().call(id, &peer, request, STATUS).await.ok()
            }
            Ok(Place::Here) | Err(_) => None,
        };
        match asked {
            Some(PeerResponse::Members(members)) => members,
            _ => members::members(&self.raft.metrics().borrow()),
        }
    }

    /// What the gateway `id` at `peer` says of itself.
    ///
    /// # Errors
    /// [`PeerError`] when it does not answer.
    pub async fn status(&self, id: GatewayId, peer: &Peer) -> Result<MemberStatus, PeerError> {
        let metrics = self.raft.metrics().borrow().clone();
        if id == metrics.id {
            return Ok(members::status(&metrics));
        }
        match self.leader.link().call(id, peer, PeerRequest::Status, STATUS).await? {
            PeerResponse::Status(status) => Ok(status),
            PeerResponse::Refused(why) => Err(PeerError::NoAnswer { peer: peer.name.clone(), why }),
            _ => {
                let why = "it answers out of turn".into();
                Err(PeerError::NoAnswer { peer: peer.name.clone(), why })
            }
        }
    }

    /// Asks the gateway that leads something that is no matter of the raft, and waits at most
    /// `within` for the answer. `None`: this gateway leads.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when none leads or it gives no answer.
    pub async fn ask_leader(
        &self,
        request: PeerRequest,
        within: Duration,
    ) -> Result<Option<PeerResponse>, CatalogError> {
        match self.leader.find(Instant::now() + within).await? {
            Place::Here => Ok(None),
            Place::There(id, peer) => {
                let answer = self.leader.link().call(id, &peer, request, within).await;
                answer.map(Some).map_err(|error| CatalogError::Unavailable(error.to_string()))
            }
        }
    }

    /// Changes the members. One change at a time.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it was not done, [`CatalogError::Stopped`] when that is not
    /// known.
    pub async fn change_members(&self, change: MemberChange) -> Result<(), CatalogError> {
        let deadline = Instant::now() + self.patience;
        members::change_anywhere(&self.raft, &self.leader, change, deadline).await
    }

    /// Stops this gateway's member of the raft; its store is free when all handles are gone.
    pub async fn stop(&self) {
        let _ = self.raft.shutdown().await;
    }
}

/// What seals the catalog of a cluster with this master key.
pub fn envelope(master: &Key) -> Envelope {
    Envelope::new(master.derive("coffer catalog v1"))
}

/// Sends a group to the leader.
async fn forward(leader: &Leader, group: Group) -> Result<Committed, Undone> {
    let place = leader.find(Instant::now()).await;
    let Ok(Place::There(id, peer)) = place else { return Err(Undone::NotLeader(None)) };
    match leader.link().call(id, &peer, PeerRequest::Propose(group), ANSWER).await {
        Ok(PeerResponse::Proposed(answers)) => Ok(Committed { answers, index: None }),
        Ok(PeerResponse::NotLeader { leader }) => Err(Undone::NotLeader(leader)),
        Ok(PeerResponse::Refused(why)) => Err(Undone::NotSent(why)),
        Ok(PeerResponse::Unknown(why)) => Err(Undone::Unknown(why)),
        Ok(_) => Err(Undone::Unknown(format!("gateway {} answers out of turn", peer.name))),
        Err(error @ PeerError::NotSent { .. }) => Err(Undone::NotSent(error.to_string())),
        Err(error @ PeerError::NoAnswer { .. }) => Err(Undone::Unknown(error.to_string())),
    }
}

/// Tells of leadership until the raft is to stop, and stops it.
async fn run(raft: Raft<Types>, lead: watch::Sender<bool>, mut stopping: oneshot::Receiver<()>) {
    let mut metrics = raft.metrics();
    loop {
        let now = leads(&metrics.borrow_and_update());
        if lead.send_if_modified(|known| std::mem::replace(known, now) != now) {
            tracing::info!(leads = now, "catalog");
        }
        tokio::select! {
            _ = &mut stopping => break,
            changed = metrics.changed() => if changed.is_err() { break },
        }
    }
    lead.send_replace(false);
    let _ = raft.shutdown().await;
}

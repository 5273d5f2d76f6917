//! This gateway among the gateways of its cluster: its part of the catalog, and its service for the
//! others.
//!
//! * [`desk`]: where requests of the others go
//! * [`known`]: who the gateways are, as this one last knew
//! * [`rejoin`]: the way back for one that has lost its catalog

mod desk;
mod known;
mod rejoin;

use crate::catalog::CatalogHandle;
use crate::catalog::raft::members::MemberChange;
use crate::catalog::raft::network::PeerLink;
use crate::catalog::raft::options::Options;
use crate::catalog::raft::types::{GatewayId, Peer};
use crate::engine::repair::Repairer;
use crate::peer::{self, PeerClient};
use crate::run::StartError;
use crate::setup::config::GatewayConfig;
use crate::setup::gateways::Beginning;
use crate::setup::init::GatewayDir;
use coffer_core::catalog::{CatalogError, KvError};
use coffer_core::seal::Key;
use coffer_node::rpc::{MutualTls, Service};
use desk::Desk;
use known::Known;
use rejoin::{Gate, Lost, Rejoin};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often it is looked whether the gateways have changed.
const LOOK: Duration = Duration::from_secs(2);

/// A gateway's part of the catalog, and its service for the others.
#[derive(Debug)]
pub struct Membership {
    catalog: CatalogHandle,
    among_others: Option<AmongOthers>,
}

/// What a gateway among others has running.
struct AmongOthers {
    desk: Arc<Desk>,
    service: Service,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for AmongOthers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmongOthers").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Membership {
    /// Opens the catalog; serves other gateways if there may be any.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(
        paths: &GatewayDir,
        settings: &GatewayConfig,
        master: &Key,
    ) -> Result<Self, StartError> {
        match settings.peer_listen {
            Some(listen) => Self::among_others(paths, settings, master, listen).await,
            None => {
                let founders = BTreeMap::from([(settings.id, settings.own())]);
                let options = Options { id: settings.id, founders, ..Options::alone() };
                let catalog = open_catalog(paths, master, options).await?;
                Ok(Self { catalog, among_others: None })
            }
        }
    }

    async fn among_others(
        paths: &GatewayDir,
        settings: &GatewayConfig,
        master: &Key,
        listen: SocketAddr,
    ) -> Result<Self, StartError> {
        let tls = MutualTls::load(paths.path(), "gateway")?;
        let link: Arc<dyn PeerLink> = Arc::new(PeerClient::new(&tls)?);
        let (id, mut known) = (settings.id, Known::load(paths)?);
        // Where it was last said to be counts more than where it was at the beginning.
        let own = known.address_of(id).unwrap_or_else(|| settings.own());
        let lost = Lost::find(paths, known.contains(id))?;
        let founders = match settings.beginning() {
            Beginning::Together(founders) if lost.is_none() => founders,
            _ => BTreeMap::new(),
        };
        if !founders.is_empty() && !known.contains(id) {
            // Before there is a catalog, so that its loss is noticed whenever it happens.
            known.save(founders.clone())?;
        }
        let options = Options { id, founders, link: link.clone(), ..Options::alone() };
        let catalog = open_catalog(paths, master, options).await?;
        let gate = Arc::new(Gate::new(catalog.service(), lost.is_none()));
        let desk = Arc::new(Desk::new(gate.clone()));
        let service = peer::serve(desk.clone(), &tls, listen)
            .map_err(|source| StartError::ListenPeers { listen, source })?;
        let rejoin = lost.map(|lost| Rejoin { lost, link, gate, id, own: own.clone() });
        let task = tokio::spawn(attend(catalog.clone(), known, rejoin, id, own));
        Ok(Self { catalog, among_others: Some(AmongOthers { desk, service, task }) })
    }

    /// The catalog.
    pub fn catalog(&self) -> &CatalogHandle {
        &self.catalog
    }

    /// Has `repairer` answer what other gateways ask of repair.
    pub fn serve_repair(&self, repairer: &Arc<Repairer>) {
        if let Some(others) = &self.among_others {
            others.desk.serve_repair(repairer.clone());
        }
    }

    /// Stops serving the others.
    pub async fn stop(self) {
        if let Some(AmongOthers { desk, service, task }) = self.among_others {
            drop(desk);
            task.abort();
            // Its end is waited for: until then it holds the catalog.
            let _ = task.await;
            service.stop().await;
        }
    }
}

/// Brings this gateway back if it has lost its catalog; then keeps what it knows of the others, and
/// what they know of it, up to date.
async fn attend(
    catalog: CatalogHandle,
    mut known: Known,
    rejoin: Option<Rejoin>,
    id: GatewayId,
    own: Peer,
) {
    if let Some(rejoin) = rejoin {
        rejoin.run(&mut known).await;
    }
    loop {
        let members = catalog.members().await;
        if let Some(me) = members.iter().find(|member| member.id == id) {
            // It was alone, and can be reached only now.
            if me.peer.address.is_empty() {
                let moved = catalog.change_members(MemberChange::Move(id, own.clone())).await;
                tracing::info!(?moved, address = own.address, "this gateway can be reached now");
            }
            let now = members.iter().map(|member| (member.id, member.peer.clone())).collect();
            if let Err(error) = known.save(now) {
                tracing::warn!(%error, "the list of gateways can't be kept");
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The store gives its lock up a moment after its last user is gone: a gateway that is restarted in the
/// same process, or right after a kill, may have to wait for it.
async fn open_catalog(
    paths: &GatewayDir,
    master: &Key,
    options: Options,
) -> Result<CatalogHandle, StartError> {
    let path = paths.catalog();
    let mut attempts = 20;
    loop {
        attempts -= 1;
        match CatalogHandle::join(&path, master, options.clone()).await {
            Err(CatalogError::Kv(KvError::Locked(_))) if attempts > 0 => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            outcome => return outcome.map_err(|source| StartError::Catalog { path, source }),
        }
    }
}

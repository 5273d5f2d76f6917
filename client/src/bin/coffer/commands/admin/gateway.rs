//! `admin gateway ls`, `add`, `remove`.

use super::table;
use crate::args::Gateway;
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::Error;
use coffer_client::admin::{Addition, GatewayInfo, NewGateway};
use serde_json::json;

pub(crate) async fn run(session: &Session<'_>, command: Gateway) -> Result<(), Failure> {
    match command {
        Gateway::Ls => list(session).await,
        Gateway::Add { id, peer, s3, name } => {
            let name = name.unwrap_or_else(|| format!("gateway-{id}"));
            add(session, &NewGateway { id, name, peer, endpoint: s3.to_string() }).await
        }
        Gateway::Remove { id } => {
            let target = format!("gateway {id}");
            session.client.remove_gateway(id).await.map_err(Failure::at(&target))?;
            let json = || json!({"op": "remove_gateway", "id": id});
            session.output.done(format_args!("removed: {target}"), json)
        }
    }
}

async fn list(session: &Session<'_>) -> Result<(), Failure> {
    let place = session.client.profile().endpoint.to_string();
    let gateways = session.client.gateways().await.map_err(Failure::at(place))?;
    if session.output.json {
        for gateway in &gateways {
            let json = serde_json::to_value(gateway).map_err(|e| Error::Request(e.to_string()))?;
            session.output.result("", || json)?;
        }
        return Ok(());
    }
    let mut rows = vec![
        ["ID", "NAME", "ROLE", "TERM", "APPLIED", "LAG", "PEER", "ENDPOINT"].map(str::to_owned),
    ];
    rows.extend(gateways.iter().map(row));
    session.output.result(table(&rows), || json!(null))
}

fn row(gateway: &GatewayInfo) -> [String; 8] {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let role = match gateway.reachable {
        true => gateway.role.to_string(),
        false => format!("{} (no answer)", gateway.role),
    };
    [
        gateway.id.to_string(),
        gateway.name.clone(),
        role,
        number(gateway.term),
        number(gateway.applied),
        number(gateway.lag),
        gateway.peer.clone(),
        gateway.endpoint.clone(),
    ]
}

async fn add(session: &Session<'_>, gateway: &NewGateway) -> Result<(), Failure> {
    let target = format!("gateway {}", gateway.id);
    let added = session.client.add_gateway(gateway).await.map_err(Failure::at(&target))?;
    let done = added == Addition::Done;
    if !done {
        let remark = "it is being sent the catalog; `coffer admin gateway ls` shows how far it is";
        session.output.remark(remark);
    }
    let json = || json!({"op": "add_gateway", "id": gateway.id, "done": done});
    session.output.done(format_args!("added: {target}"), json)
}

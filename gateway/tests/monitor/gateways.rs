//! Real processes: the leading gateway dies, and the others tell; all of them see the same.

use crate::processes::{PATIENCE, Processes};
use coffer_client::admin::health::Event;
use coffer_client::{Client, Http3};
use std::time::Duration;

/// What a gateway remembers, once it remembers an event of this kind.
async fn until(client: &Client, kind: &str, cluster: &Processes) -> Vec<Event> {
    let told = async {
        loop {
            if let Ok(page) = client.events(0).await
                && page.events.iter().any(|event| event.kind == kind)
            {
                return page.events;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await;
    told.unwrap_or_else(|_| panic!("no {kind}: {}", cluster.logs()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_tell_that_the_leading_gateway_is_gone() {
    let mut cluster = Processes::prepare(3, 6).await;
    for gateway in 0..3 {
        let path = cluster.gateway_dir(gateway).join("gateway.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let often = config.replace("health_interval_seconds = 10", "health_interval_seconds = 1");
        assert_ne!(config, often);
        std::fs::write(&path, often).unwrap();
    }
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    let client = cluster.client_of(other, Http3::Never);
    // It has to have seen who leads, to tell that another one does.
    let seen = async {
        loop {
            match client.health().await {
                Ok(report) if report.gateways.iter().any(|g| g.role == "leader") => break report,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let report = tokio::time::timeout(PATIENCE, seen).await.unwrap();
    assert_eq!(report.gateway, other as u64 + 1, "it says which one it is");
    assert_eq!((report.gateways.len(), report.nodes.len()), (3, 6));
    assert!(report.redundancy.missing_blobs.is_some(), "it asks the one that leads");
    cluster.kill_gateway_number(leader);
    let told = until(&client, "gateway_silent", &cluster).await;
    let silent = told.iter().find(|event| event.kind == "gateway_silent").unwrap();
    assert_eq!(silent.details["gateway_id"], leader as u64 + 1);
    until(&client, "leader_changed", &cluster).await;
    let report = client.health().await.unwrap();
    let name = format!("gateway-{}", leader + 1);
    let problem = report.problems.iter().find(|problem| problem.text.contains(&name)).unwrap();
    assert!(problem.needs_operator && problem.text.contains("does not answer"));
    cluster.spawn_gateway(leader);
    until(&client, "gateway_back", &cluster).await;
}

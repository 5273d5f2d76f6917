//! Three gateways lose their catalogs at once: one rebuilds it, the others are sent it.

use crate::processes::{PATIENCE, Processes, binary};
use coffer_client::admin::{GatewayInfo, GatewayRole};
use coffer_client::object_store::ObjectStoreExt;
use coffer_client::object_store::path::Path;
use coffer_client::{Client, ClientOptions, Http3};
use std::process::Command;
use std::time::{Duration, Instant};

/// A client that begins with one gateway, knows the others, and tries again for a while.
fn patient(cluster: &Processes, first: usize) -> Client {
    let mut profile = cluster.profile(first);
    profile.http3 = Http3::Never;
    Client::with_options(profile, ClientOptions::default()).unwrap()
}

fn body(key: &str) -> Vec<u8> {
    key.as_bytes().repeat(500)
}

async fn put(cluster: &Processes, gateway: usize, key: &str) {
    let store = patient(cluster, gateway).bucket("data").unwrap();
    let put = store.put(&Path::from(key), body(key).into()).await;
    put.unwrap_or_else(|error| panic!("{key}: {error} {}", cluster.logs()));
}

/// Waits until the three vote, answer, and lack nothing.
async fn until_together(cluster: &Processes) {
    let started = Instant::now();
    let well = |g: &GatewayInfo| {
        g.reachable && g.role != GatewayRole::Learner && g.lag.is_some_and(|lag| lag < 8)
    };
    loop {
        let gateways = patient(cluster, 0).gateways().await.unwrap_or_default();
        if gateways.len() == 3 && gateways.iter().all(well) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{gateways:?} {}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_that_lost_all_catalogs_serve_again() {
    let mut cluster = Processes::with_gateways(3).await;
    patient(&cluster, 0).create_bucket("data").await.unwrap();
    let mut keys = Vec::new();
    // Under more than one leader.
    for round in 0..2 {
        for n in 0..12 {
            let key = format!("{round}-{n}");
            put(&cluster, n % 3, &key).await;
            keys.push(key);
        }
        let leader = cluster.leader().await;
        cluster.kill_gateway_number(leader);
        put(&cluster, (leader + 1) % 3, &format!("{round}-without")).await;
        keys.push(format!("{round}-without"));
        cluster.spawn_gateway(leader);
        cluster.until_ready(leader).await;
    }
    until_together(&cluster).await;

    for gateway in 0..3 {
        cluster.kill_gateway_number(gateway);
        std::fs::remove_dir_all(cluster.gateway_dir(gateway).join("catalog")).unwrap();
    }
    // A node is away, and it is not the first gateway that is at hand.
    cluster.kill_node(4);
    let mut rebuild = Command::new(binary("coffer-gateway"));
    rebuild.arg("rebuild-catalog").arg("--json").arg("--data").arg(cluster.gateway_dir(1));
    let done = rebuild.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["gap"], serde_json::Value::Null, "{report}");

    cluster.spawn_gateway(1);
    cluster.until_ready(1).await;
    // Alone it has everything; the others come back by themselves.
    cluster.spawn_gateway(0);
    cluster.spawn_gateway(2);
    for gateway in [0, 2] {
        cluster.until_ready(gateway).await;
    }
    until_together(&cluster).await;
    cluster.start_node(4);
    for gateway in 0..3 {
        let store = cluster.client_of(gateway, Http3::Never).bucket("data").unwrap();
        for key in &keys {
            let got = store.get(&Path::from(key.as_str())).await;
            let got = got.unwrap_or_else(|e| panic!("{key}: {e} {}", cluster.logs()));
            assert!(got.bytes().await.unwrap() == body(key), "{key} by gateway {gateway}");
        }
    }
    // They are a cluster again: any of them may be lost.
    let leader = cluster.leader().await;
    cluster.kill_gateway_number(leader);
    put(&cluster, (leader + 1) % 3, "after").await;
}

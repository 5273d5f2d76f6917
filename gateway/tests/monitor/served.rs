//! Over real HTTP: administrators see how the cluster is, strangers do not, and the metrics have a
//! loopback port of their own.

use crate::signed::{Extras, Signed};
use coffer_client::admin::Verdict;
use coffer_client::{Credentials, ErrorKind, Http3};
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use coffer_gateway::setup::config::GatewayConfig;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// As long as it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn get(root: &Signed, path: &str, query: &str) -> (u16, String) {
    let answer = root.must("GET", path, Extras { query, ..Extras::default() }).await;
    (answer.status.as_u16(), answer.text())
}

/// A free port of this machine, a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn plain(port: u16, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

async fn start(dir: &Path) -> Embedded {
    Embedded::start(dir, EmbeddedOptions::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_events_and_metrics_are_for_administrators() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path()).await.stop().await;
    let path = dir.path().join("gateway.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let port = free_port();
    let config = config.replace("health_interval_seconds = 10", "health_interval_seconds = 1");
    std::fs::write(&path, format!("metrics_listen = \"127.0.0.1:{port}\"\n{config}")).unwrap();
    let cluster = start(dir.path()).await;
    let root = Signed::new(&cluster.client_profile(), Http3::Never);
    let looked = async {
        loop {
            match root.client().health().await {
                // The first look may have come before the gateway led.
                Ok(report)
                    if report.journal.as_ref().is_some_and(|j| !j.is_behind)
                        && report.gateways.iter().any(|gateway| gateway.role == "leader") =>
                {
                    break report;
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let report = tokio::time::timeout(PATIENCE, looked).await.unwrap();
    assert_eq!((report.gateway, report.nodes.len()), (1, 6));
    assert!(report.gateways.len() == 1 && report.gateways[0].role == "leader");
    assert!(report.redundancy.whole && !report.leaderless);
    assert!(report.nodes.iter().all(|node| node.figures.is_some() && node.standing == "up"));
    // How full this machine's disk is, is not for this test to say.
    let only_space = report.problems.iter().all(|problem| problem.text.contains("full"));
    assert!(report.overall == Verdict::Healthy || only_space, "{:?}", report.problems);

    let page = root.client().events(0).await.unwrap();
    assert_eq!((page.gateway, page.forgotten), (1, false));
    assert!(root.client().events(page.last + 10).await.unwrap().events.is_empty());
    let (status, text) = get(&root, "/.coffer/v1/events", "since=soon").await;
    assert!(status == 400 && text.contains("InvalidArgument"), "{text}");
    assert_eq!(root.must("PUT", "/.coffer/v1/health", Extras::default()).await.status, 405);

    let (status, figures) = get(&root, "/.coffer/v1/metrics", "").await;
    assert!(status == 200 && figures.contains("\ncoffer_gateway_leads 1\n"), "{figures}");
    let scraped = plain(port, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(scraped.starts_with("HTTP/1.1 200 ") && scraped.contains("version=0.0.4"), "{scraped}");
    assert!(scraped.contains("\ncoffer_gateway_up{gateway=\"gateway-1\"} 1\n"), "{scraped}");
    assert!(plain(port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    assert!(
        plain(port, "PUT /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 405 ")
    );

    let nobody = root.speaking_for(Credentials::Anonymous);
    for path in ["health", "events", "metrics"] {
        let answer = nobody.must("GET", &format!("/.coffer/v1/{path}"), Extras::default()).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    assert_eq!(nobody.client().health().await.unwrap_err().kind(), ErrorKind::AccessDenied);
    cluster.stop().await;
}

#[test]
fn figures_for_everyone_stay_on_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    for (setting, fits) in [
        ("metrics_listen = \"127.0.0.1:9090\"", true),
        ("metrics_listen = \"[::1]:9090\"", true),
        ("metrics_listen = \"0.0.0.0:9090\"", false),
        ("metrics_listen = \"10.0.0.1:9090\"", false),
        ("health_interval_seconds = 1", true),
        ("health_interval_seconds = 0", false),
        ("health_interval_seconds = 86400", false),
    ] {
        std::fs::write(&path, format!("listen = \"127.0.0.1:9000\"\n{setting}\n")).unwrap();
        match GatewayConfig::load(&path) {
            Ok(_) => assert!(fits, "{setting}"),
            Err(error) => {
                let field = setting.split(' ').next().unwrap();
                assert!(!fits && error.to_string().contains(field), "{setting}: {error}");
            }
        }
    }
}

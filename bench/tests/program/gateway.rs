//! All workloads on a gateway with storage nodes, in this process, over all versions of HTTP.

use super::support::{only, report};
use coffer_bench::report::Report;
use coffer_client::{Client, Profile, ProfileOptions};
use coffer_gateway::run::{Embedded, EmbeddedOptions};

struct World {
    dir: tempfile::TempDir,
    cluster: Embedded,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Embedded::start(dir.path(), EmbeddedOptions::default()).await.unwrap();
        Self { dir, cluster }
    }

    async fn run(&self, workload: &str, http: &str, args: &[&str]) -> Report {
        let config = self.dir.path().join("client.toml");
        let what = [workload, "--config", config.to_str().unwrap(), "--http", http, "--check"];
        report(&what.iter().chain(args).copied().collect::<Vec<_>>(), 0).await
    }

    /// How many objects there are.
    async fn objects(&self) -> usize {
        let config = Some(self.dir.path().join("client.toml"));
        let options = ProfileOptions { config, ..ProfileOptions::default() };
        let client = Client::connect(Profile::load_with(&options, &|_| None).unwrap()).unwrap();
        let bucket = client.bucket("coffer-bench").unwrap();
        use futures::TryStreamExt;
        bucket.list(None).try_collect::<Vec<_>>().await.unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_http_carries_every_kind_of_request() {
    let world = World::start().await;
    for http in ["1.1", "2", "3"] {
        let mix = "get=3,range=3,stat=2,list=1,put=3,delete=2";
        let load = ["--mix", mix, "--piece", "1..9KiB", "--size", "1KiB..200KiB", "--spread", "3"];
        let more = ["--objects", "8", "--ops", "80", "-c", "6", "--connections", "2"];
        let args: Vec<&str> = load.into_iter().chain(more).collect();
        let report = world.run("mixed", http, &args).await;
        assert_eq!(report.targets[0].http, http);
        let run = &report.runs[0];
        let count: u64 = run.operations.values().map(|measured| measured.count).sum();
        assert_eq!((count, run.failures()), (80, 0), "{run:?}");
        assert_eq!(run.operations.len(), 6, "{:?}", run.operations.keys());
        for (operation, measured) in &run.operations {
            let latency = measured.latency_ms.unwrap();
            assert!(latency.p50 > 0.0 && latency.p50 <= latency.max, "{operation}");
            let reads = ["get", "range", "list"].contains(&operation.as_str());
            assert_eq!(measured.first_byte_ms.is_some(), reads, "{operation}");
        }
        assert_eq!(world.objects().await, 0, "what was stored is deleted");
    }
    world.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_writes_are_whole_and_their_steps_are_measured() {
    let world = World::start().await;
    let parts = ["--part", "5MiB", "--size", "11MiB", "--ops", "2", "-c", "2"];
    let report = world.run("multipart", "1.1", &parts).await;
    let (whole, part) = (only(&report, "multipart"), only(&report, "part"));
    assert_eq!((whole.count, whole.bytes), (2, 22 << 20));
    assert_eq!((part.count, part.bytes), (6, 22 << 20));

    let dir = world.dir.path().to_str().unwrap().to_owned();
    let pid = std::process::id().to_string();
    let burst = ["--burst", "3MiB", "--size", "1MiB", "--every", "10ms", "--ops", "4"];
    let costs = ["--server-dir", &dir, "--server-pid", &pid];
    let args: Vec<&str> = burst.iter().chain(&costs).copied().collect();
    let report = world.run("checkpoint", "2", &args).await;
    let (burst, put) = (only(&report, "burst"), only(&report, "put"));
    assert_eq!((burst.count, burst.bytes), (4, 12 << 20));
    assert_eq!((put.count, put.bytes), (12, 12 << 20));
    let run = &report.runs[0];
    // Twelve MiB are cut into four data shards and two of parity each.
    assert!(run.disk_bytes_per_byte.is_some_and(|ratio| (1.4..4.0).contains(&ratio)), "{run:?}");
    assert!(run.used.server_cpu_s.is_some_and(|seconds| seconds > 0.0), "{run:?}");
    world.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datasets_are_read_whole_and_by_sample() {
    let world = World::start().await;
    let set = ["--shard", "300KiB", "--size", "1KiB..40KiB", "--objects", "4", "--keep"];
    let args: Vec<&str> = set.iter().chain(&["--ops", "10", "-c", "3"]).copied().collect();
    let report = world.run("dataset", "2", &args).await;
    let shard = only(&report, "shard");
    assert_eq!(shard.count, 10);
    assert!(shard.bytes > 10 * 200 * 1024, "{}", shard.bytes);
    let args: Vec<&str> = args.iter().chain(&["--read", "samples"]).copied().collect();
    let report = world.run("dataset", "1.1", &args).await;
    assert_eq!(only(&report, "sample").count, 10);
    assert_eq!(world.objects().await, 4, "they were kept, and used again");
    world.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_and_a_load_that_is_used_up() {
    let world = World::start().await;
    let open = ["--rate", "200", "--spacing", "even", "--size", "4KiB", "--ops", "40"];
    let report = world.run("put", "2", &open).await;
    assert_eq!(only(&report, "put").count, 40);
    assert!(report.runs[0].start_lag_ms.is_some());
    assert_eq!(report.config.rate, Some(200.0));
    let report = world.run("delete", "2", &["--objects", "30", "--size", "100"]).await;
    assert_eq!(only(&report, "delete").count, 30);
    assert_eq!(world.objects().await, 0);
    world.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_encrypted_with_a_key_of_the_caller() {
    let world = World::start().await;
    let key = ["--sse-customer-key", "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", "--keep"];
    let few = ["--objects", "2", "--size", "6MiB", "--ops", "2", "--prefix", "with-key"];
    let both: Vec<&str> = few.into_iter().chain(key).collect();
    for workload in ["get", "range", "multipart", "stat"] {
        let report = world.run(workload, "1.1", &both).await;
        let run = &report.runs[0];
        assert!(run.operations.values().all(|told| told.errors.is_empty()), "{workload}: {run:?}");
    }
    // They are there, but nobody reads them without it.
    let config = world.dir.path().join("client.toml");
    let get = ["get", "--config", config.to_str().unwrap(), "--keep", "--warm-up", "0s"];
    let output = super::support::bench(&get.into_iter().chain(few).collect::<Vec<_>>()).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
    world.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_unless_told_otherwise() {
    let world = World::start().await;
    let config = std::fs::read_to_string(world.dir.path().join("client.toml")).unwrap();
    let given = |name: &str| {
        let line = config.lines().find(|line| line.starts_with(name)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let (endpoint, key, secret) = (given("endpoint"), given("access_key"), given("secret_key"));
    let args = ["stat", "--endpoint", &endpoint, "--access-key", &key, "--secret-key", &secret];
    let few = ["--objects", "2", "--size", "10", "--ops", "4", "--quiet", "--warm-up", "0s"];
    let args: Vec<&str> = args.iter().chain(&few).copied().collect();
    let output = super::support::bench(&args).await;
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("--insecure") || err.contains("trusted"), "{err}");
    for http in ["1.1", "2", "3"] {
        let args: Vec<&str> = args.iter().chain(&["--insecure", "--http", http]).copied().collect();
        let output = super::support::bench(&args).await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    world.cluster.stop().await;
}

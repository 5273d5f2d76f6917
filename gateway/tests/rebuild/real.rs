//! Real processes: the gateway is killed, its catalog deleted, two nodes are away.

use crate::dice::Dice;
use crate::processes::{Processes, binary};
use crate::signed::{Answer, Between, Extras, Signed};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coffer_client::Http3;
use md5::Digest;
use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn content(key: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(key.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn query(query: &str) -> Extras<'_> {
    Extras { query, ..Extras::default() }
}

fn customer_key() -> Vec<(&'static str, String)> {
    let key = [9u8; 32];
    vec![
        ("x-amz-server-side-encryption-customer-algorithm", "AES256".into()),
        ("x-amz-server-side-encryption-customer-key", BASE64_STANDARD.encode(key)),
        (
            "x-amz-server-side-encryption-customer-key-md5",
            BASE64_STANDARD.encode(md5::Md5::digest(key)),
        ),
    ]
}

async fn ok(s3: &Signed, method: &str, path: &str, extras: Extras<'_>) -> Answer {
    let what = format!("{method} {path}?{}", extras.query);
    let answer = s3.must(method, path, extras).await;
    assert!(answer.status.is_success(), "{what}: {} {}", answer.status, answer.text());
    answer
}

/// What a bucket says of itself and of what is in it.
async fn told(s3: &Signed) -> Vec<String> {
    let mut told = Vec::new();
    for of in ["versions", "uploads", "versioning", "tagging", "policy", "list-type=2"] {
        told.push(ok(s3, "GET", "/data", query(of)).await.text());
    }
    told.push(ok(s3, "GET", "/data/tagged", query("tagging")).await.text());
    told.push(ok(s3, "GET", "/", Extras::default()).await.text());
    told
}

fn xml(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// A bucket with something of everything.
async fn fill(s3: &Signed) {
    let put = |query, body| Extras { query, body, ..Extras::default() };
    ok(s3, "PUT", "/data", Extras::default()).await;
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    ok(s3, "PUT", "/data", put("versioning", xml(versioning))).await;
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    ok(s3, "PUT", "/data", put("tagging", xml(tags))).await;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
        "Action":"s3:GetObject","Resource":"arn:aws:s3:::data/public/*"}]}"#;
    ok(s3, "PUT", "/data", put("policy", xml(policy))).await;
    for n in 0..3 {
        ok(s3, "PUT", "/data/versions", put("", content(&n.to_string(), 70_000))).await;
    }
    ok(s3, "PUT", "/data/tagged", put("", content("tagged", 100))).await;
    ok(s3, "PUT", "/data/tagged", put("tagging", xml(tags))).await;
    ok(s3, "PUT", "/data/deleted", put("", content("deleted", 5000))).await;
    ok(s3, "DELETE", "/data/deleted", Extras::default()).await;
    let secret = Extras { headers: customer_key(), body: content("secret", 9000), query: "" };
    ok(s3, "PUT", "/data/secret", secret).await;
    ok(s3, "PUT", "/load", Extras::default()).await;
}

/// Loses the catalog and two nodes, and rebuilds it.
async fn lose_and_rebuild(cluster: &mut Processes, away: [usize; 2]) -> serde_json::Value {
    let data = cluster.dir.path().join("gateway");
    let rebuild = |more: &[&str]| {
        let mut command = Command::new(binary("coffer-gateway"));
        command.arg("rebuild-catalog").arg("--json").arg("--data").arg(&data).args(more);
        command.output().unwrap()
    };
    let refused = rebuild(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("holds a catalog"), "{said}");
    std::fs::remove_dir_all(data.join("catalog")).unwrap();
    away.iter().for_each(|node| cluster.kill_node(*node));
    let done = rebuild(&[]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said} {}", cluster.logs());
    cluster.start_gateway().await;
    serde_json::from_slice(&done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_catalog_and_two_nodes_gone_every_object_comes_back() {
    let mut dice = Dice::new();
    let mut cluster = Processes::start().await;
    let s3 = Signed::over(cluster.client_over(Http3::Never));
    fill(&s3).await;
    let begun = s3.upload("/data/upload", content("upload", 100_000)).await;
    let Ok((upload, complete)) = begun else { panic!("no upload") };
    let before = told(&s3).await;

    // The same nodes both times: what is written before they are found again stands on the others.
    for (round, away) in [[0, 1], [0, 1]].into_iter().enumerate() {
        // Writers that are cut off, and what they were told is safe.
        let (stop, safe) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(HashMap::new())));
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (s3, stop, safe) = (s3.clone(), stop.clone(), safe.clone());
                let mut dice = dice.fork();
                tokio::spawn(async move {
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let key = format!("/load/{round}-{writer}-{n}");
                        let len = 1 + dice.below(40_000) as usize;
                        let body = content(&key, len);
                        let put = s3.send("PUT", &key, Extras { body, ..Extras::default() }).await;
                        if put.is_ok_and(|answer| answer.status == 200) {
                            safe.lock().unwrap().insert(key, len);
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500 + dice.below(1500))).await;
        cluster.kill_gateway();
        stop.store(true, Ordering::Relaxed);
        futures::future::join_all(writers).await;

        let report = lose_and_rebuild(&mut cluster, away).await;
        assert_eq!(report["gap"], serde_json::Value::Null);
        let safe = std::mem::take(&mut *safe.lock().unwrap());
        println!("{} objects that were acknowledged; {report}", safe.len());
        assert!(!safe.is_empty());
        for (key, len) in safe {
            let answer = ok(&s3, "GET", &key, Extras::default()).await;
            assert!(answer.body == content(&key, len), "{key}");
        }
        assert_eq!(told(&s3).await, before);
        let versions = &before[0];
        for n in 0..3 {
            let of_key = versions.match_indices("<Key>versions</Key>").nth(2 - n).unwrap().0;
            let id = versions[of_key..].between("<VersionId>", "</VersionId>");
            let version = format!("versionId={id}");
            let answer = ok(&s3, "GET", "/data/versions", query(&version)).await;
            assert!(answer.body == content(&n.to_string(), 70_000), "version {n}");
        }
        let secret = Extras { headers: customer_key(), ..Extras::default() };
        let answer = ok(&s3, "GET", "/data/secret", secret).await;
        assert!(answer.body == content("secret", 9000));
        away.iter().for_each(|node| cluster.start_node(*node));
    }
    // An upload that was begun before goes on.
    let complete = Extras { query: &upload, body: complete, ..Extras::default() };
    ok(&s3, "POST", "/data/upload", complete).await;
    let answer = ok(&s3, "GET", "/data/upload", Extras::default()).await;
    assert!(answer.body == content("upload", 100_000));
}

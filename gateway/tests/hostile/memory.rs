//! What a gateway needs while it refuses.

use super::support::processes::Processes;
use super::support::raw::Raw;
use super::support::signed::{Extras, Signed};
use super::support::sigv4::{Head, Signer, sha256};
use coffer_client::Http3;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MIB: usize = 1024 * 1024;
/// Requests of each kind, and how many of them at a time.
const REQUESTS: usize = 50;
const AT_ONCE: usize = 8;
/// The most that the gateway's resident memory may ever have been, in MiB.
const BOUND: u64 = 200;

fn peak_rss_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn refusing_costs_little_memory() {
    let cluster = Processes::start().await;
    let profile = cluster.dir.path().join("gateway/client.toml");
    let s3 = Signed::new(&profile, Http3::Never);
    assert_eq!(s3.must("PUT", "/data", Extras::default()).await.status, 200);
    let signer = Signer::new(s3.client().profile());
    let raw = Raw::new(signer.host.parse().unwrap(), &cluster.dir.path().join("gateway/ca.pem"));
    let mut garbage = vec![0; MIB];
    blake3::Hasher::new().finalize_xof().fill(&mut garbage);

    let put = Head::new("PUT", "/data/garbage");
    let framed = put.clone().payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    let framed = framed.signed("x-amz-trailer", "x-amz-checksum-crc32");
    let framed = framed.signed("x-amz-decoded-content-length", MIB.to_string());
    let form = b"POST /data HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n\
                 content-length: 1048576\r\n\r\n--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n";
    let deep = "<Delete>".repeat(MIB / 8);
    let kinds: Vec<(&str, Vec<u8>)> = vec![
        ("bytes", garbage.clone()),
        ("a head", [b"GET /data/o HTTP/1.1\r\nhost: x\r\nx-a: ", &garbage[..]].concat()),
        ("a body with another hash", signer.request(&put.payload(sha256(b"")), &garbage)),
        ("chunks", signer.request(&framed, &garbage)),
        ("a list", signer.request(&Head::new("POST", "/data?delete="), &garbage)),
        ("a deep list", signer.request(&Head::new("POST", "/data?delete="), deep.as_bytes())),
        ("a form", [form, &garbage[..]].concat()),
    ];
    for (what, bytes) in &kinds {
        let ask = |_| async { raw.talk(bytes).await.0 };
        let replies: Vec<_> =
            futures::stream::iter(0..REQUESTS).map(ask).buffer_unordered(AT_ONCE).collect().await;
        for reply in replies.iter().flatten() {
            assert!((400..500).contains(&reply.status), "{what}: {reply:?}");
        }
    }
    let peak = peak_rss_mib(cluster.gateway_pid());
    println!("peak RSS of the gateway after {} MiB of garbage: {peak} MiB", kinds.len() * REQUESTS);
    assert!(peak < BOUND, "{peak} MiB");

    one_huge_chunk(&raw, &signer, &garbage).await;
    let peak = peak_rss_mib(cluster.gateway_pid());
    println!("peak RSS of the gateway after a chunk of 512 MiB: {peak} MiB");
    assert!(peak < BOUND, "{peak} MiB");

    let list = Extras { query: "list-type=2", ..Extras::default() };
    let listed = s3.must("GET", "/data", list).await.text();
    assert_eq!(listed.matches("<Key>").count(), 1, "the huge chunk, and nothing else: {listed}");
}

/// An object that comes as one chunk, which must not be held in memory to be stored.
async fn one_huge_chunk(raw: &Raw, signer: &Signer, piece: &[u8]) {
    const PIECES: usize = 512;
    let length = PIECES * piece.len();
    let head = Head::new("PUT", "/data/huge")
        .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .signed("x-amz-trailer", "x-amz-checksum-sha256")
        .signed("x-amz-decoded-content-length", length.to_string());
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    (0..PIECES).for_each(|_| hash.update(piece));
    use base64::Engine as _;
    let hash = base64::engine::general_purpose::STANDARD.encode(hash.finish());
    let first = format!("{length:x}\r\n");
    let last = format!("\r\n0\r\nx-amz-checksum-sha256:{hash}\r\n\r\n");
    let total = first.len() + length + last.len();
    let (mut bytes, _) = signer.head(&head);
    bytes.extend_from_slice(
        format!("content-length: {total}\r\nconnection: close\r\n\r\n{first}").as_bytes(),
    );
    let mut connection = raw.connect().await;
    connection.write_all(&bytes).await.unwrap();
    for _ in 0..PIECES {
        connection.write_all(piece).await.unwrap();
    }
    connection.write_all(last.as_bytes()).await.unwrap();
    connection.flush().await.unwrap();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

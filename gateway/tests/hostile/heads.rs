//! Request lines, headers and lengths that two readers could understand differently.

use super::World;
use super::support::sigv4::{Head, sha256};
use super::support::wire;
use super::support::wire::PROTOCOLS;

/// What the connection is good for afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// More requests.
    Open,
    /// Nothing: where the next request begins is anyone's guess.
    Closed,
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_none_are_refused_and_the_connection_is_closed() {
    use Then::{Closed, Open};
    let world = World::start().await;
    let get = |rest: &str| format!("GET /data/o HTTP/1.1\r\nhost: x\r\n{rest}\r\n").into_bytes();
    let line = |line: &str| format!("{line}\r\nhost: x\r\n\r\n").into_bytes();
    let long = "a".repeat(70_000);
    let table: Vec<(&str, Vec<u8>, u16, Then)> = vec![
        ("no version", b"GET /data/o\r\n\r\n".to_vec(), 400, Closed),
        ("a version of the future", line("GET /data/o HTTP/9.9"), 400, Closed),
        ("a space in the target", line("GET /data/a b HTTP/1.1"), 400, Closed),
        ("an endless target", line(&format!("GET /{long} HTTP/1.1")), 431, Closed),
        ("an endless header", get(&format!("x-a: {long}\r\n")), 431, Closed),
        ("too many headers", get(&"x-a: b\r\n".repeat(200)), 431, Closed),
        ("a folded header", get("x-a: b\r\n c\r\n"), 400, Closed),
        ("NUL in a header", get("x-a: b\0c\r\n"), 400, Closed),
        ("CR in a header", get("x-a: b\rx-b: c\r\n"), 400, Closed),
        ("a control character", get("x-a: b\x01c\r\n"), 400, Closed),
        ("a header without a name", get(": b\r\n"), 400, Closed),
        ("a space before the colon", get("transfer-encoding : chunked\r\n"), 400, Closed),
        ("no host", b"GET /data/o HTTP/1.1\r\n\r\n".to_vec(), 400, Open),
        ("two hosts", get("host: y\r\n"), 400, Open),
        ("a method of their own", line("FROB /data/o HTTP/1.1"), 501, Open),
        ("TRACE", line("TRACE /data/o HTTP/1.1"), 501, Open),
        ("a tunnel", line("CONNECT evil:443 HTTP/1.1"), 400, Open),
        ("somebody else's resource", line("GET https://evil/data/o HTTP/1.1"), 403, Open),
    ];
    for (what, bytes, status, then) in table {
        let (replies, open) = world.raw.talk(&bytes).await;
        let statuses: Vec<u16> = replies.iter().map(|r| r.status).collect();
        assert_eq!(statuses, [status], "{what}: {replies:?}");
        assert_eq!(open, then == Open, "{what}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_contradict_each_other_smuggle_nothing() {
    let world = World::start().await;
    // What a careless reader takes for a second request: it would succeed.
    let smuggled = world.signer.request(&Head::new("PUT", "/data/smuggled"), b"x");
    let chunked = |size: &str| [size.as_bytes(), b"\r\n", &smuggled, b"\r\n0\r\n\r\n"].concat();
    let size = format!("{:x}", smuggled.len());
    let table: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "length and chunks",
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            chunked(&size),
        ),
        (
            "chunks and length",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
            chunked(&size),
        ),
        ("two lengths", "content-length: 0\r\ncontent-length: 500\r\n", smuggled.clone()),
        ("a list of lengths", "content-length: 0, 0\r\n", smuggled.clone()),
        ("a signed length", "content-length: +0\r\n", smuggled.clone()),
        ("a negative length", "content-length: -1\r\n", smuggled.clone()),
        ("a length with a tail", "content-length: 0x\r\n", smuggled.clone()),
        ("a length beyond u64", "content-length: 99999999999999999999\r\n", smuggled.clone()),
        ("chunks last but one", "transfer-encoding: chunked, identity\r\n", chunked(&size)),
        ("an unknown coding", "transfer-encoding: xchunked\r\n", chunked(&size)),
        (
            "two codings",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            chunked(&size),
        ),
        ("a size that is none", "transfer-encoding: chunked\r\n", chunked("zz")),
        ("a size beyond u64", "transfer-encoding: chunked\r\n", chunked("fffffffffffffffff")),
    ];
    for (what, lengths, rest) in table {
        let (mut bytes, _) = world.signer.head(&Head::new("PUT", "/data/first"));
        bytes.extend_from_slice(lengths.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&rest);
        let (replies, open) = world.raw.talk(&bytes).await;
        assert!(replies.len() <= 1 && !open, "{what}: {replies:?}");
        let refused = replies.iter().all(|r| (400..500).contains(&r.status));
        assert!(refused, "{what}: {replies:?}");
    }
    // An honest length, and then bytes that belong to nothing.
    let head = Head::new("PUT", "/data/o").payload(sha256(b"hello"));
    let extra = [world.signer.request(&head, b"hello"), b"garbage\r\n\r\n".to_vec()].concat();
    let (replies, open) = world.raw.talk(&extra).await;
    let statuses: Vec<u16> = replies.iter().map(|r| r.status).collect();
    assert_eq!((statuses.as_slice(), open), (&[200, 400][..], false));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_end_early_or_hash_differently_leave_nothing() {
    use tokio::io::AsyncWriteExt;
    let world = World::start().await;
    // More was announced than comes before the client is gone.
    for length in [6, 5_000_000] {
        let (mut bytes, _) = world.signer.head(&Head::new("PUT", "/data/short"));
        bytes.extend_from_slice(format!("content-length: {length}\r\n\r\nhello").as_bytes());
        let mut connection = world.raw.connect().await;
        connection.write_all(&bytes).await.unwrap();
        connection.shutdown().await.unwrap();
    }
    let wrong = Head::new("PUT", "/data/wrong").payload(sha256(b"hellp"));
    world.expect("another hash", &wrong, b"hello", 400, "XAmzContentSHA256Mismatch").await;
    let nonsense = Head::new("PUT", "/data/wrong").payload("nonsense");
    world.expect("no hash", &nonsense, b"hello", 403, "SignatureDoesNotMatch").await;
    for (what, name, value, code) in [
        ("another MD5", "content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==", "BadDigest"),
        ("no MD5", "content-md5", "AAAA", "InvalidDigest"),
        ("another CRC", "x-amz-checksum-crc32", "AAAAAA==", "BadDigest"),
        ("no CRC", "x-amz-checksum-crc32", "!!!", "InvalidRequest"),
        ("an unknown checksum", "x-amz-checksum-foo", "AAAAAA==", "InvalidRequest"),
    ] {
        let head = Head::new("PUT", "/data/wrong").signed(name, value);
        world.expect(what, &head, b"hello", 400, code).await;
    }
    let (mut large, _) = world.signer.head(&Head::new("PUT", "/data/large"));
    large.extend_from_slice(b"content-length: 5368709121\r\n\r\n");
    let (replies, _) = world.raw.talk(&large).await;
    assert_eq!(replies[0].code(), "EntityTooLarge");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_can_not_be_injected() {
    let world = World::start().await;
    let injected = |text: &str| text.contains("\nx-evil");
    // In metadata, also in the form that stands for other bytes (RFC 2047).
    for value in ["a%0d%0ax-evil: 1", "=?UTF-8?Q?a=0D=0Ax-evil:_1?="] {
        let head = Head::new("PUT", "/data/o").signed("x-amz-meta-a", value);
        assert_eq!(world.ask(&head, b"hello").await.status, 200);
        let got = world.ask(&Head::new("HEAD", "/data/o"), b"").await;
        assert!(got.head.contains("\nx-amz-meta-a: ") && !injected(&got.head), "{}", got.head);
    }
    for query in [
        "response-content-type=text%2Fplain%0d%0ax-evil%3A%201",
        "response-content-disposition=a%00b",
        "response-cache-control=%0ax-evil%3A%201",
    ] {
        let head = Head::new("GET", &format!("/data/o?{query}"));
        let reply = world.ask(&head, b"").await;
        assert!(reply.status == 400 && !injected(&reply.head), "{query}: {}", reply.head);
    }
    // Bytes that are no UTF-8 can't be told apart from others once they are text.
    for value in ["caf\u{e9}".as_bytes(), b"caf\xe9"] {
        let head = Head::new("PUT", "/data/bytes").signed("x-amz-meta-a", "PLACE");
        let bytes = world.signer.request(&head, b"x");
        let at = bytes.windows(5).position(|w| w == b"PLACE").unwrap();
        let bytes = [&bytes[..at], value, &bytes[at + 5..]].concat();
        assert_eq!(world.raw.ask(&bytes).await.status, 403, "what was signed is something else");
    }
    let large = Head::new("PUT", "/data/meta").signed("x-amz-meta-a", "v".repeat(2049));
    world.expect("large metadata", &large, b"x", 400, "MetadataTooLarge").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_refused_over_every_protocol() {
    let fixture = wire::Fixture::start().await;
    let bearer = format!("Bearer {}", fixture.root_token());
    let auth = ("authorization", bearer.as_str());
    let framed = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    let copy = ("x-amz-copy-source", "/data/secret");
    let presigned = "/data/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKROOT&X-Amz-Date=D\
                     &X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=S";
    let table = [
        ("PUT", "/data/50%", vec![auth], 400, "InvalidURI"),
        ("PUT", "/data/%zz", vec![auth], 400, "InvalidURI"),
        ("PUT", "/data/%FF", vec![auth], 400, "InvalidURI"),
        ("PUT", "/data/a%00b", vec![auth], 400, "InvalidArgument"),
        ("PUT", "/data/framed", vec![auth, framed], 501, "NotImplemented"),
        ("PUT", "/data/framed", vec![framed], 501, "NotImplemented"),
        ("PUT", presigned, vec![copy], 403, "AccessDenied"),
        ("FROB", "/data/x", vec![auth], 501, "NotImplemented"),
    ];
    for protocol in PROTOCOLS {
        for (method, path, headers, status, code) in &table {
            let answer = fixture.send(protocol, method, path, headers, b"x").await;
            let got = (answer.status.as_u16(), answer.code());
            assert_eq!(got, (*status, (*code).to_owned()), "{protocol:?} {method} {path}");
        }
    }
}

//! aws-chunked bodies, signed and not, that are not what they say.

use super::World;
use super::support::sigv4::Head;

const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
/// Of the bytes `hello`.
const CRC32: &str = "NhCmhg==";

/// How a body differs from a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// The signature of the chunk, of the last chunk, or of the trailers is another.
    Chunk,
    Last,
    Trailers,
    /// They are not there.
    NoLast,
    NoTrailers,
    /// The trailer's value is another.
    Value,
    /// Something follows.
    Tail,
    /// More or fewer bytes are announced.
    More,
    Fewer,
}

/// The bytes `hello` in a chunk of their own.
fn body(world: &World, payload: &str, flaw: Flaw) -> Vec<u8> {
    let decoded = match flaw {
        Flaw::More => "6",
        Flaw::Fewer => "4",
        _ => "5",
    };
    let mut head = Head::new("PUT", "/data/framed")
        .payload(payload)
        .signed("content-encoding", "aws-chunked")
        .signed("x-amz-decoded-content-length", decoded);
    if payload != SIGNED {
        head = head.signed("x-amz-trailer", "x-amz-checksum-crc32");
    }
    let (mut request, mut seed) = world.signer.head(&head);
    let mut framed = Vec::new();
    let mut chunk = |data: &[u8], bad: bool| {
        let mut line = format!("{:x}", data.len());
        if payload != UNSIGNED {
            let signature = seed.chunk(data);
            let signature = if bad { "0".repeat(64) } else { signature };
            line += &format!(";chunk-signature={signature}");
        }
        [line.as_bytes(), b"\r\n", data].concat()
    };
    framed.extend(chunk(b"hello", flaw == Flaw::Chunk));
    framed.extend_from_slice(b"\r\n");
    if flaw != Flaw::NoLast {
        framed.extend(chunk(b"", flaw == Flaw::Last));
        if payload != SIGNED && flaw != Flaw::NoTrailers {
            let value = if flaw == Flaw::Value { "AAAAAA==" } else { CRC32 };
            framed.extend_from_slice(format!("x-amz-checksum-crc32:{value}\r\n").as_bytes());
            if payload == TRAILER {
                let signature = seed.trailers(&format!("x-amz-checksum-crc32:{value}\n"));
                let bad = flaw == Flaw::Trailers;
                let signature = if bad { "0".repeat(64) } else { signature };
                framed.extend_from_slice(
                    format!("x-amz-trailer-signature:{signature}\r\n").as_bytes(),
                );
            }
        }
        framed.extend_from_slice(b"\r\n");
    }
    if flaw == Flaw::Tail {
        framed.extend_from_slice(b"garbage");
    }
    request.extend_from_slice(format!("content-length: {}\r\n\r\n", framed.len()).as_bytes());
    request.extend_from_slice(&framed);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn framed_bodies_are_stored_only_if_all_of_them_is_right() {
    let world = World::start().await;
    let table = [
        (SIGNED, Flaw::Chunk, 403, "SignatureDoesNotMatch"),
        (SIGNED, Flaw::Last, 403, "SignatureDoesNotMatch"),
        (SIGNED, Flaw::NoLast, 400, "IncompleteBody"),
        (SIGNED, Flaw::Tail, 400, "InvalidRequest"),
        (SIGNED, Flaw::More, 400, "IncompleteBody"),
        (SIGNED, Flaw::Fewer, 400, "IncompleteBody"),
        (TRAILER, Flaw::Trailers, 403, "SignatureDoesNotMatch"),
        (TRAILER, Flaw::NoTrailers, 400, "InvalidRequest"),
        (TRAILER, Flaw::Value, 400, "BadDigest"),
        (TRAILER, Flaw::NoLast, 400, "IncompleteBody"),
        (UNSIGNED, Flaw::Value, 400, "BadDigest"),
        (UNSIGNED, Flaw::NoTrailers, 400, "InvalidRequest"),
        (UNSIGNED, Flaw::NoLast, 400, "IncompleteBody"),
        (UNSIGNED, Flaw::Tail, 400, "InvalidRequest"),
        (UNSIGNED, Flaw::More, 400, "IncompleteBody"),
        (UNSIGNED, Flaw::Fewer, 400, "IncompleteBody"),
    ];
    for (payload, flaw, status, code) in table {
        let reply = world.raw.ask(&body(&world, payload, flaw)).await;
        let got = (reply.status, reply.code());
        assert_eq!(got, (status, code.to_owned()), "{payload} {flaw:?}: {}", reply.text());
    }
    assert_eq!(world.keys().await, ["o"]);
    // The same without flaws, so that it is clear what was refused.
    for payload in [SIGNED, TRAILER, UNSIGNED] {
        let reply = world.raw.ask(&body(&world, payload, Flaw::None)).await;
        assert_eq!(reply.status, 200, "{payload}: {}", reply.text());
        let got = world.ask(&Head::new("GET", "/data/framed"), b"").await;
        assert_eq!(got.body, b"hello", "{payload}");
        assert_eq!(world.ask(&Head::new("DELETE", "/data/framed"), b"").await.status, 204);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_framing_are_refused() {
    let world = World::start().await;
    let meta = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(5_000));
    let trailers = format!("5\r\nhello\r\n0\r\nx:{}\r\n\r\n", "b".repeat(60_000));
    let table: [(&str, &str, &str); 9] = [
        ("none", "garbage", "IncompleteBody"),
        ("a size that is none", "zz\r\nhello\r\n0\r\n\r\n", "InvalidRequest"),
        ("a size with a tail", "5x\r\nhello\r\n0\r\n\r\n", "InvalidRequest"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n", "InvalidRequest"),
        ("a size beyond the length", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "IncompleteBody"),
        ("a size beyond u64", "10000000000000005\r\nhello\r\n0\r\n\r\n", "InvalidRequest"),
        ("no line break", "5\r\nhello0\r\n\r\n", "InvalidRequest"),
        ("an endless line", &meta, "InvalidRequest"),
        ("endless trailers", &trailers, "MalformedTrailerError"),
    ];
    for (what, body, code) in table {
        let head = Head::new("PUT", "/data/framed")
            .payload(UNSIGNED)
            .signed("x-amz-decoded-content-length", "5")
            .signed("x-amz-trailer", "x-amz-checksum-crc32");
        world.expect(what, &head, body.as_bytes(), 400, code).await;
    }
    for (length, status, code) in [
        ("abc", 400, "InvalidRequest"),
        ("18446744073709551615", 400, "InvalidArgument"),
        ("5368709121", 400, "EntityTooLarge"),
    ] {
        let head = Head::new("PUT", "/data/framed")
            .payload(UNSIGNED)
            .signed("x-amz-decoded-content-length", length)
            .signed("x-amz-trailer", "x-amz-checksum-crc32");
        world.expect(length, &head, b"0\r\n\r\n", status, code).await;
    }
    world.stop().await;
}

//! Numbers that are too large, too small, or none.

use super::World;
use super::support::signed::Between;
use super::support::sigv4::Head;

#[tokio::test(flavor = "multi_thread")]
async fn numbers_out_of_range_are_refused_and_never_wrap() {
    let world = World::start().await;
    let begun = world.ask(&Head::new("POST", "/data/parts?uploads="), b"").await.text();
    let id = begun.between("<UploadId>", "</UploadId>").to_owned();
    let part = |n: &str| format!("/data/parts?partNumber={n}&uploadId={id}");
    let huge = "9".repeat(100);
    let mut table = vec![
        ("GET", "/data?list-type=2&max-keys=-1".to_owned(), 400, "InvalidArgument"),
        ("GET", "/data?list-type=2&max-keys=2147483648".into(), 400, "InvalidArgument"),
        ("GET", "/data?list-type=2&max-keys=abc".into(), 400, "InvalidArgument"),
        ("GET", format!("/data?list-type=2&max-keys={huge}"), 400, "InvalidArgument"),
        ("GET", "/data?uploads=&max-uploads=-5".into(), 400, "InvalidArgument"),
        ("GET", format!("/data/parts?uploadId={id}&max-parts=99999999999"), 400, "InvalidArgument"),
        (
            "GET",
            format!("/data/parts?uploadId={id}&part-number-marker={huge}"),
            400,
            "InvalidArgument",
        ),
        ("GET", "/data/o?partNumber=99999999999".into(), 400, "InvalidArgument"),
        ("GET", "/data/o?partNumber=1&partNumber=2".into(), 400, "InvalidRequest"),
        ("PUT", "/data/parts?partNumber=1&uploadId=x".into(), 404, "NoSuchUpload"),
        ("PUT", "/data/parts?partNumber=1&uploadId=..%2F..".into(), 404, "NoSuchUpload"),
        ("PUT", "/data/parts?partNumber=1&uploadId=%00".into(), 404, "NoSuchUpload"),
        (
            "GET",
            format!("/data?list-type=2&continuation-token={}", "A".repeat(5000)),
            400,
            "InvalidArgument",
        ),
    ];
    for n in ["0", "10001", "-1", "65537", "4294967297", "99999999999", "1e3", ""] {
        table.push(("PUT", part(n), 400, "InvalidArgument"));
    }
    for (method, target, status, code) in &table {
        let shown: String = target.chars().take(80).collect();
        world.expect(&shown, &Head::new(method, target), b"", *status, code).await;
    }
    for n in ["0", "-1", "2", "10001"] {
        let head = Head::new("GET", &format!("/data/o?partNumber={n}"));
        let status = world.ask(&head, b"").await.status;
        assert!(status == 400 || status == 416, "part {n}: {status}");
    }
    // Markers beyond everything list nothing.
    let after =
        Head::new("GET", &format!("/data/parts?uploadId={id}&part-number-marker=2147483647"));
    assert!(!world.ask(&after, b"").await.text().contains("<Part>"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_within_the_object_or_refused() {
    let world = World::start().await;
    let huge = format!("bytes=0-{}", "9".repeat(100));
    let table = [
        ("bytes=0-0", 206, "h"),
        ("bytes=1-99", 206, "ello"),
        ("bytes=-2", 206, "lo"),
        ("bytes=-9223372036854775807", 206, "hello"),
        ("bytes=5-", 416, ""),
        ("bytes=-0", 416, ""),
        ("bytes=9223372036854775807-", 416, ""),
    ];
    for (range, status, body) in table {
        let head = Head::new("GET", "/data/o").signed("range", range);
        let reply = world.ask(&head, b"").await;
        assert_eq!(reply.status, status, "{range}: {}", reply.text());
        if status == 206 {
            assert_eq!(reply.text(), body, "{range}");
        }
    }
    // S3 knows one range of bytes at a time; whatever else is asked for, it is never half of it.
    for range in [
        "bytes=0-18446744073709551615",
        "bytes=18446744073709551615-18446744073709551616",
        "bytes=-18446744073709551616",
        "bytes=0-0,2-3",
        "bytes=3-1",
        "bytes=a-b",
        "bytes=",
        "lines=1-2",
        &huge,
    ] {
        let head = Head::new("GET", "/data/o").signed("range", range);
        let reply = world.ask(&head, b"").await;
        let whole = reply.body == b"hello" && matches!(reply.status, 200 | 206);
        assert!(whole || matches!(reply.status, 400 | 416), "{range}: {reply:?}");
    }
    let begun = world.ask(&Head::new("POST", "/data/parts?uploads="), b"").await.text();
    let id = begun.between("<UploadId>", "</UploadId>").to_owned();
    for (range, code) in [
        ("bytes=0-18446744073709551615", "InvalidRange"),
        ("bytes=18446744073709551615-18446744073709551615", "InvalidRange"),
        ("bytes=0-5", "InvalidRange"),
        ("bytes=3-1", "InvalidRange"),
        ("bytes=1-", "InvalidArgument"),
        ("x", "InvalidArgument"),
    ] {
        let head = Head::new("PUT", &format!("/data/parts?partNumber=1&uploadId={id}"))
            .signed("x-amz-copy-source", "/data/o")
            .signed("x-amz-copy-source-range", range);
        let reply = world.ask(&head, b"").await;
        assert_eq!(reply.code(), code, "{range}: {}", reply.text());
        assert!(matches!(reply.status, 400 | 416), "{range}");
    }
    world.stop().await;
}

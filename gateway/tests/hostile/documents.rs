//! XML that is too long, too deep, or none.

use super::World;
use super::support::signed::Between;
use super::support::sigv4::Head;
use std::fmt::Write as _;

#[tokio::test(flavor = "multi_thread")]
async fn completions_that_are_none_complete_nothing() {
    let world = World::start().await;
    let begun = world.ask(&Head::new("POST", "/data/parts?uploads="), b"").await.text();
    let id = begun.between("<UploadId>", "</UploadId>").to_owned();
    for n in [1, 2] {
        let put = Head::new("PUT", &format!("/data/parts?partNumber={n}&uploadId={id}"));
        assert_eq!(world.ask(&put, b"x").await.status, 200);
    }
    let complete = Head::new("POST", &format!("/data/parts?uploadId={id}"));

    // The MD5 of `x`.
    let part = |n: i64| {
        format!(
            "<Part><PartNumber>{n}</PartNumber><ETag>9dd4e461268c8034f5c8564e155c67a6</ETag></Part>"
        )
    };
    let all = |inner: &str| {
        format!("<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>").into_bytes()
    };
    let etag =
        |text: &str| all(&format!("<Part><PartNumber>1</PartNumber><ETag>{text}</ETag></Part>"));
    let parts = |n: i64| all(&(1..=n).map(part).collect::<String>());
    let mut laughs = format!("<!DOCTYPE l [<!ENTITY a0 \"{}\">", "x".repeat(1000));
    for i in 1..10 {
        let inner = format!("&a{};", i - 1).repeat(10);
        write!(laughs, "<!ENTITY a{i} \"{inner}\">").unwrap();
    }
    let laughs = [laughs.as_bytes(), b"]>", &etag("&a9;")].concat();
    let file = b"<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>".to_vec();
    let deep = format!("{}{}", "<a>".repeat(200_000), "</a>".repeat(200_000));
    let attributes: String = (0..100_000).map(|i| format!(" a{i}=\"b\"")).collect();
    let utf16: Vec<u8> =
        String::from_utf8(parts(1)).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();

    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no body", vec![], "MalformedXML"),
        ("no XML", b"hello".to_vec(), "MalformedXML"),
        ("another root", format!("<Foo>{}</Foo>", part(1)).into_bytes(), "MalformedXML"),
        ("no end", parts(1)[..80].to_vec(), "MalformedXML"),
        ("two roots", [parts(1), b"<x/>".to_vec()].concat(), "MalformedXML"),
        ("no parts", all(""), "MalformedXML"),
        (
            "no UTF-8",
            etag("\u{1}").iter().map(|b| if *b == 1 { 0xFF } else { *b }).collect(),
            "MalformedXML",
        ),
        ("UTF-16", utf16, "MalformedXML"),
        ("deeply nested", all(&deep), "MalformedXML"),
        ("nested without end", "<a>".repeat(1_000_000).into_bytes(), "MalformedXML"),
        (
            "many attributes",
            format!("<CompleteMultipartUpload{attributes}/>").into_bytes(),
            "MalformedXML",
        ),
        ("entities in entities", laughs, "MalformedXML"),
        ("a file of the server", [file, etag("&x;")].concat(), "MalformedXML"),
        ("characters that are none", etag("&#0;&#xFFFFFFFF;"), "MalformedXML"),
        ("many characters", etag(&"&#65;".repeat(100_000)), "InvalidPart"),
        ("a part beyond i32", all(&part(99_999_999_999)), "MalformedXML"),
        ("part 0", all(&part(0)), "InvalidArgument"),
        ("part -1", all(&part(-1)), "InvalidArgument"),
        ("10,001 parts", parts(10_001), "InvalidArgument"),
        ("100,000 parts", parts(100_000), "MaxMessageLengthExceeded"),
        ("5 MiB of nothing", all(&" ".repeat(5 * 1024 * 1024)), "MaxMessageLengthExceeded"),
        ("a part twice", all(&(part(1) + &part(1))), "InvalidPartOrder"),
        ("parts backwards", all(&(part(2) + &part(1))), "InvalidPartOrder"),
        ("a part that never came", all(&part(3)), "InvalidPart"),
    ];
    for (what, body, code) in table {
        world.expect(what, &complete, &body, 400, code).await;
    }
    let changed = complete.clone().signed("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    world.expect("changed on its way", &changed, &parts(1), 400, "BadDigest").await;
    // The upload has survived all of that.
    assert_eq!(world.ask(&complete, &parts(1)).await.status, 200);
    assert_eq!(world.ask(&Head::new("DELETE", "/data/parts"), b"").await.status, 204);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_objects_to_delete_are_obeyed_only_if_they_came_whole() {
    let world = World::start().await;
    let delete = Head::new("POST", "/data?delete=");
    let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
    let all = |inner: &str| format!("<Delete>{inner}</Delete>").into_bytes();
    let many: String = (0..1001).map(|i| object(&i.to_string())).collect();
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("1,001 keys", all(&(many + &object("o"))), "MalformedXML"),
        ("no keys", all(""), "MalformedXML"),
        ("another root", format!("<X>{}</X>", object("o")).into_bytes(), "MalformedXML"),
        ("no XML", b"hello".to_vec(), "MalformedXML"),
        ("too long", all(&object(&"o".repeat(5 * 1024 * 1024))), "MaxMessageLengthExceeded"),
    ];
    for (what, body, code) in table {
        world.expect(what, &delete, &body, 400, code).await;
    }
    // What was signed without its body, and then changed.
    for (name, value) in [
        ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ] {
        let head = delete.clone().signed(name, value);
        world.expect(name, &head, &all(&object("o")), 400, "BadDigest").await;
    }
    for (name, value) in [("content-md5", "AAAA"), ("x-amz-checksum-crc32", "!")] {
        let head = delete.clone().signed(name, value);
        world.expect(name, &head, &all(&object("o")), 400, "InvalidDigest").await;
    }
    // A key that can't be is told so by itself.
    let reply = world.ask(&delete, &all(&object(&"k".repeat(1025)))).await;
    assert_eq!((reply.status, reply.code()), (200, "InvalidArgument".to_owned()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_were_changed_on_their_way_are_not_taken() {
    let world = World::start().await;
    let tags = |value: &str| {
        format!("<Tagging><TagSet><Tag><Key>k</Key><Value>{value}</Value></Tag></TagSet></Tagging>")
    };
    let put = Head::new("PUT", "/data?tagging=").signed("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    world.expect("tags", &put, tags("v").as_bytes(), 400, "BadDigest").await;
    let put = Head::new("PUT", "/data?tagging=");
    let long = tags(&"v".repeat(5 * 1024 * 1024));
    world.expect("tags", &put, long.as_bytes(), 400, "MaxMessageLengthExceeded").await;
    world.expect("tags", &put, b"<Tagging><TagSet>", 400, "MalformedXML").await;
    let got = world.ask(&Head::new("GET", "/data?tagging="), b"").await;
    assert_eq!(got.code(), "NoSuchTagSet", "{}", got.text());
    world.stop().await;
}

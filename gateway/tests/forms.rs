//! Uploads from browsers' forms, over real HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/people.rs"]
mod people;
#[path = "support/signed.rs"]
mod signed;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use people::{People, secret_of};
use serde_json::{Value, json};
use signed::{Answer, Between, Extras, Signed};

type Fields = Vec<(String, String)>;

/// A form as browsers write it. The file is the last field.
fn form(fields: &Fields, file: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in fields {
        text.extend_from_slice(
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .as_bytes(),
        );
    }
    text.extend_from_slice(
        b"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.png\"\r\n\
          Content-Type: image/png\r\n\r\n",
    );
    text.extend_from_slice(file);
    text.extend_from_slice(b"\r\n--edge--\r\n");
    text
}

async fn post(who: &Signed, path: &str, body: Vec<u8>) -> Answer {
    let headers = vec![("content-type", "multipart/form-data; boundary=edge".to_owned())];
    who.must("POST", path, Extras { headers, body, ..Extras::default() }).await
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

/// Adds a policy of these conditions and ann's signature under it.
fn sign(mut form: Fields, conditions: Value, expiration: &str) -> Fields {
    let (day, date) = ("20300101", "20300101T000000Z");
    let credential = format!("ann/{day}/us-east-1/s3/aws4_request");
    for (name, value) in [
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", &credential),
        ("x-amz-date", date),
    ] {
        form.push((name.into(), value.into()));
    }
    let mut all = vec![
        json!({"x-amz-algorithm": "AWS4-HMAC-SHA256"}),
        json!({"x-amz-credential": credential}),
        json!({"x-amz-date": date}),
    ];
    all.extend(conditions.as_array().unwrap().iter().cloned());
    let policy = json!({"expiration": expiration, "conditions": all}).to_string();
    let policy = STANDARD.encode(policy);
    let sign = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let mut key = format!("AWS4{}", secret_of("ann")).into_bytes();
    for part in [day, "us-east-1", "s3", "aws4_request", &policy] {
        key = sign(&key, part);
    }
    form.push(("x-amz-signature".into(), hex::encode(key)));
    form.push(("policy".into(), policy));
    form
}

const NEVER: &str = "2099-01-01T00:00:00.000Z";

fn usual() -> (Fields, Value) {
    (
        fields(&[("key", "up/${filename}"), ("acl", "private"), ("Content-Type", "image/png")]),
        json!([
            {"bucket": "data"}, ["starts-with", "$key", "up/"], {"ACL": "private"},
            ["starts-with", "$Content-Type", "image/"], ["content-length-range", 2, 2_000_000]
        ]),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_forms_upload_what_they_say() {
    let people = People::start().await;
    let (ann, nobody) = (&people.ann, &people.nobody);
    ann.must("PUT", "/data", Extras::default()).await;
    let (mut form_fields, mut conditions) = usual();
    let tags = "<Tagging><TagSet><Tag><Key>team</Key><Value>red</Value></Tag></TagSet></Tagging>";
    for (name, value) in [
        ("x-amz-meta-name", "Tom"),
        ("tagging", tags),
        ("success_action_status", "201"),
        ("x-ignore-me", "x"),
        ("x-amz-checksum-sha256", "aGVsbG8="),
    ] {
        form_fields.push((name.into(), value.into()));
        conditions.as_array_mut().unwrap().push(json!(["starts-with", format!("${name}"), ""]));
    }
    let file: Vec<u8> = (0..1_500_000u32).map(|i| (i * 7 % 251) as u8).collect();
    let send = |form_fields: Fields| {
        let signed = sign(form_fields, conditions.clone(), NEVER);
        post(nobody, "/data", form(&signed, &file))
    };
    // A checksum that is wrong, then none.
    let wrong = send(form_fields.clone()).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    form_fields.retain(|(name, _)| !name.contains("checksum"));
    let answer = send(form_fields).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let text = answer.text();
    assert_eq!(text.between("<Key>", "</Key>"), "up/cat.png", "{text}");
    assert!(text.between("<Location>", "</Location>").ends_with("/data/up/cat.png"), "{text}");

    let got = ann.must("GET", "/data/up/cat.png", Extras::default()).await;
    assert!(got.body == file);
    assert_eq!(got.headers["content-type"], "image/png");
    assert_eq!(got.headers["x-amz-meta-name"], "Tom");
    assert_eq!(text.between("<ETag>", "</ETag>").replace("&quot;", ""), got.etag());
    let tagging = Extras { query: "tagging", ..Extras::default() };
    let tagging = ann.must("GET", "/data/up/cat.png", tagging).await.text();
    assert_eq!(tagging.between("<Value>", "</Value>"), "red", "{tagging}");
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_do_not_keep_to_their_policy_store_nothing() {
    let people = People::start().await;
    let (ann, nobody) = (&people.ann, &people.nobody);
    for bucket in ["/data", "/other"] {
        ann.must("PUT", bucket, Extras::default()).await;
    }
    assert_eq!(people.eve.must("PUT", "/eves", Extras::default()).await.status, 200);
    let replace = |name: &str, value: &str| {
        let (mut form, conditions) = usual();
        let field = form.iter_mut().find(|(n, _)| n == name).unwrap();
        field.1 = value.to_owned();
        sign(form, conditions, NEVER)
    };
    let signed = || {
        let (form, conditions) = usual();
        sign(form, conditions, NEVER)
    };
    let without = |name: &str| signed().into_iter().filter(|(n, _)| n != name).collect::<Fields>();
    let with = |name: &str, value: &str| {
        let mut form = without(name);
        form.push((name.into(), value.into()));
        form
    };
    let sign_2 = |secret: &str| {
        let key = secret_of(secret);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
        let (mut form, conditions) = usual();
        let json = json!({"expiration": NEVER, "conditions": conditions}).to_string();
        let policy = STANDARD.encode(json);
        let signature = STANDARD.encode(hmac::sign(&key, policy.as_bytes()));
        for (name, value) in
            [("AWSAccessKeyId", "ann"), ("signature", &signature), ("policy", &policy)]
        {
            form.push((name.into(), value.into()));
        }
        form
    };
    let expired = {
        let (form, conditions) = usual();
        sign(form, conditions, "2020-01-01T00:00:00Z")
    };
    let elsewhere = {
        let (form, mut conditions) = usual();
        conditions[0] = json!({"bucket": "eves"});
        sign(form, conditions, NEVER)
    };
    let small = &b"abc"[..];
    let large = vec![b'x'; 2_000_001];
    type Case<'a> = (&'a str, &'a str, Fields, &'a [u8], u16, &'a str);
    let table: Vec<Case<'_>> = vec![
        ("good", "/data", signed(), small, 204, ""),
        ("a field more", "/data", with("x-amz-meta-a", "b"), small, 403, "AccessDenied"),
        ("another key", "/data", replace("key", "down/x"), small, 403, "AccessDenied"),
        ("another acl", "/data", replace("acl", "public-read"), small, 403, "AccessDenied"),
        ("no type", "/data", without("Content-Type"), small, 403, "AccessDenied"),
        ("expired", "/data", expired, small, 403, "AccessDenied"),
        ("another bucket", "/other", signed(), small, 403, "AccessDenied"),
        ("a bucket of another", "/eves", elsewhere, small, 403, "AccessDenied"),
        ("too large", "/data", signed(), &large, 400, "EntityTooLarge"),
        ("too small", "/data", signed(), b"a", 400, "EntityTooSmall"),
        ("no signature", "/data", without("x-amz-signature"), small, 400, "InvalidArgument"),
        ("no policy", "/data", without("policy"), small, 400, "InvalidArgument"),
        ("no key", "/data", without("key"), small, 400, "InvalidArgument"),
        (
            "wrong",
            "/data",
            with("x-amz-signature", &"0".repeat(64)),
            small,
            403,
            "SignatureDoesNotMatch",
        ),
        ("nonsense", "/data", with("x-amz-signature", "x"), small, 403, "SignatureDoesNotMatch"),
        (
            "unknown",
            "/data",
            with("x-amz-credential", "zoe/20300101/r/s3/aws4_request"),
            small,
            403,
            "InvalidAccessKeyId",
        ),
        (
            "other scope",
            "/data",
            with("x-amz-credential", "ann/20300102/r/s3/aws4_request"),
            small,
            400,
            "AuthorizationQueryParametersError",
        ),
        ("both versions", "/data", with("signature", "eA=="), small, 400, "InvalidArgument"),
        ("version 2", "/data", sign_2("ann"), small, 204, ""),
        ("version 2, wrong", "/data", sign_2("eve"), small, 403, "SignatureDoesNotMatch"),
        ("to an object", "/data/a", signed(), small, 405, "MethodNotAllowed"),
        ("anonymous", "/data", fields(&[("key", "up/a")]), small, 403, "AccessDenied"),
        (
            "anonymous, no such bucket",
            "/nowhere",
            fields(&[("key", "up/a")]),
            small,
            403,
            "AccessDenied",
        ),
    ];
    for (what, path, fields, file, status, code) in table {
        let answer = post(nobody, path, form(&fields, file)).await;
        let got = (answer.status.as_u16(), answer.code());
        assert_eq!(got, (status, code.to_owned()), "{what}: {}", answer.text());
        let object = ann.must("DELETE", "/data/up/cat.png", Extras::default()).await;
        assert_eq!(object.status, 204);
    }
    // Forms that end too soon, at any place.
    let whole = form(&signed(), small);
    for end in [0, 1, 30, whole.len() / 2, whole.len() - 12] {
        let answer = post(nobody, "/data", whole[..end].to_vec()).await;
        assert_eq!(answer.status, 400, "cut at {end}: {}", answer.text());
    }
    let list = ann.must("GET", "/data", Extras::default()).await.text();
    assert!(!list.contains("<Key>"), "{list}");
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_buckets_open_them_to_forms_without_signature() {
    let people = People::start().await;
    let (ann, nobody) = (&people.ann, &people.nobody);
    ann.must("PUT", "/data", Extras::default()).await;
    let policy = json!({"Statement": {
        "Effect": "Allow", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::data/open/*",
        "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
    }});
    let body = policy.to_string().into_bytes();
    let set = Extras { query: "policy", body, ..Extras::default() };
    assert_eq!(ann.must("PUT", "/data", set).await.status, 204);
    let acl = ("acl", "bucket-owner-full-control");
    for (pairs, status) in [
        (vec![("key", "open/a"), acl], 204),
        (vec![("key", "open/a")], 403),
        (vec![("key", "closed/a"), acl], 403),
    ] {
        let answer = post(nobody, "/data", form(&fields(&pairs), b"x")).await;
        assert_eq!(answer.status, status, "{pairs:?}: {}", answer.text());
    }
    let target = "https://example.org/done?a=b";
    let pairs = [("key", "open/b"), acl, ("success_action_redirect", target)];
    let answer = post(nobody, "/data", form(&fields(&pairs), b"x")).await;
    assert_eq!(answer.status, 303);
    let location = answer.headers["location"].to_str().unwrap();
    assert!(
        location.starts_with(&format!("{target}&bucket=data&key=open%2Fb&etag=%22")),
        "{location}"
    );
    people.stop().await;
}

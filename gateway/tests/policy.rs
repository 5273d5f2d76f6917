//! Who may do what by bucket policies, ownership and public access blocks, over real HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/people.rs"]
mod people;
#[path = "support/signed.rs"]
mod signed;

use coffer_client::{TokenRequest, Verb};
use people::People;
use serde_json::{Value, json};
use signed::{Between, Extras, Signed};
use std::time::Duration;

/// A policy for the bucket `data` of statements, each of which allows unless it says otherwise.
fn policy(statements: Value) -> Vec<u8> {
    let mut statements = statements;
    for statement in statements.as_array_mut().unwrap() {
        for (field, value) in [
            ("Effect", json!("Allow")),
            ("Principal", json!("*")),
            ("Resource", json!(["arn:aws:s3:::data", "arn:aws:s3:::data/*"])),
        ] {
            statement.as_object_mut().unwrap().entry(field).or_insert(value);
        }
    }
    json!({"Version": "2012-10-17", "Statement": statements}).to_string().into_bytes()
}

fn query(query: &str) -> Extras<'_> {
    Extras { query, ..Extras::default() }
}

fn with_headers(headers: &[(&'static str, &str)]) -> Extras<'static> {
    let headers = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
    Extras { headers, ..Extras::default() }
}

async fn set_policy(who: &Signed, statements: Value) {
    let body = policy(statements);
    let answer = who.must("PUT", "/data", Extras { query: "policy", body, ..Extras::default() });
    let answer = answer.await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// Sends `method path?query` as someone and returns status and error code.
async fn tell(who: &Signed, request: &str) -> (u16, String) {
    let (method, target) = request.split_once(' ').unwrap();
    let (path, asked) = target.split_once('?').unwrap_or((target, ""));
    let answer = who.must(method, path, query(asked)).await;
    (answer.status.as_u16(), answer.code())
}

fn denied() -> (u16, String) {
    (403, "AccessDenied".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_open_and_close_what_grants_do_not() {
    let people = People::start().await;
    let (ann, bob, nobody) = (&people.ann, &people.bob, &people.nobody);
    assert_eq!(ann.must("PUT", "/data", Extras::default()).await.status, 200);
    for key in ["open/a", "closed/a"] {
        let answer = ann.must("PUT", &format!("/data/{key}"), Extras::default()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    // Nothing is open before there is a policy, nor after it is gone.
    let requests = ["GET /data/open/a", "HEAD /data/open/a", "GET /data", "GET /data?policy"];
    for who in [bob, nobody] {
        for request in requests {
            assert_eq!(tell(who, request).await.0, 403, "{request}");
        }
    }

    set_policy(
        ann,
        json!([
            {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/open/*"},
            {"Action": "s3:ListBucket", "Condition": {"StringLike": {"s3:prefix": "open/*"}}},
            {
                "Action": ["s3:PutObject", "s3:DeleteObject*"],
                "Principal": {"AWS": "arn:aws:iam:::user/bob"}
            },
            {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::data/open/*"},
            {
                "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/closed/*",
                "Condition": {"StringEquals": {"aws:Referer": "https://example.org/"}}
            },
        ]),
    )
    .await;
    // request, as ann (owner), bob, nobody
    let table = [
        ("GET /data/open/a", [200, 200, 200]),
        ("HEAD /data/open/a", [200, 200, 200]),
        ("GET /data/closed/a", [200, 403, 403]),
        ("GET /data?prefix=open/", [200, 200, 200]),
        ("GET /data?list-type=2&prefix=open/a", [200, 200, 200]),
        ("GET /data?prefix=", [200, 403, 403]),
        ("PUT /data/b", [200, 200, 403]),
        ("DELETE /data/b", [204, 204, 403]),
        // The policy's denial holds for the owner too.
        ("DELETE /data/open/a", [403, 403, 403]),
        // That an object is not there is told to those who may list it, and to nobody else.
        ("GET /data/open/none", [404, 404, 404]),
        ("GET /data/open/none?versionId=null", [404, 403, 403]),
        ("GET /data/closed/none", [404, 403, 403]),
        ("HEAD /data/closed/none", [404, 403, 403]),
        ("GET /data?policy", [200, 403, 403]),
        ("GET /data?acl", [200, 403, 403]),
        ("PUT /data?policy", [400, 403, 403]),
        ("DELETE /data", [409, 403, 403]),
        ("GET /", [200, 200, 403]),
        ("GET /nowhere/x", [404, 403, 403]),
    ];
    for (request, expected) in table {
        for (who, expected) in [ann, bob, nobody].into_iter().zip(expected) {
            assert_eq!(tell(who, request).await.0, expected, "{request}");
        }
    }
    let referred = with_headers(&[("referer", "https://example.org/")]);
    assert_eq!(nobody.must("GET", "/data/closed/a", referred).await.status, 200);

    // Each line of a multi-object delete is judged by itself.
    let body = b"<Delete><Object><Key>open/a</Key></Object><Object><Key>c</Key></Object></Delete>";
    let lines = Extras { query: "delete", body: body.to_vec(), ..Extras::default() };
    let answer = bob.must("POST", "/data", lines).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    assert_eq!(text.between("<Deleted><Key>", "</Key>"), "c", "{text}");
    assert_eq!(text.between("<Error>", "</Error>").between("<Key>", "</Key>"), "open/a", "{text}");

    // A copy needs its source as well as its target.
    for (source, status) in [("/data/open/a", 200), ("data/%6Fpen/a", 200), ("/data/closed/a", 403)]
    {
        let copy = with_headers(&[("x-amz-copy-source", source)]);
        assert_eq!(bob.must("PUT", "/data/copy", copy).await.status, status, "{source}");
    }

    assert_eq!(tell(ann, "DELETE /data?policy").await.0, 204);
    assert_eq!(tell(ann, "GET /data?policy").await, (404, "NoSuchBucketPolicy".into()));
    assert_eq!(tell(nobody, "GET /data/open/a").await, denied());
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_decide_where_a_policy_asks_for_them() {
    let people = People::start().await;
    let (ann, bob) = (&people.ann, &people.bob);
    ann.must("PUT", "/data", Extras::default()).await;
    for (key, tags) in [("red", "team=red"), ("blue", "team=blue"), ("none", "")] {
        let tagged = with_headers(&[("x-amz-tagging", tags)]);
        assert_eq!(ann.must("PUT", &format!("/data/{key}"), tagged).await.status, 200);
    }
    set_policy(
        ann,
        json!([
            {
                "Action": ["s3:GetObject", "s3:PutObjectTagging"],
                "Condition": {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}
            },
            {
                "Action": "s3:PutObject",
                "Condition": {"StringEquals": {"s3:RequestObjectTag/team": "green"}}
            },
            {
                "Effect": "Deny", "Action": "s3:PutObjectTagging",
                "Condition": {"ForAnyValue:StringEquals": {"s3:RequestObjectTagKeys": "secret"}}
            },
        ]),
    )
    .await;
    for (key, status) in [("red", 200), ("blue", 403), ("none", 403), ("missing", 403)] {
        assert_eq!(tell(bob, &format!("GET /data/{key}")).await.0, status, "{key}");
    }
    for (tags, status) in [("team=green", 200), ("team=red", 403), ("", 403), ("team=%FF", 403)] {
        let tagged = with_headers(&[("x-amz-tagging", tags)]);
        assert_eq!(bob.must("PUT", "/data/new", tagged).await.status, status, "{tags}");
    }
    // The tags that a body sets are known when it has been read.
    for (key, tag, status) in
        [("red", "team", 200), ("red", "team", 200), ("red", "secret", 403), ("blue", "team", 403)]
    {
        let body = format!(
            "<Tagging><TagSet><Tag><Key>{tag}</Key><Value>red</Value></Tag></TagSet></Tagging>"
        );
        let tagging = Extras { query: "tagging", body: body.into_bytes(), ..Extras::default() };
        let answer = bob.must("PUT", &format!("/data/{key}"), tagging).await;
        assert_eq!(answer.status, status, "{key} {tag}: {}", answer.text());
    }
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_write_is_not_to_lock() {
    let people = People::start().await;
    let (ann, bob) = (&people.ann, &people.bob);
    let locked = with_headers(&[("x-amz-bucket-object-lock-enabled", "true")]);
    assert_eq!(ann.must("PUT", "/data", locked).await.status, 200);
    let put = async |who: &Signed, headers: &[(&'static str, &str)]| {
        let answer = who.must("PUT", "/data/a", with_headers(headers)).await;
        answer.status.as_u16()
    };
    let held = [("x-amz-object-lock-legal-hold", "ON")];
    let kept = [
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
    ];
    set_policy(ann, json!([{"Action": "s3:PutObject"}])).await;
    assert_eq!(put(bob, &[("x-amz-tagging", "a=b")]).await, 200);
    assert_eq!(put(bob, &held).await, 403);
    assert_eq!(put(bob, &kept).await, 403);
    assert_eq!(put(ann, &held).await, 200);
    set_policy(
        ann,
        json!([
            {"Action": ["s3:PutObject", "s3:PutObjectRetention"]},
            {"Effect": "Deny", "Action": "s3:PutObjectTagging"},
        ]),
    )
    .await;
    assert_eq!(put(bob, &kept).await, 200);
    assert_eq!(put(bob, &held).await, 403);
    assert_eq!(put(bob, &[("x-amz-tagging", "a=b")]).await, 403);
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_have_their_buckets_and_no_others() {
    let people = People::start().await;
    let (root, ann, eve) = (&people.root, &people.ann, &people.eve);
    for (who, bucket, status, code) in [
        (ann, "data", 200, ""),
        // In its first region S3 says yes to the owner, and changes nothing.
        (ann, "data", 200, ""),
        (eve, "data", 409, "BucketAlreadyExists"),
        (eve, "eves", 200, ""),
        (root, "eves", 409, "BucketAlreadyExists"),
        (&people.bob, "bobs", 403, "AccessDenied"),
        (&people.nobody, "nobodys", 403, "AccessDenied"),
    ] {
        let answer = tell(who, &format!("PUT /{bucket}")).await;
        assert_eq!(answer, (status, code.to_owned()), "{bucket}");
    }
    for (who, name, seen) in
        [(root, "root", "data eves"), (ann, "ann", "data"), (eve, "eve", "eves")]
    {
        let text = who.must("GET", "/", Extras::default()).await.text();
        let names: Vec<_> =
            text.split("<Name>").skip(1).map(|t| t.split('<').next().unwrap()).collect();
        assert_eq!(names.join(" "), seen, "{name}");
        assert_eq!(text.between("<Owner>", "</Owner>").between("<ID>", "</ID>"), name);
    }
    assert_eq!(tell(ann, "PUT /data/a").await.0, 200);
    for request in ["GET /data/a", "PUT /data/a", "GET /data", "DELETE /data", "HEAD /data"] {
        assert_eq!(tell(eve, request).await.0, 403, "{request}");
    }
    let acl = ann.must("GET", "/data/a", query("acl")).await.text();
    assert_eq!(acl.between("<Permission>", "</Permission>"), "FULL_CONTROL", "{acl}");
    assert_eq!(acl.between("<ID>", "</ID>"), "ann", "{acl}");
    let again = Extras { query: "acl", body: acl.into_bytes(), ..Extras::default() };
    assert_eq!(ann.must("PUT", "/data/a", again).await.status, 200);
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_say_what_is_so_or_are_refused() {
    let people = People::start().await;
    let ann = &people.ann;
    ann.must("PUT", "/data", Extras::default()).await;
    ann.must("PUT", "/data/a", Extras::default()).await;
    let controls = |rule: &str| {
        let body = format!(
            "<OwnershipControls><Rule><ObjectOwnership>{rule}</ObjectOwnership></Rule>\
             </OwnershipControls>"
        );
        Extras { query: "ownershipControls", body: body.into_bytes(), ..Extras::default() }
    };
    assert_eq!(
        tell(ann, "GET /data?ownershipControls").await,
        (404, "OwnershipControlsNotFoundError".into())
    );
    for (rule, status) in [("ObjectWriter", 400), ("None", 400), ("BucketOwnerEnforced", 200)] {
        let answer = ann.must("PUT", "/data", controls(rule)).await;
        assert_eq!(answer.status, status, "{rule}: {}", answer.text());
    }
    let enforced = ann.must("GET", "/data", query("ownershipControls")).await.text();
    assert!(enforced.contains("BucketOwnerEnforced"), "{enforced}");
    // acl, with explicit controls, without
    for (acl, enforced, plain) in [
        ("bucket-owner-full-control", 200, 200),
        ("private", 400, 200),
        ("public-read", 400, 400),
        ("nonsense", 400, 400),
    ] {
        ann.must("PUT", "/data", controls("BucketOwnerEnforced")).await;
        for expected in [enforced, plain] {
            for path in ["/data/b", "/data/a?acl", "/data?acl"] {
                let (path, asked) = path.split_once('?').unwrap_or((path, ""));
                let mut request = with_headers(&[("x-amz-acl", acl)]);
                request.query = asked;
                let answer = ann.must("PUT", path, request).await;
                assert_eq!(answer.status, expected, "{acl} {path}?{asked}: {}", answer.text());
            }
            assert_eq!(tell(ann, "DELETE /data?ownershipControls").await.0, 204);
        }
    }
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_access_can_be_blocked() {
    let people = People::start().await;
    let (ann, bob, nobody) = (&people.ann, &people.bob, &people.nobody);
    ann.must("PUT", "/data", Extras::default()).await;
    ann.must("PUT", "/data/a", Extras::default()).await;
    let block = |which: &str| {
        let body = format!(
            "<PublicAccessBlockConfiguration><{which}>true</{which}>\
             </PublicAccessBlockConfiguration>"
        );
        Extras { query: "publicAccessBlock", body: body.into_bytes(), ..Extras::default() }
    };
    let public = || policy(json!([{"Action": "s3:GetObject"}]));
    let put = |body: Vec<u8>| Extras { query: "policy", body, ..Extras::default() };
    let is_public = async || {
        let text = ann.must("GET", "/data", query("policyStatus")).await.text();
        text.between("<IsPublic>", "</IsPublic>").to_owned()
    };
    assert_eq!(
        tell(ann, "GET /data?publicAccessBlock").await,
        (404, "NoSuchPublicAccessBlockConfiguration".into())
    );
    assert_eq!(is_public().await.to_lowercase(), "false");

    assert_eq!(ann.must("PUT", "/data", block("BlockPublicPolicy")).await.status, 200);
    let shown = ann.must("GET", "/data", query("publicAccessBlock")).await.text();
    assert!(shown.contains("<BlockPublicPolicy>true"), "{shown}");
    assert!(shown.contains("<RestrictPublicBuckets>false"), "{shown}");
    let refused = ann.must("PUT", "/data", put(public())).await;
    assert_eq!((refused.status.as_u16(), refused.code()), denied());
    let named = policy(json!([
        {"Action": "s3:GetObject", "Principal": {"AWS": "arn:aws:iam:::user/bob"}}
    ]));
    assert_eq!(ann.must("PUT", "/data", put(named)).await.status, 204);
    assert_eq!(is_public().await.to_lowercase(), "false");
    assert_eq!(tell(bob, "GET /data/a").await.0, 200);

    assert_eq!(ann.must("PUT", "/data", block("RestrictPublicBuckets")).await.status, 200);
    assert_eq!(tell(bob, "GET /data/a").await.0, 200, "a policy that is not public holds");
    assert_eq!(ann.must("PUT", "/data", put(public())).await.status, 204);
    assert_eq!(is_public().await.to_lowercase(), "true");
    for (who, status) in [(ann, 200), (bob, 403), (nobody, 403)] {
        assert_eq!(tell(who, "GET /data/a").await.0, status);
    }
    assert_eq!(tell(ann, "DELETE /data?publicAccessBlock").await.0, 204);
    assert_eq!(tell(nobody, "GET /data/a").await.0, 200);

    ann.must("PUT", "/data", block("BlockPublicAcls")).await;
    for (acl, status) in [("public-read", 403), ("authenticated-read", 403), ("private", 200)] {
        let request = with_headers(&[("x-amz-acl", acl)]);
        assert_eq!(ann.must("PUT", "/data/a", request).await.status, status, "{acl}");
    }
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_locks_an_administrator_out_and_tokens_gain_nothing() {
    let people = People::start().await;
    let (root, ann, bob) = (&people.root, &people.ann, &people.bob);
    ann.must("PUT", "/data", Extras::default()).await;
    ann.must("PUT", "/data/mnist/a", Extras::default()).await;
    set_policy(
        ann,
        json!([
            {"Effect": "Deny", "Action": "s3:*BucketPolicy"},
            {"Action": "s3:*Object", "Principal": {"AWS": "arn:aws:iam:::user/bob"}},
        ]),
    )
    .await;
    assert_eq!(tell(ann, "GET /data?policy").await, denied());
    assert_eq!(tell(ann, "DELETE /data?policy").await, denied());
    assert_eq!(tell(root, "GET /data?policy").await.0, 200);

    // A token under bob's name has its own grants, not what the policy allows bob.
    let request = TokenRequest {
        name: "bob".into(),
        bucket: Some("data".into()),
        prefix: Some("mnist/".into()),
        verbs: vec![Verb::Read],
        ttl: Duration::from_secs(600),
    };
    let token = root.client().create_token(&request).await.unwrap().token;
    let token = root.speaking_for(coffer_client::Credentials::Token(token));
    for (request, by_key, by_token) in [
        ("GET /data/mnist/a", 200, 200),
        ("PUT /data/mnist/b", 200, 403),
        ("PUT /data/b", 200, 403),
        ("GET /data/b", 200, 403),
    ] {
        assert_eq!(tell(bob, request).await.0, by_key, "{request}");
        assert_eq!(tell(&token, request).await.0, by_token, "{request} by token");
    }
    // But what is denied to bob is denied to it, and what is open to all is open to it.
    let deny = json!([
        {
            "Effect": "Deny", "Action": "s3:GetObject", "Principal": {"AWS": "arn:aws:iam:::user/bob"},
            "Resource": "arn:aws:s3:::data/mnist/*"
        },
        {"Action": "s3:GetObject"},
    ]);
    set_policy(root, deny).await;
    assert_eq!(tell(&token, "GET /data/mnist/a").await.0, 403);
    assert_eq!(tell(&token, "GET /data/b").await.0, 200);
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_are_not_understood_are_refused_and_change_nothing() {
    let people = People::start().await;
    let ann = &people.ann;
    ann.must("PUT", "/data", Extras::default()).await;
    let good = policy(json!([{"Action": "s3:GetObject"}]));
    let put = |body: Vec<u8>| Extras { query: "policy", body, ..Extras::default() };
    assert_eq!(ann.must("PUT", "/data", put(good.clone())).await.status, 204);
    for bad in [
        b"{".to_vec(),
        b"[]".to_vec(),
        vec![b' '; 21 * 1024],
        policy(json!([{"Action": "s3:Fly"}])),
        policy(json!([{"Action": "s3:GetObject", "Resource": "arn:aws:s3:::other/*"}])),
        policy(json!([{"Action": "s3:GetObject", "Condition": {"Matches": {"s3:prefix": "a"}}}])),
    ] {
        let text = String::from_utf8_lossy(&bad).into_owned();
        let answer = ann.must("PUT", "/data", put(bad)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (400, "MalformedPolicy".into()),
            "{text}"
        );
    }
    let kept = ann.must("GET", "/data", query("policy")).await;
    assert_eq!(kept.body, good, "byte for byte");
    people.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_answered_by_the_buckets_rules() {
    let people = People::start().await;
    let (ann, nobody) = (&people.ann, &people.nobody);
    ann.must("PUT", "/data", Extras::default()).await;
    ann.must("PUT", "/data/a", Extras::default()).await;
    let preflight = async |path: &str, origin: &str, method: &str, headers: &str| {
        let mut all = vec![];
        for (name, value) in [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", headers),
        ] {
            if !value.is_empty() {
                all.push((name, value.to_owned()));
            }
        }
        let request = Extras { headers: all, ..Extras::default() };
        nobody.must("OPTIONS", path, request).await
    };
    let site = "https://app.example.org";
    assert_eq!(preflight("/data/a", site, "GET", "").await.status, 403, "no rules yet");
    assert_eq!(tell(ann, "GET /data?cors").await, (404, "NoSuchCORSConfiguration".into()));
    let rules =
        b"<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example.org</AllowedOrigin>\
        <AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>\
        <AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>\
        <MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>";
    let put = Extras { query: "cors", body: rules.to_vec(), ..Extras::default() };
    assert_eq!(ann.must("PUT", "/data", put).await.status, 200);
    let shown = ann.must("GET", "/data", query("cors")).await.text();
    assert_eq!(shown.between("<AllowedHeader>", "</AllowedHeader>"), "x-amz-*", "{shown}");

    for (path, origin, method, headers, status) in [
        ("/data/a", site, "GET", "", 200),
        ("/data", site, "PUT", "x-amz-date, X-Amz-Meta-A", 200),
        ("/data/a", site, "DELETE", "", 403),
        ("/data/a", site, "GET", "content-type", 403),
        ("/data/a", "https://example.com", "GET", "", 403),
        ("/nowhere/a", site, "GET", "", 403),
        ("/", site, "GET", "", 403),
        ("/data/a", "", "GET", "", 400),
        ("/data/a", site, "", "", 400),
    ] {
        let answer = preflight(path, origin, method, headers).await;
        assert_eq!(answer.status, status, "{path} {origin} {method} {headers}: {}", answer.text());
    }
    let answer = preflight("/data/a", site, "PUT", "x-amz-date").await;
    for (name, value) in [
        ("access-control-allow-origin", site),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-amz-date"),
        ("access-control-expose-headers", "ETag"),
        ("access-control-max-age", "60"),
        ("access-control-allow-credentials", "true"),
    ] {
        assert_eq!(answer.headers.get(name).unwrap(), value, "{name}");
    }
    // Requests themselves, whatever comes of them.
    for (who, path, origin, told) in [
        (ann, "/data/a", site, true),
        (nobody, "/data/a", site, true),
        (ann, "/data/none", site, true),
        (ann, "/data/a", "https://example.com", false),
    ] {
        let answer = who.must("GET", path, with_headers(&[("origin", origin)])).await;
        let origin = answer.headers.get("access-control-allow-origin");
        assert_eq!(origin.is_some(), told, "{path}");
        assert!(answer.headers.get("vary").is_some() == told);
    }
    people.stop().await;
}

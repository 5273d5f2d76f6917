use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a request of the tests knows of itself.
#[derive(Default)]
struct Known(BTreeMap<Key, Vec<String>>);

impl Context for Known {
    fn values(&self, key: &Key) -> Vec<String> {
        self.0.get(key).cloned().unwrap_or_default()
    }
}

fn bucket() -> BucketName {
    BucketName::new("data").unwrap()
}

fn parse(json: &Value) -> Result<Policy, PolicyError> {
    Policy::parse(&json.to_string(), &bucket())
}

fn judge(policy: &Policy, caller: Caller<'_>, action: &str, key: Option<&str>) -> Decision {
    let context = Known::default();
    policy.evaluate(&Request { caller, action, bucket: &bucket(), key, context: &context })
}

fn statement(effect: &str) -> Value {
    json!({
        "Effect": effect, "Principal": "*", "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::data/*"
    })
}

fn with(mut statement: Value, field: &str, value: Value) -> Value {
    statement[field] = value;
    statement
}

fn policy(statements: impl Into<Value>) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements.into()})
}

#[test]
fn statements_select_callers_actions_and_resources() {
    use Decision::{Allow, Deny, NoOpinion};
    let found = parse(&policy(vec![
        with(
            with(statement("Allow"), "Principal", json!({"AWS": ["arn:aws:iam:::user/ann"]})),
            "Action",
            json!(["s3:Get*", "s3:ListBucket"]),
        ),
        with(statement("Allow"), "Resource", json!(["arn:aws:s3:::data/open/*"])),
        with(statement("Deny"), "Resource", json!("arn:aws:s3:::data/open/secret?")),
        json!({
            "Sid": "only bob deletes", "Effect": "Deny", "NotAction": "s3:Get*",
            "NotPrincipal": {"CanonicalUser": "bob", "AWS": "arn:aws:iam:::user/ann"},
            "NotResource": "arn:aws:s3:::data/scratch/*"
        }),
    ]))
    .unwrap();
    let (nobody, ann, bob) = (Caller::Anonymous, Caller::User("ann"), Caller::User("bob"));
    for (caller, action, key, expected) in [
        (ann, "s3:GetObject", Some("a"), Allow),
        (ann, "s3:GetObjectTagging", Some("a"), Allow),
        (ann, "s3:PutObject", Some("a"), NoOpinion),
        (ann, "s3:ListBucket", None, NoOpinion),
        (bob, "s3:GetObject", Some("a"), NoOpinion),
        (bob, "s3:GetObject", Some("open/b/c"), Allow),
        (nobody, "s3:GetObject", Some("open/b"), Allow),
        (nobody, "s3:GetObject", Some("open/secret1"), Deny),
        (ann, "s3:GetObject", Some("open/secret1"), Deny),
        (nobody, "s3:DeleteObject", Some("a"), Deny),
        (nobody, "s3:DeleteObject", Some("scratch/a"), NoOpinion),
        (bob, "s3:DeleteObject", Some("a"), NoOpinion),
        (nobody, "s3:DeleteBucket", None, Deny),
    ] {
        assert_eq!(judge(&found, caller, action, key), expected, "{caller:?} {action} {key:?}");
    }
}

#[test]
fn all_conditions_must_hold() {
    let found = parse(&policy(with(
        statement("Allow"),
        "Condition",
        json!({
            "StringLike": {"aws:Referer": "https://example.org/*"},
            "Bool": {"aws:SecureTransport": true}
        }),
    )))
    .unwrap();
    let decide = |referer: &str, tls: &str| {
        let context = Known(BTreeMap::from([
            (Key::Referer, vec![referer.to_owned()]),
            (Key::SecureTransport, vec![tls.to_owned()]),
        ]));
        let (caller, action) = (Caller::Anonymous, "s3:GetObject");
        let (bucket, key) = (bucket(), Some("a"));
        found.evaluate(&Request { caller, action, bucket: &bucket, key, context: &context })
    };
    assert_eq!(decide("https://example.org/x", "true"), Decision::Allow);
    assert_eq!(decide("https://example.org/x", "false"), Decision::NoOpinion);
    assert_eq!(decide("https://example.com/x", "true"), Decision::NoOpinion);
    assert!(!found.asks_for_existing_tags());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let ok = || statement("Allow");
    let table = [
        (json!([]), "policy: it must be an object"),
        (json!({}), "policy: Statement is missing"),
        (json!({"Statement": []}), "policy, Statement: there must be"),
        (json!({"Statement": "x"}), "policy, Statement: it must be a list"),
        (json!({"Version": "2020-01-01", "Statement": ok()}), "policy, Version"),
        (json!({"Version": 1, "Statement": ok()}), "policy, Version: it must be a string"),
        (json!({"Statement": ok(), "Statements": ok()}), "policy: field \"Statements\" is unknown"),
        (policy(vec![ok(), with(ok(), "Effect", json!("allow"))]), "statement 2, Effect"),
        (
            policy(with(with(ok(), "Sid", json!("x")), "Effect", json!(1))),
            "statement 1 (\"x\"), Eff",
        ),
        (policy(vec![with(ok(), "Sid", json!("x")); 2]), "statement 2, Sid"),
        (policy(with(ok(), "Princpal", json!("*"))), "statement 1: field \"Princpal\""),
        (policy(with(ok(), "NotPrincipal", json!("*"))), "exclude each other"),
        (policy(with(ok(), "Principal", json!("ann"))), "statement 1, Principal: it must be"),
        (policy(with(ok(), "Principal", json!({}))), "it names nobody"),
        (policy(with(ok(), "Principal", json!({"AWS": []}))), "the list is empty"),
        (policy(with(ok(), "Principal", json!({"Service": "x"}))), "Principal, Service"),
        (policy(with(ok(), "Action", json!("s3:Fly"))), "\"s3:Fly\" is not an action"),
        (policy(with(ok(), "Action", json!(7))), "not a number"),
        (policy(with(ok(), "NotAction", json!("s3:*"))), "Action and NotAction exclude"),
        (policy(with(ok(), "Resource", json!("data/*"))), "does not begin with arn:aws:s3:::"),
        (policy(with(ok(), "Resource", json!("arn:aws:s3:::dat/*"))), "is not of bucket data"),
        (policy(with(ok(), "Resource", json!("arn:aws:s3:::data/${aws:username}/*"))), "variables"),
        (
            policy(with(ok(), "Condition", json!({"Equals": {"s3:prefix": "a"}}))),
            "Condition, Equals",
        ),
        (policy(with(ok(), "Condition", json!({"StringEquals": {"s3:prefix": []}}))), "is empty"),
        (policy(with(ok(), "Condition", json!({"StringEquals": "a"}))), "must be an object"),
    ];
    for (json, expected) in table {
        let error = parse(&json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
    for missing in ["Effect", "Principal", "Action", "Resource"] {
        let mut broken = ok();
        broken.as_object_mut().unwrap().remove(missing);
        let error = parse(&policy(broken)).unwrap_err().to_string();
        assert_eq!(error, format!("statement 1: {missing} is missing"));
    }
    let allow_all_but = json!({
        "Effect": "Allow", "NotPrincipal": {"AWS": "arn:aws:iam::tenant:root"},
        "Action": "s3:*", "Resource": "arn:aws:s3:::data"
    });
    assert!(parse(&policy(allow_all_but)).is_err());
    let long = " ".repeat(Policy::MAX_LEN + 1);
    assert_eq!(Policy::parse(&long, &bucket()), Err(PolicyError::TooLong(long.len())));
    let doubled = r#"{"Statement": [], "Statement": []}"#;
    assert!(matches!(Policy::parse(doubled, &bucket()), Err(PolicyError::Json(_))));
    assert!(Policy::parse(&"[".repeat(20_000), &bucket()).is_err(), "deep nesting ends");
}

#[test]
fn older_and_wider_forms_are_understood() {
    for json in [
        json!({"Statement": statement("Deny")}),
        json!({"Version": "2008-10-17", "Id": "x", "Statement": [
            with(statement("Allow"), "Resource", json!("arn:aws:s3:::data/${x}"))
        ]}),
        policy(with(statement("Allow"), "Resource", json!(["arn:aws:s3:::*", "arn:aws:s3:::*/*"]))),
        policy(with(statement("Allow"), "Action", json!("*"))),
    ] {
        let policy = parse(&json).unwrap();
        assert_eq!(policy.text(), json.to_string());
    }
}

#[test]
fn public_means_everyone_without_a_fixed_source() {
    let condition = |c: Value| with(statement("Allow"), "Condition", c);
    let principal = |p: Value| with(statement("Allow"), "Principal", p);
    for (json, public) in [
        (policy(statement("Allow")), true),
        (policy(statement("Deny")), false),
        (policy(principal(json!({"AWS": "*"}))), true),
        (policy(principal(json!({"AWS": ["arn:aws:iam:::user/a", "*"]}))), true),
        (policy(principal(json!({"AWS": "arn:aws:iam::tenant:root"}))), false),
        (policy(condition(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}))), false),
        (policy(condition(json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}))), true),
        (policy(condition(json!({"StringLike": {"aws:Referer": "https://x/*"}}))), true),
        (
            policy(vec![
                condition(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}})),
                statement("Allow"),
            ]),
            true,
        ),
    ] {
        assert_eq!(parse(&json).unwrap().is_public(), public, "{json}");
    }
}

/// Policies of a few statements over few names, so that requests often meet them.
fn any_policy() -> impl Strategy<Value = Value> {
    let list = |of: &'static [&'static str]| {
        prop::collection::vec(prop::sample::select(of), 1..3).prop_map(|v| json!(v))
    };
    let principal = prop_oneof![
        Just(json!("*")),
        list(&["*", "arn:aws:iam:::user/ann", "arn:aws:iam::000000000000:root"])
            .prop_map(|l| json!({"AWS": l})),
    ];
    let condition = prop_oneof![
        2 => Just(None),
        1 => list(&["a", "b*"]).prop_map(|l| Some(json!({"StringLike": {"s3:prefix": l}}))),
        1 => list(&["a"]).prop_map(|l| Some(json!({"StringNotEqualsIfExists": {"s3:prefix": l}}))),
    ];
    let one = (
        any::<bool>(),
        principal,
        (any::<bool>(), list(&["s3:GetObject", "s3:Get*", "s3:PutObject", "*"])),
        (any::<bool>(), list(&["arn:aws:s3:::data", "arn:aws:s3:::data/*", "arn:aws:s3:::*"])),
        condition,
    )
        .prop_map(|(allow, principal, (not_a, action), (not_r, resource), condition)| {
            let mut s = json!({"Effect": if allow { "Allow" } else { "Deny" }});
            s["Principal"] = principal;
            s[if not_a { "NotAction" } else { "Action" }] = action;
            s[if not_r { "NotResource" } else { "Resource" }] = resource;
            if let Some(condition) = condition {
                s["Condition"] = condition;
            }
            s
        });
    prop::collection::vec(one, 1..4).prop_map(policy)
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text: String) {
        let _ = Policy::parse(&text, &bucket());
    }

    /// A valid policy with one byte replaced or cut off.
    #[test]
    fn damaged_policies_never_panic(json in any_policy(), at: prop::sample::Index, byte in 0u8..128) {
        let mut text = json.to_string().into_bytes();
        let at = at.index(text.len());
        let cut = String::from_utf8_lossy(&text[..at]).into_owned();
        prop_assert!(Policy::parse(&cut, &bucket()).is_err());
        text[at] = byte;
        let _ = Policy::parse(&String::from_utf8_lossy(&text), &bucket());
    }

    /// The decision is that of its statements, each judged as a policy of its own: deny wins, and
    /// their order does not count. And policies survive storage.
    #[test]
    fn deny_always_wins(
        json in any_policy(),
        user: bool,
        action in prop::sample::select(&["s3:GetObject", "s3:PutObject", "s3:GetObjectAcl"][..]),
        key in prop::option::of(Just("k")),
        prefix in prop::option::of(prop::sample::select(&["a", "b", "c"][..])),
    ) {
        let context = Known(prefix.map(|p| (Key::Prefix, vec![p.to_owned()])).into_iter().collect());
        let caller = if user { Caller::User("ann") } else { Caller::Anonymous };
        let bucket = bucket();
        let request = Request { caller, action, bucket: &bucket, key, context: &context };
        let judge = |statements: Vec<Value>| {
            parse(&policy(statements)).unwrap().evaluate(&request)
        };
        let statements = json["Statement"].as_array().unwrap().clone();
        let each: Vec<_> = statements.iter().map(|s| judge(vec![s.clone()])).collect();
        let expected = if each.contains(&Decision::Deny) {
            Decision::Deny
        } else if each.contains(&Decision::Allow) {
            Decision::Allow
        } else {
            Decision::NoOpinion
        };
        prop_assert_eq!(judge(statements.clone()), expected);
        prop_assert_eq!(judge(statements.into_iter().rev().collect()), expected);

        let whole = parse(&json).unwrap();
        let stored = postcard::to_allocvec(&whole).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Policy>(&stored).unwrap(), whole);
    }
}

use super::*;
use biscuit_auth::builder::BlockBuilder;
use coffer_core::ids::ObjectKey;
use proptest::prelude::*;

fn tokens() -> Tokens {
    Tokens::from_hex(&Tokens::new_key()).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn grant(verbs: &[Verb]) -> Grant {
    Grant {
        verbs: verbs.to_vec(),
        bucket: Some(BucketName::new("data").unwrap()),
        prefix: Some("mnist/".into()),
        owned: false,
    }
}

fn issue(tokens: &Tokens, verbs: &[Verb]) -> String {
    let id = TokenId::from_bytes([7; 16]);
    tokens.issue(id, "trainer", &[grant(verbs)], 1000).unwrap()
}

#[test]
fn a_token_allows_what_it_grants_until_it_expires() {
    let tokens = tokens();
    let token = issue(&tokens, &[Verb::Read]);
    let identity = tokens.verify(&token, at(999)).unwrap();
    let (data, other) = (BucketName::new("data").unwrap(), BucketName::new("other").unwrap());
    let (inside, outside) =
        (ObjectKey::new("mnist/0.tar").unwrap(), ObjectKey::new("secret").unwrap());
    assert!(identity.may_at(Verb::Read, Target::Object(&data, &inside), None, at(999)));
    assert!(!identity.may_at(Verb::Read, Target::Object(&data, &outside), None, at(999)));
    assert!(!identity.may_at(Verb::Read, Target::Object(&other, &inside), None, at(999)));
    assert!(!identity.may_at(Verb::Write, Target::Object(&data, &inside), None, at(999)));
    assert_eq!(tokens.verify(&token, at(1000)).err(), Some(TokenError::Expired));
    assert_eq!(identity.name(), "trainer");
}

#[test]
fn appended_blocks_narrow_and_never_widen() {
    let tokens = tokens();
    let token = issue(&tokens, &[Verb::Read, Verb::List]);
    let append = |block: &str| {
        let biscuit = Biscuit::from_base64(&token, tokens.root.public()).unwrap();
        let block = BlockBuilder::new().code(block).unwrap();
        biscuit.append(block).unwrap().to_base64().unwrap()
    };
    let data = BucketName::new("data").unwrap();
    let (train, test) =
        (ObjectKey::new("mnist/train/0").unwrap(), ObjectKey::new("mnist/test/0").unwrap());
    let may = |token: &str, verb, target| {
        tokens.verify(token, at(10)).unwrap().may_at(verb, target, None, at(10))
    };

    let narrowed = append(r#"check if key($k), $k.starts_with("mnist/train/")"#);
    assert!(may(&narrowed, Verb::Read, Target::Object(&data, &train)));
    assert!(!may(&narrowed, Verb::Read, Target::Object(&data, &test)));
    assert!(may(&narrowed, Verb::List, Target::Prefix(&data, "mnist/train/")));
    assert!(!may(&narrowed, Verb::List, Target::Prefix(&data, "mnist/")));

    let shorter = append("check if time($t), $t < 1970-01-01T00:00:05Z");
    assert!(!may(&shorter, Verb::Read, Target::Object(&data, &train)));

    let either = append(r#"check if operation("list") or bucket($b), $b == "x" && $b != "y""#);
    assert!(may(&either, Verb::List, Target::Prefix(&data, "mnist/")));
    assert!(!may(&either, Verb::Read, Target::Object(&data, &train)));
}

#[test]
fn blocks_with_more_than_cheap_checks_are_refused() {
    let tokens = tokens();
    for block in [
        r#"verb(0, "write")"#,
        r#"verb(1, "admin"); bucket(1, "other"); expires(99999)"#,
        r#"operation("write")"#,
        r#"verb(0, "write") <- verb(0, "read")"#,
        "check if verb($a, $b), verb($c, $d), verb($e, $f), verb($g, $h), verb($i, $j)",
        "check if [1, 2].all($x -> [1, 2].all($y -> $x + $y > 0))",
    ] {
        let token = issue(&tokens, &[Verb::Read, Verb::List]);
        let biscuit = Biscuit::from_base64(&token, tokens.root.public()).unwrap();
        let appended = biscuit.append(BlockBuilder::new().code(block).unwrap()).unwrap();
        let token = appended.to_base64().unwrap();
        assert_eq!(tokens.verify(&token, at(1)).err(), Some(TokenError::Invalid), "{block}");
    }
}

/// Every verb on every kind of target, by tokens of every grant: tokens and grants agree, and
/// a check that is appended only ever takes away.
#[test]
fn tokens_allow_what_their_grants_allow_and_less_when_narrowed() {
    let tokens = tokens();
    let buckets = ["data", "other"].map(|b| BucketName::new(b).unwrap());
    let keys = ["mnist/0", "mnist/sub/1", "else"].map(|k| ObjectKey::new(k).unwrap());
    let mut targets = vec![Target::Cluster];
    for bucket in &buckets {
        targets.push(Target::Bucket(bucket));
        targets.extend(["", "mnist/", "mnist/sub/"].map(|p| Target::Prefix(bucket, p)));
        targets.extend(keys.iter().map(|k| Target::Object(bucket, k)));
    }
    let mut grants = Vec::new();
    for verbs in Verb::ALL.iter().map(|v| vec![*v]).chain([Verb::ALL.to_vec()]) {
        for bucket in [None, Some(buckets[0].clone())] {
            for prefix in [None, Some("mnist/".to_owned())] {
                let verbs = verbs.clone();
                grants.push(Grant { verbs, bucket: bucket.clone(), prefix, owned: false });
            }
        }
    }
    let narrowings = [
        r#"check if operation($o), ["read", "list"].contains($o)"#,
        r#"check if bucket("data")"#,
        r#"check if key($k), $k.starts_with("mnist/sub/")"#,
        "check if time($t), $t < 1970-01-01T00:00:05Z",
    ];
    for grant in grants {
        let id = TokenId::from_bytes([1; 16]);
        let token = tokens.issue(id, "t", std::slice::from_ref(&grant), 100).unwrap();
        let whole = tokens.verify(&token, at(10)).unwrap();
        let biscuit = Biscuit::from_base64(&token, tokens.root.public()).unwrap();
        let narrow = narrowings.map(|code| {
            let block = BlockBuilder::new().code(code).unwrap();
            let token = biscuit.append(block).unwrap().to_base64().unwrap();
            tokens.verify(&token, at(10)).unwrap()
        });
        for verb in Verb::ALL {
            for target in &targets {
                let allowed = grant.allows(verb, *target, false);
                assert_eq!(
                    whole.may_at(verb, *target, None, at(10)),
                    allowed,
                    "{grant:?} {target:?}"
                );
                for less in &narrow {
                    assert!(!less.may_at(verb, *target, None, at(10)) || allowed);
                }
            }
        }
    }
}

#[test]
fn tokens_of_another_key_are_invalid() {
    let token = issue(&tokens(), &[Verb::Read]);
    assert_eq!(tokens().verify(&token, at(1)).err(), Some(TokenError::Invalid));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_changed_token_is_invalid(at_byte: prop::sample::Index, replacement in "[A-Za-z0-9_-]") {
        let tokens = tokens();
        let token = issue(&tokens, &[Verb::Read]);
        let at_byte = at_byte.index(token.trim_end_matches('=').len());
        let mut changed = token.clone();
        changed.replace_range(at_byte..=at_byte, &replacement);
        // The last digit of base64 has bits that say nothing.
        let same = Biscuit::from_base64(&changed, tokens.root.public())
            .is_ok_and(|b| b.to_vec().ok() == Biscuit::from_base64(&token, tokens.root.public()).unwrap().to_vec().ok());
        if !same {
            prop_assert_eq!(tokens.verify(&changed, at(1)).err(), Some(TokenError::Invalid));
        }
    }

    #[test]
    fn arbitrary_text_is_invalid(text: String) {
        prop_assert_eq!(tokens().verify(&text, at(1)).err(), Some(TokenError::Invalid));
    }
}

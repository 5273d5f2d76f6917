use super::plan::DAY_MS;
use super::*;
use crate::bucket::tags::{TagLimit, Tags};
use proptest::prelude::*;

fn rule(id: &str) -> Rule {
    Rule {
        id: id.to_owned(),
        enabled: true,
        filter: Filter::default(),
        expiration: None,
        noncurrent: None,
        abort_uploads_after_days: None,
    }
}

fn days(id: &str, days: u32) -> Rule {
    Rule { expiration: Some(Expiration::Days(days)), ..rule(id) }
}

fn tags(query: &str) -> Tags {
    Tags::from_query(TagLimit::Object, query).unwrap()
}

fn object(modified_ms: u64, tags: &Tags) -> KeyVersion<'_> {
    KeyVersion { modified_ms, kind: VersionKind::Object { size: 10, tags } }
}

fn marker(modified_ms: u64) -> KeyVersion<'static> {
    KeyVersion { modified_ms, kind: VersionKind::DeleteMarker }
}

fn real(now_ms: u64) -> Clock {
    Clock { now_ms, day_ms: DAY_MS }
}

#[test]
fn only_rules_that_s3_accepts_are_kept() {
    let problem = |rule| match Lifecycle::new(vec![rule]) {
        Err(LifecycleError::Rule { problem, .. }) => Some(problem),
        _ => None,
    };
    let with = |filter| Rule { filter, ..days("x", 1) };
    let noncurrent = |days, keep_newest| Rule {
        noncurrent: Some(NoncurrentExpiration { days, keep_newest }),
        ..rule("x")
    };
    let date = |ms| Rule { expiration: Some(Expiration::Date(ms)), ..rule("x") };
    let sizes =
        |larger_than, smaller_than| with(Filter { larger_than, smaller_than, ..Filter::default() });
    let tagged = Filter { tags: tags("a=b"), ..Filter::default() };
    for (rule, expected) in [
        (days("x", 1), None),
        (days(&"x".repeat(255), 1), None),
        (days(&"x".repeat(256), 1), Some(Problem::IdTooLong)),
        (rule("x"), Some(Problem::NoAction)),
        (days("x", 0), Some(Problem::NoDays)),
        (noncurrent(0, None), Some(Problem::NoDays)),
        (noncurrent(1, Some(100)), None),
        (noncurrent(1, Some(0)), Some(Problem::KeepNewest)),
        (noncurrent(1, Some(101)), Some(Problem::KeepNewest)),
        (date(3 * DAY_MS), None),
        (date(3 * DAY_MS + 1), Some(Problem::NotMidnight)),
        (sizes(Some(5), Some(7)), None),
        (sizes(Some(5), Some(6)), Some(Problem::NoSize)),
        (sizes(None, Some(0)), Some(Problem::NoSize)),
        (with(tagged.clone()), None),
        (
            Rule { abort_uploads_after_days: Some(1), filter: tagged.clone(), ..rule("x") },
            Some(Problem::NoContent),
        ),
        (
            Rule { expiration: Some(Expiration::ExpiredDeleteMarker), filter: tagged, ..rule("x") },
            Some(Problem::NoContent),
        ),
    ] {
        assert_eq!(problem(rule.clone()), expected, "{rule:?}");
    }
    let twice = Lifecycle::new(vec![days("a", 1), days("a", 2)]).unwrap_err();
    assert_eq!(twice.to_string(), r#"rule "a": another rule has the same ID"#);
    assert_eq!(Lifecycle::new(vec![]), Err(LifecycleError::Count(0)));
    let many = |n: usize| (0..n).map(|i| days(&i.to_string(), 1)).collect();
    assert!(Lifecycle::new(many(1000)).is_ok());
    assert_eq!(Lifecycle::new(many(1001)), Err(LifecycleError::Count(1001)));
}

#[test]
fn rules_without_a_name_get_one_that_is_free() {
    let lifecycle = Lifecycle::new(vec![days("", 1), days("rule-1", 2), days("", 3)]).unwrap();
    let ids: Vec<_> = lifecycle.rules().iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["rule-2", "rule-1", "rule-3"]);
}

#[test]
fn real_days_end_at_midnight() {
    let lifecycle = Lifecycle::new(vec![days("x", 3)]).unwrap();
    let none = Tags::default();
    // Made on day 15 at 10:30, three days: expires at the beginning of day 19.
    let made = 15 * DAY_MS + 10 * 3_600_000 + 30 * 60_000;
    assert_eq!(lifecycle.expiry("k", 1, &none, made, DAY_MS), Some((19 * DAY_MS, "x")));
    let plan = |now| lifecycle.plan("k", &[object(made, &none)], real(now));
    assert_eq!(plan(19 * DAY_MS - 1), []);
    assert_eq!(plan(19 * DAY_MS), [Action::ExpireCurrent]);
    // Days that tests shorten end when they end.
    let short = Clock { now_ms: made + 30, day_ms: 10 };
    assert_eq!(lifecycle.plan("k", &[object(made, &none)], short), [Action::ExpireCurrent]);
    let before = Clock { now_ms: made + 29, ..short };
    assert_eq!(lifecycle.plan("k", &[object(made, &none)], before), []);
}

#[test]
fn the_rule_that_is_due_first_decides() {
    let tagged = Filter { tags: tags("team=a"), ..Filter::default() };
    let lifecycle = Lifecycle::new(vec![
        days("slow", 9),
        Rule { filter: tagged, ..days("tagged", 2) },
        Rule { enabled: false, ..days("off", 1) },
        Rule { expiration: Some(Expiration::Date(5 * DAY_MS)), ..rule("date") },
    ])
    .unwrap();
    let expiry = |tags: &str| {
        let tags = self::tags(tags);
        lifecycle.expiry("k", 1, &tags, 0, DAY_MS).map(|(due, id)| (due / DAY_MS, id.to_owned()))
    };
    assert_eq!(expiry("team=a&x=y"), Some((2, "tagged".into())));
    assert_eq!(expiry("team=b"), Some((5, "date".into())));
}

#[test]
fn markers_go_only_when_nothing_else_is_left() {
    let none = Tags::default();
    let at_once = Lifecycle::new(vec![Rule {
        expiration: Some(Expiration::ExpiredDeleteMarker),
        ..rule("x")
    }])
    .unwrap();
    let in_days = Lifecycle::new(vec![days("x", 1)]).unwrap();
    let alone = [marker(0)];
    let above = [marker(5), object(0, &none)];
    assert_eq!(at_once.plan("k", &alone, real(0)), [Action::RemoveDeleteMarker]);
    assert_eq!(at_once.plan("k", &above, real(9 * DAY_MS)), []);
    assert_eq!(in_days.plan("k", &alone, real(DAY_MS - 1)), []);
    assert_eq!(in_days.plan("k", &alone, real(DAY_MS)), [Action::RemoveDeleteMarker]);
    assert_eq!(in_days.plan("k", &above, real(9 * DAY_MS)), []);
}

#[test]
fn noncurrent_versions_go_oldest_first() {
    let none = Tags::default();
    let lifecycle = Lifecycle::new(vec![Rule {
        noncurrent: Some(NoncurrentExpiration { days: 1, keep_newest: Some(2) }),
        ..rule("x")
    }])
    .unwrap();
    // The fourth is noncurrent since the third was made, and so on.
    let versions =
        [marker(40), object(30, &none), marker(25), object(20, &none), object(10, &none)];
    let plan = |now_ms| lifecycle.plan("k", &versions, Clock { now_ms, day_ms: 5 });
    assert_eq!(plan(24), []);
    assert_eq!(plan(25), [Action::DeleteNoncurrent(4)]);
    assert_eq!(plan(1000), [Action::DeleteNoncurrent(4)], "two objects stay");
}

#[test]
fn uploads_are_aborted_by_prefix() {
    let lifecycle = Lifecycle::new(vec![Rule {
        abort_uploads_after_days: Some(2),
        filter: Filter { prefix: Some("a/".into()), ..Filter::default() },
        ..rule("x")
    }])
    .unwrap();
    assert!(lifecycle.upload_is_due("a/k", 0, real(2 * DAY_MS)));
    assert!(!lifecycle.upload_is_due("a/k", 1, real(2 * DAY_MS)));
    assert!(!lifecycle.upload_is_due("b/k", 0, real(2 * DAY_MS)));
    assert_eq!(lifecycle.abort("a/k", 1, DAY_MS), Some((3 * DAY_MS, "x")));
}

/// A version by value, to generate.
#[derive(Debug, Clone)]
struct Given {
    age: u64,
    size: Option<u64>,
    tags: Tags,
}

fn any_versions() -> impl Strategy<Value = Vec<Given>> {
    let one = (0u64..40, prop::option::weighted(0.8, 0u64..4), any::<bool>()).prop_map(
        |(age, size, tagged)| Given { age, size, tags: tags(if tagged { "t=1" } else { "" }) },
    );
    prop::collection::vec(one, 0..6).prop_map(|mut versions| {
        versions.sort_by_key(|v| v.age);
        versions
    })
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    let filter = (
        prop::option::of(prop::sample::select(&["", "k", "x"][..])),
        any::<bool>(),
        prop::option::of(0u64..3),
        prop::option::of(2u64..5),
    )
        .prop_map(|(prefix, tagged, larger_than, smaller_than)| Filter {
            prefix: prefix.map(str::to_owned),
            tags: tags(if tagged { "t=1" } else { "" }),
            larger_than,
            smaller_than,
            ..Filter::default()
        });
    let expiration = prop_oneof![
        (1u32..6).prop_map(Expiration::Days),
        (0u64..2).prop_map(|d| Expiration::Date(d * DAY_MS)),
        Just(Expiration::ExpiredDeleteMarker),
    ];
    let noncurrent = (1u32..6, prop::option::of(1u32..4))
        .prop_map(|(days, keep_newest)| NoncurrentExpiration { days, keep_newest });
    let one = (
        prop::bool::weighted(0.8),
        filter,
        prop::option::of(expiration),
        prop::option::of(noncurrent),
    )
        .prop_map(|(enabled, filter, expiration, noncurrent)| Rule {
            enabled,
            filter,
            expiration,
            noncurrent,
            ..rule("")
        });
    prop::collection::vec(one, 1..4)
}

/// The definition, version by version and rule by rule, in days that end when they end.
fn naive(rules: &[Rule], key: &str, given: &[Given], now: u64, day: u64) -> Vec<Action> {
    let old = |age: u64, days: u32| age >= u64::from(days) * day;
    let mut actions = Vec::new();
    for (i, version) in given.iter().enumerate() {
        let newer_objects = given[1.min(i)..i].iter().filter(|v| v.size.is_some()).count();
        let by = |rule: &Rule| {
            let f = &rule.filter;
            if !rule.enabled || !key.starts_with(f.prefix.as_deref().unwrap_or("")) {
                return None;
            }
            match version.size {
                Some(size)
                    if size < f.larger_than.map_or(0, |l| l + 1)
                        || size >= f.smaller_than.unwrap_or(u64::MAX)
                        || (!f.tags.is_empty() && version.tags != f.tags) =>
                {
                    return None;
                }
                None if f.asks_for_content() => return None,
                _ => {}
            }
            if i > 0 {
                let n = rule.noncurrent?;
                let kept = newer_objects < n.keep_newest.unwrap_or(0) as usize;
                return (!kept && old(given[i - 1].age, n.days))
                    .then_some(Action::DeleteNoncurrent(i));
            }
            let marker = version.size.is_none();
            let (due, action) = match rule.expiration? {
                Expiration::Days(days) if marker => {
                    (given.len() == 1 && old(version.age, days), Action::RemoveDeleteMarker)
                }
                Expiration::Days(days) => (old(version.age, days), Action::ExpireCurrent),
                Expiration::Date(date) => (!marker && now >= date, Action::ExpireCurrent),
                Expiration::ExpiredDeleteMarker => {
                    (marker && given.len() == 1, Action::RemoveDeleteMarker)
                }
            };
            due.then_some(action)
        };
        actions.extend(rules.iter().find_map(by));
    }
    actions
}

#[test]
fn no_key_is_looked_at_twice() {
    let prefixes = |all: &[&str]| {
        let rule = |prefix: &&str| {
            let filter = Filter { prefix: Some((*prefix).to_owned()), ..Filter::default() };
            Rule { filter, ..days("", 1) }
        };
        let lifecycle = Lifecycle::new(all.iter().map(rule).collect()).unwrap();
        lifecycle.prefixes(|_| true).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(prefixes(&["b/", "a/x", "a/", "a/", "b"]), ["a/", "b"]);
    assert_eq!(prefixes(&["b/", "", "a/"]), [""]);
    let off = Lifecycle::new(vec![Rule { enabled: false, ..days("", 1) }]).unwrap();
    assert!(off.prefixes(|_| true).is_empty());
    let expiring = Lifecycle::new(vec![days("", 1)]).unwrap();
    assert!(expiring.prefixes(|rule| rule.noncurrent.is_some()).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn plans_follow_the_definition(
        rules in any_rules(),
        given in any_versions(),
        late: bool,
        day in 1u64..8,
    ) {
        // Rules that S3 would refuse are not of interest.
        let Ok(lifecycle) = Lifecycle::new(rules.clone()) else { return Ok(()) };
        let now_ms = 100 + if late { DAY_MS } else { 0 };
        let versions: Vec<_> = given
            .iter()
            .map(|v| KeyVersion {
                modified_ms: now_ms - v.age,
                kind: match v.size {
                    Some(size) => VersionKind::Object { size, tags: &v.tags },
                    None => VersionKind::DeleteMarker,
                },
            })
            .collect();
        let plan = lifecycle.plan("key", &versions, Clock { now_ms, day_ms: day });
        prop_assert_eq!(&plan, &naive(&rules, "key", &given, now_ms, day));

        let stored = postcard::to_allocvec(&lifecycle).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Lifecycle>(&stored).unwrap(), lifecycle);
    }

    /// In real days nothing goes before it is as old as a rule says.
    #[test]
    fn nothing_expires_early(days in 1u32..4, made in 0u64..10 * DAY_MS, later in 0u64..10 * DAY_MS) {
        let lifecycle = Lifecycle::new(vec![Rule {
            noncurrent: Some(NoncurrentExpiration { days, keep_newest: None }),
            abort_uploads_after_days: Some(days),
            ..self::days("x", days)
        }])
        .unwrap();
        let (none, now_ms) = (Tags::default(), made + later);
        let versions = [object(made, &none), object(0, &none)];
        let plan = lifecycle.plan("k", &versions, real(now_ms));
        let old = later >= u64::from(days) * DAY_MS;
        prop_assert!(old || plan.is_empty(), "{plan:?}");
        prop_assert!(old || !lifecycle.upload_is_due("k", made, real(now_ms)));
        // And a day later at the latest it does.
        if later >= u64::from(days + 1) * DAY_MS {
            prop_assert_eq!(plan, [Action::ExpireCurrent, Action::DeleteNoncurrent(1)]);
        }
    }
}

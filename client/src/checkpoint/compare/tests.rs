use super::*;
use proptest::prelude::*;
use serde_json::json;

/// Tensors of `bytes` at `starts` of two files that have the same chunks, but for those `changed`.
fn asked(
    starts: [u64; 2],
    bytes: u64,
    element: u64,
    changed: &BTreeSet<u64>,
    how_much: bool,
) -> Doubt {
    let chunks = |side: usize| -> Vec<Digest> {
        let first = starts[side] / CHUNK;
        let count = (starts[side] + bytes).div_ceil(CHUNK);
        let content = |at: u64| match at.checked_sub(first) {
            Some(step) if changed.contains(&step) => format!("{step} on side {side}"),
            step => format!("{step:?}"),
        };
        (0..count).map(|at| Digest::of(content(at).as_bytes())).collect()
    };
    doubt([&chunks(0), &chunks(1)], starts, bytes, element, how_much)
}

/// A tensor's place in files that are cut alike, and which of its chunks differ.
fn alike() -> impl Strategy<Value = ([u64; 2], u64, u64, BTreeSet<u64>)> {
    let changed = prop::collection::btree_set(0..7_u64, 0..4);
    let element = prop::sample::select(&[1_u64, 2, 4, 8]);
    (0..3_u64, 0..3_u64, 0..CHUNK, 0..4 * CHUNK / 8, element, changed).prop_map(
        |(a, b, phase, count, element, changed)| {
            ([a * CHUNK + phase, b * CHUNK + phase], count * element, element, changed)
        },
    )
}

proptest! {
    #[test]
    fn just_what_may_differ_is_read((starts, bytes, element, changed) in alike()) {
        let phase = starts[0] % CHUNK;
        let Doubt::At(ranges) = asked(starts, bytes, element, &changed, true) else {
            panic!("how much is never told by hashes");
        };
        let mut expected: BTreeSet<u64> = BTreeSet::new();
        for range in &ranges {
            prop_assert!(range.start < range.end && range.end <= bytes);
            prop_assert!(range.start % element == 0 && range.end % element == 0);
        }
        prop_assert!(ranges.is_sorted_by(|one, next| one.end < next.start));
        // The first and the last byte of the tensor in each chunk tell for all between.
        for step in 0..(phase + bytes).div_ceil(CHUNK) {
            let from = (step * CHUNK).saturating_sub(phase);
            let to = ((step + 1) * CHUNK - phase).min(bytes);
            if from >= to {
                continue;
            }
            let reads = |at: u64| ranges.iter().any(|range| range.contains(&at));
            if changed.contains(&step) {
                expected.insert(step);
                prop_assert!(reads(from) && reads(to - 1), "chunk {step}");
            } else if to - from > 2 * element {
                // But for elements that lie across the border.
                prop_assert!(!reads((from + to) / 2), "chunk {step}");
            }
        }
        prop_assert_eq!(ranges.is_empty(), expected.is_empty());
    }

    #[test]
    fn that_they_differ_is_told_by_a_chunk_of_their_own((starts, bytes, element, changed) in alike()) {
        let phase = starts[0] % CHUNK;
        let own = |step: &u64| step * CHUNK >= phase && (step + 1) * CHUNK <= phase + bytes;
        match asked(starts, bytes, element, &changed, false) {
            Doubt::None => prop_assert!(changed.iter().any(own)),
            at => {
                prop_assert!(!changed.iter().any(own));
                prop_assert_eq!(at, asked(starts, bytes, element, &changed, true));
            }
        }
    }

    #[test]
    fn files_cut_otherwise_are_read_whole(a in 0..CHUNK, b in 0..CHUNK, bytes in 0..9_000_000_u64) {
        prop_assume!(a != b);
        let read = asked([a, b], bytes, 1, &BTreeSet::new(), false);
        let all = std::iter::once(0..bytes).filter(|all| !all.is_empty()).collect();
        prop_assert_eq!(read, Doubt::At(all));
    }

    #[test]
    fn pieces_make_up_the_range(start in 0..CHUNK, bytes in 1..5 * CHUNK) {
        let pieces: Vec<_> = pieces(start..start + bytes).collect();
        prop_assert_eq!(pieces[0].start, start);
        prop_assert_eq!(pieces[pieces.len() - 1].end, start + bytes);
        prop_assert!(pieces.windows(2).all(|two| two[0].end == two[1].start));
        prop_assert!(pieces.iter().all(|piece| piece.end - piece.start <= CHUNK));
    }
}

#[test]
fn leaves_have_their_paths_for_names() {
    let mut leaves = BTreeMap::new();
    let value = json!({"a": {"b": 1, "c": [1, {"d": 2}], "none": null}, "e": {}, "f": "x"});
    flatten("config".to_owned(), value, &mut leaves);
    let leaves: Vec<_> = leaves.into_iter().collect();
    let expected = [
        ("config.a.b", json!(1)),
        ("config.a.c", json!([1, {"d": 2}])),
        ("config.e", json!({})),
        ("config.f", json!("x")),
    ];
    assert_eq!(leaves, expected.map(|(name, value)| (name.to_owned(), value)));
}

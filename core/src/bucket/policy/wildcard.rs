//! Wildcards: `*` stands for any characters, also none and also slashes; `?` for exactly one.

/// Whether `pattern` matches all of `text`.
///
/// Greedy with one point of return, the last `*`: time is at most the product of the lengths, and
/// nothing is allocated.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // After the last `*`: the pattern behind it, and the text that it has not swallowed yet.
    let mut back: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let before = text.clone();
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                text = before;
                back = Some((pattern.clone(), text.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(p), Some(t)) if p == t => {}
            _ => {
                let Some((behind, left)) = &mut back else { return false };
                if left.next().is_none() {
                    return false;
                }
                pattern = behind.clone();
                text = left.clone();
            }
        }
    }
}

/// Whether there is a wildcard in it.
pub(super) fn is_open(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word for word.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                naive(rest, text) || (!text.is_empty() && naive(pattern, &text[1..]))
            }
            (['?', rest @ ..], [_, more @ ..]) => naive(rest, more),
            ([p, rest @ ..], [t, more @ ..]) => p == t && naive(rest, more),
            _ => false,
        }
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let pattern = "*a".repeat(5_000) + "b";
        assert!(!matches(&pattern, &"a".repeat(1_024)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_matcher_follows_the_definition(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &text), naive(&chars(&pattern), &chars(&text)));
        }
    }
}

//! Which keys a recursive transfer takes.

use glob::Pattern;

/// Include and exclude patterns over keys relative to the transfer's root. `*` also matches `/`.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

/// A pattern that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a pattern: {reason}")]
pub struct FilterError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Filter {
    /// A filter that takes what matches some of `include` (everything if that is empty) and none
    /// of `exclude`.
    ///
    /// # Errors
    /// If one of them is no glob pattern.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, FilterError> {
        let compile = |patterns: &[String]| {
            let one = |pattern: &String| {
                Pattern::new(pattern)
                    .map_err(|e| FilterError { pattern: pattern.clone(), reason: e.msg })
            };
            patterns.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { include: compile(include)?, exclude: compile(exclude)? })
    }

    /// Whether the transfer takes `relative`.
    pub fn takes(&self, relative: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(relative));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Filter::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn exclusion_wins() {
        assert!(Filter::default().takes("anything"));
        let tars = filter(&["*.tar"], &["tmp/*"]);
        assert!(tars.takes("a/b.tar"));
        assert!(!tars.takes("a/b.txt"));
        assert!(!tars.takes("tmp/b.tar"));
    }

    #[test]
    fn bad_patterns_are_named() {
        let error = Filter::new(&["[a".to_owned()], &[]).unwrap_err();
        assert!(error.to_string().contains("[a"), "{error}");
    }
}

//! A moment, as files and messages name it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A moment in UTC, to the second; written as in RFC 3339: `2025-03-01T12:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// The moment by the system's clock.
    pub fn now() -> Self {
        OffsetDateTime::now_utc().into()
    }

    /// The moment itself.
    pub fn time(self) -> OffsetDateTime {
        self.0
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        let time = time.to_offset(UtcOffset::UTC);
        Self(time.replace_nanosecond(0).unwrap_or(time))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Years beyond 9999 or before 0 can be parsed with an offset, but not written.
        let utc = OffsetDateTime::parse(text, &Rfc3339).ok().and_then(|time| {
            let utc = time.checked_to_offset(UtcOffset::UTC)?;
            (0..=9999).contains(&utc.year()).then_some(utc)
        });
        utc.map(Self::from)
            .ok_or_else(|| format!("{text:?} is no time, such as 2025-03-01T12:00:00Z"))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments() {
        let parse = |text: &str| text.parse::<Timestamp>().unwrap().to_string();
        assert_eq!(parse("2025-03-01T12:00:00Z"), "2025-03-01T12:00:00Z");
        assert_eq!(parse("2025-03-01T12:00:00.75+02:00"), "2025-03-01T10:00:00Z");
        for text in ["", "yesterday", "2025-03-01", "0000-01-01T00:00:00+01:00"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        assert_eq!(Timestamp::now().to_string().parse(), Ok(Timestamp::now()));
    }

    proptest! {
        #[test]
        fn what_can_be_parsed_can_be_written(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[012][0-9]:[0-6][0-9]:[0-6][0-9](Z|[+-][012][0-9]:[0-5][0-9])") {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
        }
    }
}

//! Time as a value that is passed in, and times in JSON.

use std::num::NonZeroU64;
use std::ops::Add;
use std::time::Duration;

/// A moment on a monotonic clock: the time since an origin that the caller chooses, up to 584 years.
///
/// An optional one takes no more memory, as there are several for each unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(
    /// In nanoseconds, plus one.
    NonZeroU64,
);

/// The last moment, in nanoseconds: a whole second, so that it remains the same where times are written in coarser units.
const LAST: u64 = u64::MAX - u64::MAX % 1_000_000_000;

impl Timestamp {
    /// The moment this long after the origin; the last one if that is too long.
    #[must_use]
    pub fn from_origin(elapsed: Duration) -> Self {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(LAST).min(LAST);
        Self(NonZeroU64::MIN.saturating_add(nanoseconds))
    }

    /// The time since the origin.
    #[must_use]
    pub fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }

    /// The moment that long before this one; `None` if that is before the origin.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Option<Self> {
        self.since_origin().checked_sub(by).map(Self::from_origin)
    }

    /// The time from `now` until this moment; zero if it has passed.
    #[must_use]
    pub fn from_now(self, now: Self) -> Duration {
        self.since_origin().saturating_sub(now.since_origin())
    }
}

/// The origin.
impl Default for Timestamp {
    fn default() -> Self {
        Self(NonZeroU64::MIN)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, wait: Duration) -> Self {
        Self::from_origin(self.since_origin().saturating_add(wait))
    }
}

/// Times as RFC 3339, with milliseconds; for serde.
pub mod rfc3339 {
    use std::time::SystemTime;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    /// Writes a time.
    ///
    /// # Errors
    ///
    /// Errors of the serializer.
    pub fn serialize<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(&humantime::format_rfc3339_millis(*time)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a time.
    ///
    /// # Errors
    ///
    /// If the text is no time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        text.map(|text| humantime::parse_rfc3339(&text).map_err(D::Error::custom)).transpose()
    }
}

/// Durations as whole milliseconds; for serde.
pub mod milliseconds {
    use std::time::Duration;

    use serde::de::{Deserialize, Deserializer};
    use serde::ser::Serializer;

    /// Writes a duration, in milliseconds.
    ///
    /// # Errors
    ///
    /// Errors of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a duration, in milliseconds.
    ///
    /// # Errors
    ///
    /// If it is no number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let number: Option<u64> = Option::deserialize(deserializer)?;
        Ok(number.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_moment_is_a_whole_second() {
        let last = Timestamp::from_origin(Duration::MAX);
        assert_eq!(last.since_origin().subsec_nanos(), 0);
        assert!(last > Timestamp::from_origin(Duration::from_secs(500 * 365 * 24 * 3600)));
        assert_eq!(Timestamp::from_origin(last.since_origin()), last);
    }
}

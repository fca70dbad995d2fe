//! Time as a value that is passed in.

use std::ops::Add;
use std::time::Duration;

/// A moment on a monotonic clock: the time since an origin that the caller chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The moment this long after the origin.
    #[must_use]
    pub fn from_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time since the origin.
    #[must_use]
    pub fn since_origin(self) -> Duration {
        self.0
    }

    /// The moment that long before this one; `None` if that is before the origin.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Option<Self> {
        self.0.checked_sub(by).map(Self)
    }

    /// The time from `now` until this moment; zero if it has passed.
    #[must_use]
    pub fn from_now(self, now: Self) -> Duration {
        self.0.saturating_sub(now.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}

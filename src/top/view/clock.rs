//! Times on the screen, and when their texts change: the screen is drawn again then, and not before.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use crate::core::explain::times::rounded;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Longest wait that is shown in seconds; longer ones are shown in minutes.
const MAX_COUNTED_IN_SECONDS: u64 = 10 * MINUTE;

/// The time at which a screen is drawn.
#[derive(Debug)]
pub(in crate::top) struct Clock {
    pub now: SystemTime,
    time_of_day: fn(SystemTime) -> String,
    next: Cell<Option<SystemTime>>,
}

impl Clock {
    /// At this time, with this format of the time of day.
    pub fn new(now: SystemTime, time_of_day: fn(SystemTime) -> String) -> Self {
        Self { now, time_of_day, next: Cell::new(None) }
    }

    /// At an earlier time, after which nothing changes.
    pub fn stopped_at(&self, then: SystemTime) -> Self {
        Self::new(then, self.time_of_day)
    }

    /// The earliest time at which a drawn text changes.
    pub fn next(&self) -> Option<SystemTime> {
        self.next.get()
    }

    /// Records that a drawn text changes then.
    pub fn changes_at(&self, at: SystemTime) {
        if at > self.now {
            self.next.set(Some(self.next.get().map_or(at, |next| next.min(at))));
        }
    }

    /// The time of day in the reader's time zone: `09:41:07`.
    pub fn time_of_day(&self, time: SystemTime) -> String {
        (self.time_of_day)(time)
    }

    /// The same to the minute: `09:41`.
    pub fn minute_of_day(&self, time: SystemTime) -> String {
        let mut text = self.time_of_day(time);
        text.truncate("09:41".len());
        text
    }

    /// The time until then: `now`, `12s`, `4m 16s`, `28m`, `3h 5m`. Rounded up.
    pub fn left(&self, until: SystemTime) -> String {
        let left = until.duration_since(self.now).unwrap_or_default();
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let unit = if seconds <= MAX_COUNTED_IN_SECONDS { 1 } else { MINUTE };
        let whole = seconds.div_ceil(unit);
        if whole > 0
            && let Some(at) = until.checked_sub(SECOND * u32::try_from((whole - 1) * unit).unwrap_or(u32::MAX))
        {
            self.changes_at(at);
        }
        match whole * unit {
            0 => "now".to_owned(),
            seconds => rounded(Duration::from_secs(seconds)),
        }
    }

    /// The time since then: `<1m`, `12m`, `3h 5m`, `2d 4h`.
    pub fn up_for(&self, since: SystemTime) -> String {
        let seconds = self.now.duration_since(since).unwrap_or_default().as_secs();
        let unit = if seconds < DAY { MINUTE } else { HOUR };
        let whole = seconds / unit;
        self.changes_at(since + Duration::from_secs((whole + 1) * unit));
        match whole * unit {
            0 => "<1m".to_owned(),
            seconds => rounded(Duration::from_secs(seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + SECOND * 1_800_000_000 + Duration::from_secs(seconds)
    }

    fn clock(now: SystemTime) -> Clock {
        Clock::new(now, |_| String::new())
    }

    #[test]
    fn a_countdown_tells_when_its_text_changes() {
        let said = |left: Duration| {
            let clock = clock(at(0));
            let text = clock.left(at(0) + left);
            (text, clock.next().map(|next| next.duration_since(at(0)).unwrap()))
        };
        assert_eq!(said(Duration::ZERO), ("now".into(), None));
        assert_eq!(said(Duration::from_millis(11_500)), ("12s".into(), Some(Duration::from_millis(500))));
        assert_eq!(said(Duration::from_secs(12)), ("12s".into(), Some(SECOND)));
        assert_eq!(said(Duration::from_millis(300)), ("1s".into(), Some(Duration::from_millis(300))));
        assert_eq!(said(Duration::from_secs(256)), ("4m 16s".into(), Some(SECOND)));
        assert_eq!(said(Duration::from_secs(1690)), ("29m".into(), Some(Duration::from_secs(10))));
        assert_eq!(said(Duration::from_secs(11_100)), ("3h 5m".into(), Some(Duration::from_secs(60))));
        assert_eq!(clock(at(5)).left(at(0)), "now");
    }

    #[test]
    fn an_uptime_changes_with_each_minute_and_after_a_day_with_each_hour() {
        let said = |seconds| {
            let clock = clock(at(0));
            let text = clock.up_for(at(0) - Duration::from_secs(seconds));
            (text, clock.next().map(|next| next.duration_since(at(0)).unwrap().as_secs()))
        };
        assert_eq!(said(5), ("<1m".into(), Some(55)));
        assert_eq!(said(119), ("1m".into(), Some(1)));
        assert_eq!(said(11_100), ("3h 5m".into(), Some(60)));
        assert_eq!(said(187_200), ("2d 4h".into(), Some(3600)));
        assert_eq!(clock(at(0)).up_for(at(9)), "<1m");
    }
}

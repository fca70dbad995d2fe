//! Times in words.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Within this distance, the time of day is enough.
const SAME_DAY: Duration = Duration::from_secs(12 * HOUR);

/// A time that has passed: `a moment`, `12s`, `3m`, `3h 5m`, `2d 4h`.
#[must_use]
pub fn roughly(time: Duration) -> String {
    match time.as_secs() {
        0 => "a moment".to_owned(),
        seconds @ MINUTE..HOUR => format!("{}m", seconds / MINUTE),
        _ => rounded(time),
    }
}

/// The rest of a time, roughly: half an hour that has just begun is still half an hour.
#[must_use]
pub fn left(time: Duration) -> String {
    roughly(Duration::from_secs(time.saturating_add(Duration::from_millis(999)).as_secs()))
}

/// A time to come: `850ms`, `12s`, `4m 16s`, `3h 5m`, `2d 4h`.
#[must_use]
pub fn rounded(time: Duration) -> String {
    let (seconds, large, small) = match time.as_secs() {
        0 => return format!("{}ms", time.as_millis()),
        seconds @ ..MINUTE => return format!("{seconds}s"),
        seconds @ ..HOUR => (seconds, (MINUTE, 'm'), (1, 's')),
        seconds @ ..DAY => (seconds, (HOUR, 'h'), (MINUTE, 'm')),
        seconds => (seconds, (DAY, 'd'), (HOUR, 'h')),
    };
    let mut text = format!("{}{}", seconds / large.0, large.1);
    let rest = seconds % large.0 / small.0;
    if rest > 0 {
        text.push_str(&format!(" {rest}{}", small.1));
    }
    text
}

/// A moment with its time of day, and the date unless it is obvious. In UTC, since the reader's time zone is unknown.
/// Empty if the date makes no sense.
pub(super) fn exactly(at: SystemTime, now: SystemTime) -> String {
    let mut text = String::new();
    if write!(text, "{}", humantime::format_rfc3339_seconds(at)).is_err() {
        return String::new();
    }
    let apart = at.duration_since(now).unwrap_or_else(|earlier| earlier.duration());
    match text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((_, time)) if apart <= SAME_DAY => format!("{time} UTC"),
        Some((date, time)) => format!("{date} {time} UTC"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_exactly_as_helps() {
        let said = |seconds| {
            let time = Duration::from_secs(seconds);
            (roughly(time), rounded(time))
        };
        let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(said(12), both("12s", "12s"));
        assert_eq!(said(60), both("1m", "1m"));
        assert_eq!(said(256), both("4m", "4m 16s"));
        assert_eq!(said(11_100), both("3h 5m", "3h 5m"));
        assert_eq!(said(187_260), both("2d 4h", "2d 4h"));
        assert_eq!(rounded(Duration::from_millis(850)), "850ms");
        assert_eq!(roughly(Duration::from_millis(850)), "a moment");
    }

    #[test]
    fn a_moment_has_its_date_unless_that_is_clear() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_489_325);
        assert_eq!(exactly(now - Duration::from_secs(180), now), "02:59:05 UTC");
        assert_eq!(exactly(now + Duration::from_secs(DAY), now), "2026-11-25 03:02:05 UTC");
        assert_eq!(exactly(now + Duration::from_secs(u64::from(u32::MAX) * 100), now), "");
    }
}

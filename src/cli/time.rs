//! Times on the command line, as users write and read them, in the local time zone.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Days, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};

use crate::http::request::MAX_DURATION;

/// Up to this distance, the time of day is sufficient.
const SAME_DAY: Duration = Duration::from_secs(12 * 3600);
/// Below this, seconds are shown.
const SECONDS_SHOWN_BELOW: Duration = Duration::from_secs(120);

/// `14:05:07`; with the day before it, unless only the time of day is wanted.
pub(super) fn time_of_day(time: SystemTime, only: bool) -> String {
    DateTime::<Local>::from(time).format(if only { "%H:%M:%S" } else { "%b %e %H:%M:%S" }).to_string()
}

/// `14:05`.
pub(super) fn minute_of_day(time: SystemTime) -> String {
    DateTime::<Local>::from(time).format("%H:%M").to_string()
}

/// The time at which something ends: `14:05`, with its day unless that is clear, with seconds if it is soon.
pub(super) fn until(time: SystemTime, now: SystemTime) -> String {
    let apart = time.duration_since(now).unwrap_or_else(|earlier| earlier.duration());
    let format = if apart < SECONDS_SHOWN_BELOW {
        "%H:%M:%S"
    } else if apart <= SAME_DAY {
        "%H:%M"
    } else {
        "%b %e %H:%M"
    };
    DateTime::<Local>::from(time).format(format).to_string()
}

/// Reads a duration.
///
/// # Errors
///
/// If it is none, says how one is written.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| "write 30m, 2h or 1d".to_owned())
}

/// Reads a duration that is not zero, and that the daemon accepts.
///
/// # Errors
///
/// If it is none, says how one is written.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("write 30m, 2h or 1d".to_owned()),
        time if time > MAX_DURATION => Err("that is longer than 10 years".to_owned()),
        time => Ok(time),
    }
}

/// Reads how long something has to stay up.
///
/// # Errors
///
/// If it is no duration, says how one is written.
pub(super) fn short_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| "write 500ms, 3s or 1m".to_owned())
}

/// Reads the start of a period: a duration before now, `today`, `yesterday`, a time of today, a date, or a date with a
/// time.
///
/// # Errors
///
/// If it is none of these, or in the future.
pub(super) fn since(text: &str) -> Result<SystemTime, String> {
    since_at(text, Local::now())
}

fn since_at<Zone: TimeZone>(text: &str, now: DateTime<Zone>) -> Result<SystemTime, String> {
    let text = text.trim();
    let time = moment(text, &now).ok_or("write 2h, yesterday, 14:05, 2026-01-31 or \"2026-01-31 14:05\"")?;
    if time > SystemTime::from(now) { Err("that has not come yet".to_owned()) } else { Ok(time) }
}

fn moment<Zone: TimeZone>(text: &str, now: &DateTime<Zone>) -> Option<SystemTime> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Some(SystemTime::from(now.clone()).checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.into());
    }
    let today = now.date_naive();
    let midnight = NaiveTime::MIN;
    let local = match text {
        "today" => today.and_time(midnight),
        "yesterday" => today.checked_sub_days(Days::new(1))?.and_time(midnight),
        _ => {
            let time = || ["%H:%M:%S", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok());
            let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
            let both = || {
                let forms = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
                forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
            };
            time()
                .map(|time| today.and_time(time))
                .or_else(|| date().map(|date| date.and_time(midnight)))
                .or_else(both)?
        }
    };
    // A time that the clock skips or repeats is read as the earlier one.
    now.timezone().from_local_datetime(&local).earliest().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    #[test]
    fn a_time_in_the_past_is_written_as_people_do() {
        let zone = FixedOffset::east_opt(2 * 3600).unwrap();
        let now = zone.with_ymd_and_hms(2026, 11, 29, 14, 30, 0).unwrap();
        let read = |text| {
            let time = since_at(text, now)?;
            Ok::<_, String>(
                DateTime::<FixedOffset>::from(DateTime::<chrono::Utc>::from(time)).with_timezone(&zone).to_rfc3339(),
            )
        };
        for (text, time) in [
            ("1h", "2026-11-29T13:30:00+02:00"),
            ("2h 30m", "2026-11-29T12:00:00+02:00"),
            ("today", "2026-11-29T00:00:00+02:00"),
            ("yesterday", "2026-11-28T00:00:00+02:00"),
            ("14:05", "2026-11-29T14:05:00+02:00"),
            ("2026-11-01", "2026-11-01T00:00:00+02:00"),
            ("2026-11-01 09:41", "2026-11-01T09:41:00+02:00"),
            ("2026-11-01T09:41:07Z", "2026-11-01T11:41:07+02:00"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(time), "{text}");
        }
        for text in ["2099-01-01", "14:31"] {
            assert_eq!(read(text).unwrap_err(), "that has not come yet", "{text}");
        }
        for text in ["soon", "", "2026-13-01", "25:00", "1"] {
            assert!(read(text).unwrap_err().starts_with("write 2h, yesterday"), "{text}");
        }
        assert_eq!(duration("1").unwrap_err(), "write 30m, 2h or 1d");
        assert_eq!(some_time("99999999999h").unwrap_err(), "that is longer than 10 years");
    }
}

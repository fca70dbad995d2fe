//! The last 24 hours in figures: how many workers failed, how many came back, and how long that took.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::diagnosis::State;
use super::event::{Event, Phase};
use super::explain::times::rounded;
use super::time::{milliseconds, rfc3339};
use super::units::UnitName;

/// The period of the figures.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// Maximum number of counted events, and of workers that are down at once.
const MAX_COUNTED: usize = 10_000;

/// The figures. They count failures, not starts of workers that had not failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDay {
    /// From when on it is known what happened, as RFC 3339, if that is less than 24 hours ago.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub since: Option<SystemTime>,
    /// How many failures began.
    pub failures: usize,
    /// How many were healed.
    pub healed: usize,
    /// How many workers came back without a start by workerheal.
    pub recovered: usize,
    /// The median of the times from a failure until the worker was up again, in milliseconds, if there were any.
    #[serde(default, rename = "median_downtime_ms", skip_serializing_if = "Option::is_none", with = "milliseconds")]
    pub median_downtime: Option<Duration>,
}

/// The figures as a line of text, in two parts: the second is to stand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `Since 09:41: 12 failures, 12 healed, median downtime 14ms`.
    pub figures: String,
    /// `, 2 need you`; empty if no worker does.
    pub need_you: String,
}

impl LastDay {
    /// The figures as a line of at most this many columns, if possible: the median gives way first. `need_you` is the
    /// number of workers that [need their user](super::report::WorkerReport::needs_you); `time_of_day` returns the time in
    /// the reader's time zone, to the minute.
    #[must_use]
    pub fn line(&self, need_you: usize, time_of_day: impl Fn(SystemTime) -> String, columns: usize) -> Line {
        let period = self.since.map_or_else(|| "Last 24h".to_owned(), |since| format!("Since {}", time_of_day(since)));
        let failures = match self.failures {
            0 => "no failures".to_owned(),
            1 => "1 failure".to_owned(),
            failures => format!("{failures} failures"),
        };
        let mut figures = format!("{period}: {failures}");
        // Without failures there is none, unless one began earlier.
        if self.failures > 0 || self.healed > 0 {
            figures.push_str(&format!(", {} healed", self.healed));
        }
        if self.recovered > 0 {
            figures.push_str(&format!(", {} recovered", self.recovered));
        }
        let need_you = match need_you {
            0 => String::new(),
            1 => ", 1 needs you".to_owned(),
            workers => format!(", {workers} need you"),
        };
        if let Some(median) = self.median_downtime.map(rounded) {
            let room = columns.saturating_sub(figures.chars().count() + need_you.chars().count());
            let ways = [format!(", median downtime {median}"), format!(", median {median}")];
            figures.extend(ways.into_iter().find(|way| way.chars().count() <= room));
        }
        Line { figures, need_you }
    }
}

/// Counts events as they happen.
#[derive(Debug)]
pub struct Tally {
    since: SystemTime,
    counted: VecDeque<(SystemTime, Counted)>,
    open: HashMap<UnitName, Open>,
}

/// What counts.
#[derive(Debug, Clone, Copy)]
enum Counted {
    Failure,
    Healed(Option<Duration>),
    Recovered(Option<Duration>),
}

/// What is being done about a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// It has failed.
    Failed,
    /// It was given up; a further failure is another one.
    GivenUp,
    /// It is started, and has not failed.
    Asked,
    /// It was stopped on purpose.
    Stopped,
}

impl Tally {
    /// Knows what happens from this time on.
    #[must_use]
    pub fn new(since: SystemTime) -> Self {
        Self { since, counted: VecDeque::new(), open: HashMap::new() }
    }

    /// Counts an event that happened then. Events come in order.
    pub fn observe(&mut self, event: &Event, at: SystemTime) {
        let Some(unit) = &event.unit else { return };
        let open = self.open.get(unit).copied();
        match event.phase {
            Phase::Detected if open == Some(Open::Failed) => {}
            // It is started by hand: it has not failed since.
            Phase::Detected if open == Some(Open::Stopped) && event.reason == State::ExpectedButStopped.as_str() => {
                self.enter(unit, Open::Asked);
            }
            Phase::Detected => {
                self.count(at, Counted::Failure);
                self.enter(unit, Open::Failed);
            }
            Phase::Starting if matches!(open, None | Some(Open::Stopped)) => self.enter(unit, Open::Asked),
            Phase::Failed | Phase::GaveUp => {
                if matches!(open, None | Some(Open::Asked | Open::Stopped)) {
                    self.count(at, Counted::Failure);
                }
                self.enter(unit, if event.phase == Phase::GaveUp { Open::GivenUp } else { Open::Failed });
            }
            Phase::Healed | Phase::Recovered if !matches!(open, Some(Open::Asked | Open::Stopped)) => {
                // It may have failed before the first event.
                if open.is_none() && event.downtime.is_none() {
                    return;
                }
                if open.is_none() {
                    self.count(at, Counted::Failure);
                }
                let ended = if event.phase == Phase::Healed { Counted::Healed } else { Counted::Recovered };
                self.count(at, ended(event.downtime));
                self.open.remove(unit);
            }
            Phase::Healed | Phase::Recovered => {
                self.open.remove(unit);
            }
            Phase::Stopped => self.enter(unit, Open::Stopped),
            Phase::Starting | Phase::Scheduled | Phase::Held | Phase::Done => {}
        }
    }

    /// The figures at this time.
    #[must_use]
    pub fn figures(&self, now: SystemTime) -> LastDay {
        let begin = now.checked_sub(DAY).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut figures = LastDay { since: Some(self.since).filter(|since| *since > begin), ..LastDay::default() };
        let mut downtimes = Vec::new();
        for (_, counted) in self.counted.iter().filter(|(at, _)| *at >= begin) {
            match counted {
                Counted::Failure => figures.failures += 1,
                Counted::Healed(downtime) => {
                    figures.healed += 1;
                    downtimes.extend(*downtime);
                }
                Counted::Recovered(downtime) => {
                    figures.recovered += 1;
                    downtimes.extend(*downtime);
                }
            }
        }
        figures.median_downtime = median(downtimes);
        figures
    }

    fn enter(&mut self, unit: &UnitName, open: Open) {
        if self.open.len() >= MAX_COUNTED && !self.open.contains_key(unit) {
            self.open.clear();
        }
        self.open.insert(unit.clone(), open);
    }

    fn count(&mut self, at: SystemTime, counted: Counted) {
        let begin = at.checked_sub(DAY).unwrap_or(SystemTime::UNIX_EPOCH);
        while self.counted.front().is_some_and(|(time, _)| *time < begin) {
            self.counted.pop_front();
        }
        if self.counted.len() >= MAX_COUNTED
            && let Some((dropped, _)) = self.counted.pop_front()
        {
            self.since = self.since.max(dropped);
        }
        self.counted.push_back((at, counted));
    }
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    let middle = times.len() / 2;
    let upper = *times.get(middle)?;
    Some(if times.len() % 2 == 1 { upper } else { (times[middle - 1] + upper) / 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn ago(minutes: u64) -> SystemTime {
        NOW + 2 * DAY - Duration::from_secs(60 * minutes)
    }

    fn tally(events: &[(&str, Phase, u64, Option<u64>)]) -> Tally {
        let mut tally = Tally::new(ago(2000));
        for (unit, phase, minutes, downtime) in events {
            let unit = UnitName::parse(unit).ok();
            let downtime = downtime.map(Duration::from_millis);
            tally.observe(&Event { unit, downtime, ..Event::new(*phase) }, ago(*minutes));
        }
        tally
    }

    #[test]
    fn the_median_of_an_odd_number_is_the_one_in_the_middle() {
        let healed = |unit, downtime| [(unit, Phase::Detected, 9, None), (unit, Phase::Healed, 8, Some(downtime))];
        let median = |times: &[u64]| {
            let events: Vec<_> = times.iter().flat_map(|time| healed("queue", *time)).collect();
            tally(&events).figures(ago(0)).median_downtime.map(|median| median.as_millis())
        };
        assert_eq!(median(&[7]), Some(7));
        assert_eq!(median(&[500, 20, 70]), Some(70));
        assert_eq!(median(&[500, 20]), Some(260));
    }

    #[test]
    fn a_day_includes_its_first_instant() {
        let tally = tally(&[("queue", Phase::Detected, 24 * 60, None), ("vite", Phase::Detected, 0, None)]);
        assert_eq!(tally.figures(ago(0)).failures, 2);
        for (minutes, is_whole) in [(24 * 60, true), (24 * 60 - 1, false)] {
            assert_eq!(Tally::new(ago(minutes)).figures(ago(0)).since.is_none(), is_whole);
        }
    }

    #[test]
    fn what_is_older_than_a_day_takes_no_memory() {
        let events: Vec<_> = (0..50).map(|number| ("queue", Phase::Detected, 2000 - number, None)).collect();
        let with_recent =
            [&events[..], &[("queue", Phase::Healed, 3, None), ("vite", Phase::Detected, 2, None)]].concat();
        let tally = tally(&with_recent);
        assert_eq!(tally.counted.len(), 2, "{:?}", tally.counted);
    }

    #[test]
    fn failures_of_the_last_24_hours_are_counted() {
        use Phase::{Detected, Failed, GaveUp, Healed, Held, Recovered, Starting, Stopped};
        // Failed yesterday and healed today; failed and came back twice; down with attempts to come; given up, and failed
        // again after it was up unnoticed; stopped; started by hand without a failure, and after one.
        let all = tally(&[
            ("long", Detected, 1500, None),
            ("twice", Detected, 700, None),
            ("twice", Starting, 700, None),
            ("twice", Healed, 699, Some(14)),
            ("long", Healed, 600, Some(54_000_000)),
            ("twice", Detected, 300, None),
            ("twice", Recovered, 299, Some(20)),
            ("down", Detected, 30, None),
            ("down", Starting, 30, None),
            ("down", Failed, 29, None),
            ("down", Detected, 28, None),
            ("lost", Detected, 20, None),
            ("lost", GaveUp, 10, None),
            ("asked", Starting, 5, None),
            ("asked", Healed, 5, Some(3)),
            ("", Held, 4, None),
            ("meant", Detected, 4, None),
            ("meant", Stopped, 3, None),
            ("lost", Detected, 2, None),
            ("unable", Starting, 2, None),
            ("unable", Failed, 1, None),
            ("earlier", Recovered, 1, Some(30)),
            ("unknown", Recovered, 1, None),
            ("untimed", Detected, 1, None),
            ("untimed", Recovered, 1, None),
        ]);
        let figures = all.figures(ago(0));
        assert_eq!((figures.failures, figures.healed, figures.recovered), (9, 2, 3));
        assert_eq!(figures.median_downtime, Some(Duration::from_millis(25)), "between the two in the middle");
        assert_eq!(figures.since, None);
        assert_eq!(all.figures(ago(0) + DAY).failures, 0);
        assert_eq!(tally(&[]).figures(ago(0)), LastDay::default());
    }

    #[test]
    fn a_failed_attempt_belongs_to_the_failure_and_what_follows_a_give_up_is_another() {
        use Phase::{Detected, Failed, GaveUp};
        for (phase, failures) in [(Failed, 1), (GaveUp, 2)] {
            let tally = tally(&[("queue", Detected, 9, None), ("queue", phase, 8, None), ("queue", Detected, 7, None)]);
            assert_eq!(tally.figures(ago(0)).failures, failures, "{phase:?}");
        }
    }

    #[test]
    fn a_stop_and_a_start_by_hand_are_no_failure() {
        let mut tally = tally(&[("queue", Phase::Stopped, 9, None)]);
        let event = |reason: &str, phase| Event {
            unit: UnitName::parse("queue").ok(),
            reason: reason.into(),
            downtime: Some(Duration::from_secs(60)).filter(|_| phase == Phase::Healed),
            ..Event::new(phase)
        };
        tally.observe(&event("expected-but-stopped", Phase::Detected), ago(8));
        tally.observe(&event("", Phase::Starting), ago(8));
        tally.observe(&event("", Phase::Healed), ago(7));
        assert_eq!(tally.figures(ago(0)), LastDay::default());
        tally.observe(&event("", Phase::Stopped), ago(6));
        tally.observe(&event("failed", Phase::Detected), ago(5));
        assert_eq!(tally.figures(ago(0)).failures, 1, "it was started without us, and failed");
    }

    #[test]
    fn the_number_of_counted_events_is_bounded() {
        let mut tally = Tally::new(ago(60));
        for number in 0..=MAX_COUNTED {
            let event = Event { unit: UnitName::parse(&number.to_string()).ok(), ..Event::new(Phase::Detected) };
            tally.observe(&event, ago(if number == 0 { 30 } else { 20 }));
        }
        let figures = tally.figures(ago(0));
        assert_eq!((figures.failures, figures.since), (MAX_COUNTED, Some(ago(30))), "nothing older is known any more");
    }

    #[test]
    fn workers_are_remembered_until_there_are_too_many() {
        let mut tally = Tally::new(ago(60));
        let event =
            |number: usize, phase| Event { unit: UnitName::parse(&number.to_string()).ok(), ..Event::new(phase) };
        for number in 0..MAX_COUNTED {
            tally.observe(&event(number, Phase::Detected), ago(20));
        }
        // One of them, with which there are not more.
        tally.observe(&event(1, Phase::GaveUp), ago(10));
        tally.observe(&event(2, Phase::Healed), ago(10));
        assert_eq!(tally.figures(ago(0)).healed, 1);
        // Two more: what is known of the others is forgotten, also that they have failed.
        tally.observe(&event(MAX_COUNTED, Phase::Detected), ago(9));
        tally.observe(&event(MAX_COUNTED + 1, Phase::Detected), ago(9));
        tally.observe(&event(3, Phase::Healed), ago(8));
        assert_eq!(tally.figures(ago(0)).healed, 1);
    }

    #[test]
    fn the_figures_are_a_line() {
        let line = |figures: &LastDay, need_you, columns| {
            let Line { figures, need_you } = figures.line(need_you, |_| "09:41".to_owned(), columns);
            figures + &need_you
        };
        let wide = usize::MAX;
        assert_eq!(line(&LastDay::default(), 0, wide), "Last 24h: no failures");
        assert_eq!(line(&LastDay { healed: 1, ..LastDay::default() }, 0, wide), "Last 24h: no failures, 1 healed");
        let since = Some(NOW);
        let one = LastDay { since, failures: 1, ..LastDay::default() };
        assert_eq!(line(&one, 1, wide), "Since 09:41: 1 failure, 0 healed, 1 needs you");
        let median_downtime = Some(Duration::from_millis(14));
        let all = LastDay { since, failures: 12, healed: 10, recovered: 1, median_downtime };
        let whole = "Since 09:41: 12 failures, 10 healed, 1 recovered, median downtime 14ms, 2 need you";
        assert_eq!(line(&all, 2, wide), whole);
        assert_eq!(line(&all, 2, whole.len()), whole);
        let shorter = "Since 09:41: 12 failures, 10 healed, 1 recovered, median 14ms, 2 need you";
        assert_eq!(line(&all, 2, whole.len() - 1), shorter);
        let short = "Since 09:41: 12 failures, 10 healed, 1 recovered, 2 need you";
        assert_eq!(line(&all, 2, shorter.len() - 1), short);
        assert_eq!(line(&all, 2, 0), short);
    }
}

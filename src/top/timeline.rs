//! The timeline of a worker in the last hour: its history from events and reports, and its layout as blocks. Pure: no
//! clock, no drawing.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::core::event::Phase;
use crate::core::report::{Stage, WorkerReport};

/// How much of the past is shown.
pub(super) const HISTORY_TIME: Duration = Duration::from_secs(3600);
/// Maximum number of changes kept of a worker: the last minutes are enough of one that crashes every second.
const MAX_CHANGES: usize = 4096;

/// The condition of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// Unknown.
    Unknown,
    /// Down as it should be.
    Off,
    /// Up.
    Up,
    /// Being started or proven.
    Healing,
    /// Down, and not being started.
    Failed,
}

impl Mark {
    const ALL: [Self; 5] = [Self::Unknown, Self::Off, Self::Up, Self::Healing, Self::Failed];

    /// The condition after an event; `None` if the event says nothing about it.
    fn after(phase: Phase) -> Option<Self> {
        Some(match phase {
            Phase::Detected | Phase::Scheduled | Phase::Held | Phase::Failed | Phase::GaveUp => Self::Failed,
            Phase::Starting => Self::Healing,
            Phase::Healed | Phase::Recovered => Self::Up,
            Phase::Stopped => Self::Off,
            Phase::Done => return None,
        })
    }

    /// The condition that an event implies before it.
    fn before(phase: Phase) -> Self {
        match phase {
            Phase::Detected | Phase::Stopped | Phase::Done => Self::Up,
            Phase::Healed | Phase::Failed => Self::Healing,
            Phase::Scheduled | Phase::Held | Phase::Starting | Phase::GaveUp | Phase::Recovered => Self::Failed,
        }
    }

    /// The condition by a report.
    fn of(worker: &WorkerReport) -> Self {
        match worker.phase {
            Stage::Up => Self::Up,
            Stage::Starting | Stage::Proving => Self::Healing,
            // Another client acts on it; its result is reported.
            Stage::Changing | Stage::Unknown => Self::Unknown,
            Stage::Down | Stage::Stopped => Self::Off,
            Stage::Held | Stage::GaveUp if worker.on_purpose => Self::Off,
            // A held worker is not always down: one that fails its probe is up.
            Stage::Due | Stage::Waiting | Stage::Held | Stage::GaveUp => Self::Failed,
        }
    }
}

/// The history of one worker, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History {
    marks: VecDeque<(SystemTime, Mark)>,
}

impl History {
    /// Adds the condition from an event at `time`. Before the first event, the condition is the one that the event
    /// implies, since `known_from`: a change would have been reported.
    pub fn event(&mut self, phase: Phase, time: SystemTime, known_from: Option<SystemTime>) {
        let Some(mark) = Mark::after(phase) else { return };
        if let Some(from) = known_from.filter(|from| *from < time)
            && self.last().is_none_or(|(at, mark)| mark == Mark::Unknown && at <= from)
        {
            self.push(from, Mark::before(phase));
        }
        self.push(time, mark);
    }

    /// Adds the condition from a report. Its statements about the past count too: when the worker came up, and that
    /// there was no event since `known_from`.
    pub fn report(&mut self, worker: &WorkerReport, now: SystemTime, known_from: Option<SystemTime>) {
        let mark = Mark::of(worker);
        match (mark, worker.up_since) {
            (Mark::Up, Some(since)) => {
                // The worker was up without being watched.
                while self.last().is_some_and(|(at, mark)| mark == Mark::Unknown && at >= since) {
                    self.marks.pop_back();
                }
                let from = self.last().map_or(since, |(at, _)| since.max(at));
                self.push(from, Mark::Up);
            }
            (Mark::Unknown, _) if self.last().is_some() => {}
            (mark, _) => {
                let from = match (self.last(), known_from) {
                    // Its failure stays in the past, and the intended state begins with the last event.
                    _ if mark == Mark::Off && worker.on_purpose => worker.since.unwrap_or(now),
                    // A failure would have been reported. The stop of a healthy worker is not.
                    (None, Some(from)) if mark != Mark::Off => from,
                    _ => now,
                };
                self.push(from, mark);
            }
        }
        self.forget(now);
    }

    /// From here on, the condition is unknown.
    pub fn lost(&mut self, time: SystemTime) {
        if self.last().is_some() {
            self.push(time, Mark::Unknown);
        }
    }

    fn last(&self) -> Option<(SystemTime, Mark)> {
        self.marks.back().copied()
    }

    fn push(&mut self, time: SystemTime, mark: Mark) {
        match self.last() {
            Some((_, last)) if last == mark => {}
            // A clock that was set back must not disorder the times.
            Some((at, _)) => self.marks.push_back((time.max(at), mark)),
            None => self.marks.push_back((time, mark)),
        }
        if self.marks.len() > MAX_CHANGES {
            self.marks.pop_front();
        }
    }

    /// Drops what is no longer visible.
    fn forget(&mut self, now: SystemTime) {
        let Some(begin) = now.checked_sub(HISTORY_TIME + HISTORY_TIME / 8) else { return };
        while self.marks.get(1).is_some_and(|(at, _)| *at <= begin) {
            self.marks.pop_front();
        }
    }

    /// The last hour as blocks, the oldest first. Each shows the condition that lasted longest in it, of those other
    /// than being up if there are any. The last block is the present, and ends with it.
    pub fn blocks(&self, scale: Scale, now: SystemTime) -> Vec<Mark> {
        let mut marks = self.marks.iter().copied().peekable();
        let mut current = Mark::Unknown;
        let mut blocks = Vec::with_capacity(scale.columns);
        for column in 0..scale.columns {
            let (begin, end) = scale.column(column);
            let end = end.min(now);
            let mut spent = [Duration::ZERO; Mark::ALL.len()];
            let mut from = begin;
            while let Some((at, mark)) = marks.next_if(|(at, _)| *at < end || *at <= begin) {
                spent[current as usize] += at.duration_since(from).unwrap_or_default();
                from = from.max(at);
                current = mark;
            }
            spent[current as usize] += end.duration_since(from).unwrap_or_default();
            blocks.push(Self::worth_telling(&spent, current));
        }
        blocks
    }

    fn worth_telling(spent: &[Duration; Mark::ALL.len()], last: Mark) -> Mark {
        let longest = |among: &[Mark]| {
            let present = among.iter().copied().filter(|mark| spent[*mark as usize] > Duration::ZERO);
            present.max_by_key(|mark| (spent[*mark as usize], *mark))
        };
        longest(&[Mark::Failed, Mark::Healing])
            .or_else(|| longest(&[Mark::Off, Mark::Up]))
            .or_else(|| longest(&[Mark::Unknown]))
            .unwrap_or(last)
    }
}

/// The division of the last hour into columns, which move only by whole columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    pub columns: usize,
    width: Duration,
    /// The end of the last column.
    end: SystemTime,
}

impl Scale {
    /// For at most this many columns, each of whole minutes.
    pub fn new(room: usize, now: SystemTime) -> Self {
        let minutes = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60];
        let minutes = minutes.into_iter().find(|minutes| 60 / minutes <= room.max(1)).unwrap_or(60);
        let width = Duration::from_secs(60 * minutes as u64);
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let end = UNIX_EPOCH + Duration::from_secs((since_epoch / width.as_secs() + 1) * width.as_secs());
        Self { columns: 60 / minutes, width, end }
    }

    /// When the columns move.
    pub fn moves_at(self) -> SystemTime {
        self.end
    }

    fn column(self, column: usize) -> (SystemTime, SystemTime) {
        let after = self.columns.saturating_sub(column + 1);
        let end = self.end - self.width * u32::try_from(after).unwrap_or(0);
        (end - self.width, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full hour, so that columns begin at whole minutes.
    fn at(minute: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(3600 * 480_000 + 60 * minute)
    }

    fn drawn(history: &History, room: usize, now: SystemTime) -> String {
        let letter = |mark| match mark {
            Mark::Unknown => '?',
            Mark::Off => '-',
            Mark::Up => '_',
            Mark::Healing => 'h',
            Mark::Failed => 'F',
        };
        history.blocks(Scale::new(room, now), now).into_iter().map(letter).collect()
    }

    fn up(since: Option<SystemTime>) -> WorkerReport {
        WorkerReport { up_since: since, ..WorkerReport::plain("queue", Stage::Up) }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_worker_that_is_up_has_been_since_it_was_started() {
        let now = at(70) + 30 * SECOND;
        let mut history = History::default();
        history.report(&up(Some(at(41))), now, None);
        assert_eq!(drawn(&history, 20, now), "?????????___________");
        let mut history = History::default();
        history.report(&up(Some(at(0))), now, None);
        assert_eq!(drawn(&history, 20, now), "____________________");
    }

    #[test]
    fn a_failure_shows_however_short_it_was_and_healing_if_that_took_longer() {
        let now = at(59) + 59 * SECOND;
        let mut history = History::default();
        history.event(Phase::Detected, at(30), Some(at(0)));
        history.event(Phase::Starting, at(30) + SECOND, None);
        history.event(Phase::Healed, at(30) + 11 * SECOND, None);
        history.event(Phase::Detected, at(50), None);
        history.event(Phase::Scheduled, at(50), None);
        history.event(Phase::Starting, at(55) + 30 * SECOND, None);
        history.event(Phase::Healed, at(55) + 31 * SECOND, None);
        assert_eq!(drawn(&history, 60, now), format!("{}h{}FFFFFF____", "_".repeat(30), "_".repeat(19)));
        assert_eq!(drawn(&history, 12, now), "______h___FF");
        assert_eq!(drawn(&history, 1, now), "F");
    }

    #[test]
    fn before_the_first_event_it_was_as_that_implies_for_as_long_as_anybody_watched() {
        let now = at(59);
        let mut history = History::default();
        history.event(Phase::Healed, at(30), Some(at(20)));
        assert_eq!(drawn(&history, 6, now), "??h___");
        let mut unwatched = History::default();
        unwatched.event(Phase::Healed, at(30), None);
        assert_eq!(drawn(&unwatched, 6, now), "???___");
    }

    #[test]
    fn time_without_a_daemon_is_unknown_unless_the_worker_was_up_throughout() {
        let now = at(59);
        let mut history = History::default();
        history.report(&up(Some(at(0))), at(20), None);
        history.lost(at(20));
        assert_eq!(drawn(&history, 6, now), "__????");
        let mut restarted = history.clone();
        restarted.report(&up(Some(at(40))), now, None);
        assert_eq!(drawn(&restarted, 6, now), "__??__");
        history.report(&up(Some(at(0))), now, None);
        assert_eq!(drawn(&history, 6, now), "______");
    }

    #[test]
    fn one_that_is_down_has_been_for_as_long_as_it_is_watched() {
        let mut history = History::default();
        history.report(&WorkerReport::plain("queue", Stage::GaveUp), at(59), Some(at(30)));
        assert_eq!(drawn(&history, 6, at(59)), "???FFF");
        history.report(&up(Some(at(60))), at(61), None);
        history.report(&WorkerReport::plain("queue", Stage::Stopped), at(62), None);
        assert_eq!(drawn(&history, 60, at(64)), format!("{}{}__---", "?".repeat(25), "F".repeat(30)));
    }

    #[test]
    fn a_worker_held_on_purpose_is_off_since_its_last_event() {
        let held = WorkerReport { on_purpose: true, since: Some(at(30)), ..WorkerReport::plain("queue", Stage::Held) };
        let mut history = History::default();
        history.event(Phase::Detected, at(20), Some(at(0)));
        history.event(Phase::Held, at(30), None);
        history.report(&held, at(59), None);
        assert_eq!(drawn(&history, 6, at(59)), "__F---");
    }

    #[test]
    fn columns_stand_still_until_one_has_passed() {
        let scale = Scale::new(25, at(31));
        assert_eq!((scale.columns, scale.moves_at()), (20, at(33)));
        assert_eq!(Scale::new(25, at(32) + 59 * SECOND), scale);
        assert_eq!(Scale::new(25, at(33)).moves_at(), at(36));
        assert_eq!(Scale::new(200, at(0)).columns, 60);
        assert_eq!(Scale::new(0, at(0)).columns, 1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut history = History::default();
        for second in 0..10_000 {
            let phase = if second % 2 == 0 { Phase::Detected } else { Phase::Healed };
            history.event(phase, at(0) + Duration::from_secs(second), None);
        }
        assert_eq!(history.marks.len(), MAX_CHANGES);
        history.report(&up(None), at(1000), None);
        assert!(history.marks.len() <= 2);
    }
}

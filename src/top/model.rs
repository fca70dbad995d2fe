//! What the screen shows, as a value: what is known of the daemon and its workers, what is selected,
//! which pane is open. News and keys change it; nothing here knows of a terminal, a socket or a clock.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::menu::PauseMenu;
use super::rows::{Order, Row, rows};
use super::timeline::History;
use crate::api::{DaemonStatus, Explained, PauseKind, PauseReport};
use crate::core::event::Event;
use crate::core::report::WorkerReport;
use crate::manager::log::LogLine;

/// So many events, and lines of a log, can be looked at.
const MAX_KEPT: usize = 1000;
/// How long it is told that something was done; and that something failed.
const SUCCESS_SHOWN_FOR: Duration = Duration::from_secs(10);
const FAILURE_SHOWN_FOR: Duration = Duration::from_secs(60);

/// The way to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DaemonLink {
    /// Not yet known.
    Trying,
    /// It answers.
    Up,
    /// It does not; says why, and since when.
    Gone(String, SystemTime),
}

/// How things were at a time.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub at: SystemTime,
    pub status: DaemonStatus,
    pub workers: Vec<WorkerReport>,
}

/// A line about what the user had done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub text: String,
    pub tone: Tone,
    /// Until when it is shown; for as long as it takes, if there is no telling.
    pub until: Option<SystemTime>,
}

/// How a notice is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Busy,
    Good,
    Bad,
}

/// What keys are for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Commands,
    /// The filter is being typed; it was this before.
    Filter(String),
    Pause(PauseMenu),
}

/// What is open beside, or instead of, the overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    None,
    Explanation,
    Log,
    Help,
}

/// The log that is followed.
#[derive(Debug, Clone, Default)]
pub(super) struct FollowedLog {
    pub unit: String,
    pub lines: VecDeque<LogLine>,
    /// Why it ended.
    pub error: Option<String>,
}

/// Why a worker is as it is.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub unit: String,
    /// When it was so.
    pub at: SystemTime,
    /// What the daemon says, or why it does not.
    pub says: Result<Box<Explained>, String>,
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Model {
    pub daemon: DaemonLink,
    pub snapshot: Option<Snapshot>,
    pub histories: HashMap<String, History>,
    pub events: VecDeque<Event>,
    /// The unit under the cursor.
    pub selected: Option<String>,
    pub filter: String,
    pub order: Order,
    pub mode: Mode,
    pub pane: Pane,
    pub explained: Option<Answer>,
    pub log: Option<FollowedLog>,
    pub notice: Option<Notice>,
    /// The first row of the list, and the first line of the pane, on the screen. Of a log, how many lines
    /// from the end.
    pub top: usize,
    pub scroll: usize,
    /// How many of each there is room for, as of the last time it was drawn.
    pub page: usize,
    /// How far the pane can be scrolled.
    pub scroll_end: usize,
    /// Since when nothing that has happened is missing.
    known_from: Option<SystemTime>,
    gap: bool,
}

impl Model {
    pub fn new() -> Self {
        Self {
            daemon: DaemonLink::Trying,
            snapshot: None,
            histories: HashMap::new(),
            events: VecDeque::new(),
            selected: None,
            filter: String::new(),
            order: Order::default(),
            mode: Mode::Commands,
            pane: Pane::None,
            explained: None,
            log: None,
            notice: None,
            top: 0,
            scroll: 0,
            page: 10,
            scroll_end: 0,
            known_from: None,
            gap: false,
        }
    }

    /// A daemon answers that has run for so long: what happened since can be known.
    pub fn found(&mut self, uptime: Option<Duration>, now: SystemTime) {
        // Of what was before, it may have told us when it was another process.
        self.known_from = self.known_from.max(uptime.and_then(|uptime| now.checked_sub(uptime)));
    }

    /// What the daemon answered.
    pub fn learn(&mut self, snapshot: Snapshot) {
        if let DaemonLink::Gone(..) = std::mem::replace(&mut self.daemon, DaemonLink::Up)
            && self.snapshot.is_some()
        {
            self.tell(Tone::Good, "The daemon answers again.", snapshot.at);
        }
        if std::mem::take(&mut self.gap) {
            self.known_from = Some(snapshot.at);
        }
        for worker in &snapshot.workers {
            let history = self.histories.entry(worker.unit.clone()).or_default();
            history.report(worker, snapshot.at, self.known_from);
        }
        self.histories.retain(|unit, _| snapshot.workers.iter().any(|worker| worker.unit == *unit));
        self.snapshot = Some(snapshot);
        self.keep_selection();
    }

    /// Something happened. What is told of units that are no workers any more is shown all the same.
    pub fn happened(&mut self, event: Event) {
        if std::mem::take(&mut self.gap) {
            self.known_from = event.time;
        }
        if let Some(time) = event.time.filter(|_| !event.unit.is_empty()) {
            let history = self.histories.entry(event.unit.clone()).or_default();
            history.event(event.phase, time, self.known_from);
        }
        self.events.push_back(event);
        if self.events.len() > MAX_KEPT {
            self.events.pop_front();
        }
    }

    /// Events are missing before the next one.
    pub fn missed(&mut self) {
        self.gap = true;
    }

    /// The daemon does not answer.
    pub fn lost(&mut self, why: String, now: SystemTime) {
        match &mut self.daemon {
            // The first time counts.
            DaemonLink::Gone(reason, _) => *reason = why,
            DaemonLink::Trying | DaemonLink::Up => {
                self.daemon = DaemonLink::Gone(why, now);
                self.histories.values_mut().for_each(|history| history.lost(now));
            }
        }
    }

    /// Tells what became of what the user wanted.
    pub fn tell(&mut self, tone: Tone, text: impl Into<String>, now: SystemTime) {
        let until = match tone {
            Tone::Busy => None,
            Tone::Good => Some(now + SUCCESS_SHOWN_FOR),
            Tone::Bad => Some(now + FAILURE_SHOWN_FOR),
        };
        self.notice = Some(Notice { text: text.into(), tone, until });
    }

    /// A line of the log that is followed.
    pub fn logged(&mut self, line: LogLine) {
        let Some(log) = &mut self.log else { return };
        log.lines.push_back(line);
        // Who has scrolled back goes on seeing the same lines.
        if self.scroll > 0 && self.pane == Pane::Log {
            self.scroll += 1;
        }
        if log.lines.len() > MAX_KEPT {
            log.lines.pop_front();
        }
    }

    /// Drops what is over.
    pub fn tidy(&mut self, now: SystemTime) {
        self.notice.take_if(|notice| notice.until.is_some_and(|until| until <= now));
    }

    pub fn workers(&self) -> &[WorkerReport] {
        self.snapshot.as_ref().map_or(&[], |snapshot| &snapshot.workers)
    }

    /// The list from top to bottom.
    pub fn rows(&self) -> Vec<Row<'_>> {
        rows(self.workers(), &self.filter, self.order)
    }

    pub fn selected(&self) -> Option<&WorkerReport> {
        let unit = self.selected.as_ref()?;
        self.workers().iter().find(|worker| worker.unit == *unit)
    }

    /// Why the selected worker is as it is, if that is known.
    pub fn answer(&self) -> Option<&Answer> {
        self.explained.as_ref().filter(|answer| Some(&answer.unit) == self.selected.as_ref())
    }

    /// What of the selected worker an explanation would be about: whenever it changes, so may that.
    pub fn question(&self) -> Option<WorkerReport> {
        let worker = self.selected().filter(|_| self.daemon == DaemonLink::Up)?;
        Some(WorkerReport { retry_in: None, since: None, ..worker.clone() })
    }

    /// When the next attempt is made, or the pause ends, that holds the worker.
    pub fn retry_at(&self, worker: &WorkerReport) -> Option<SystemTime> {
        Some(self.snapshot.as_ref()?.at + worker.retry_in?)
    }

    /// The pause that holds a worker, the narrowest.
    pub fn pause_of(&self, worker: &WorkerReport) -> Option<&PauseReport> {
        let pauses = &self.snapshot.as_ref()?.status.pauses;
        let about = |kind, name: &str| pauses.iter().find(|pause| pause.kind == kind && pause.name == name);
        about(PauseKind::Unit, &worker.unit)
            .or_else(|| about(PauseKind::Site, &worker.site).filter(|_| !worker.site.is_empty()))
            .or_else(|| about(PauseKind::Everything, ""))
    }

    /// When a pause ends by itself.
    pub fn ends_at(&self, pause: &PauseReport) -> Option<SystemTime> {
        Some(self.snapshot.as_ref()?.at + pause.ends_in?)
    }

    /// The selection stays with its worker; where that is gone, it is the first.
    pub fn keep_selection(&mut self) {
        let units: Vec<&str> = self.rows().iter().filter_map(Row::unit).collect();
        let is_there = self.selected.as_ref().is_some_and(|unit| units.contains(&unit.as_str()));
        if !is_there {
            self.selected = units.first().map(|unit| (*unit).to_owned());
        }
    }

    /// Moves the selection by so many workers.
    pub fn select(&mut self, by: isize) {
        let units: Vec<&str> = self.rows().iter().filter_map(Row::unit).collect();
        let at = self.selected.as_ref().and_then(|unit| units.iter().position(|it| it == unit)).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(units.len().saturating_sub(1));
        self.selected = units.get(to).map(|unit| (*unit).to_owned());
    }

    /// Sees to it that the selected row is among the `page` rows that are shown, below the heading of its site
    /// if there is room.
    pub fn settle(&mut self, page: usize, scroll_end: usize) {
        let rows = self.rows();
        let count = rows.len();
        let selected = self.selected.as_deref();
        let at = rows.iter().position(|row| selected.is_some() && row.unit() == selected).unwrap_or(0);
        let heading = if at > 0 && rows[at - 1].unit().is_none() { at - 1 } else { at };
        self.page = page.max(1);
        let first = if page > 1 { heading } else { at };
        if first < self.top {
            self.top = first;
        } else if at >= self.top + self.page {
            self.top = at + 1 - self.page;
        }
        self.top = self.top.min(count.saturating_sub(self.page));
        self.scroll_end = scroll_end;
        self.scroll = self.scroll.min(scroll_end);
    }
}

//! The model of the screen: what is known about the daemon and its workers, the selection, and the open pane. News and
//! keys change it; it knows no terminal, socket or clock.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use ratatui::layout::Rect;

use super::menu::{PauseMenu, Question};
use super::rows::{Order, Row, Shown, is_ill, rows};
use super::timeline::History;
use super::usage::{Measurement, Measurements, has_processes};
use crate::api::{DaemonStatus, Explained, PauseKind, PauseReport};
use crate::core::event::Event;
use crate::core::report::WorkerReport;
use crate::core::units::UnitName;
use crate::manager::Usage;
use crate::manager::log::LogLine;

/// Maximum number of events, and of lines of a log.
const MAX_KEPT: usize = 1000;
/// How long notices of success and failure are shown.
const SUCCESS_SHOWN_FOR: Duration = Duration::from_secs(10);
const FAILURE_SHOWN_FOR: Duration = Duration::from_secs(60);

/// The connection to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DaemonLink {
    /// Still unknown.
    Trying,
    /// It answers.
    Up,
    /// It does not answer; says why, and since when.
    Gone(String, SystemTime),
}

/// The daemon's status and workers at a time.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub at: SystemTime,
    pub status: DaemonStatus,
    pub workers: Vec<WorkerReport>,
}

/// A notice about an action of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub text: String,
    pub tone: Tone,
    /// When it disappears; `None` if it stays.
    pub until: Option<SystemTime>,
}

/// The tone of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Busy,
    Good,
    Bad,
}

/// The current use of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Commands,
    /// The filter is being typed; contains the previous one.
    Filter(String),
    Pause(PauseMenu),
    Confirm(Question),
}

/// The open pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    None,
    Explanation,
    Log,
    Help,
}

/// The followed log.
#[derive(Debug, Clone)]
pub(super) struct FollowedLog {
    pub unit: UnitName,
    pub lines: VecDeque<LogLine>,
    /// Why it ended.
    pub error: Option<String>,
}

/// The explanation of a worker.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub unit: UnitName,
    /// The time of the explanation.
    pub at: SystemTime,
    /// The daemon's answer or error.
    pub says: Result<Box<Explained>, String>,
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Model {
    pub daemon: DaemonLink,
    pub snapshot: Option<Snapshot>,
    pub histories: HashMap<UnitName, History>,
    pub events: VecDeque<Event>,
    /// The selected unit, and whether it has been used; until then it is the first.
    pub selected: Option<UnitName>,
    pub touched: bool,
    pub filter: String,
    pub shown: Shown,
    pub order: Order,
    pub mode: Mode,
    pub pane: Pane,
    pub explained: Option<Answer>,
    pub log: Option<FollowedLog>,
    pub notice: Option<Notice>,
    /// The first visible row of the list, and the first visible line of the pane. For a log, the number of lines from
    /// its end.
    pub top: usize,
    pub scroll: usize,
    /// The number of visible rows and lines when it was last drawn.
    pub page: usize,
    /// The maximum scroll position of the pane.
    pub scroll_end: usize,
    /// Where the rows of the list and the pane were drawn last.
    pub list_at: Rect,
    pub pane_at: Rect,
    /// Whether the screen has room for the resource usage of each visible worker.
    pub measures_list: bool,
    pub(super) measured: Measurements,
    /// The time from which on no event is missing.
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
            touched: false,
            filter: String::new(),
            shown: Shown::default(),
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
            list_at: Rect::ZERO,
            pane_at: Rect::ZERO,
            measures_list: false,
            measured: Measurements::default(),
            known_from: None,
            gap: false,
        }
    }

    /// A daemon answers that has been running for this long: events since then can be known.
    pub fn found(&mut self, uptime: Option<Duration>, now: SystemTime) {
        // Earlier events may have come from another process.
        self.known_from = self.known_from.max(uptime.and_then(|uptime| now.checked_sub(uptime)));
    }

    /// Takes in the daemon's status and workers.
    pub fn learn(&mut self, snapshot: Snapshot) {
        if let DaemonLink::Gone(..) = std::mem::replace(&mut self.daemon, DaemonLink::Up)
            && self.snapshot.is_some()
        {
            self.notify(Tone::Good, "The daemon answers again.", snapshot.at);
        }
        if std::mem::take(&mut self.gap) {
            self.known_from = Some(snapshot.at);
        }
        for worker in &snapshot.workers {
            let history = self.histories.entry(worker.unit.clone()).or_default();
            history.report(worker, snapshot.at, self.known_from);
        }
        self.forget_ended_runs(&snapshot.workers);
        self.histories.retain(|unit, _| snapshot.workers.iter().any(|worker| worker.unit == *unit));
        self.snapshot = Some(snapshot);
        self.keep_selection();
    }

    /// Adds an event. Events of units that are no longer workers are shown, too.
    pub fn happened(&mut self, event: Event) {
        if std::mem::take(&mut self.gap) {
            self.known_from = event.time;
        }
        if let (Some(time), Some(unit)) = (event.time, &event.unit) {
            let history = self.histories.entry(unit.clone()).or_default();
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

    /// Shows the result of an action.
    pub fn notify(&mut self, tone: Tone, text: impl Into<String>, now: SystemTime) {
        let until = match tone {
            Tone::Busy => None,
            Tone::Good => Some(now + SUCCESS_SHOWN_FOR),
            Tone::Bad => Some(now + FAILURE_SHOWN_FOR),
        };
        self.notice = Some(Notice { text: text.into(), tone, until });
    }

    /// Adds a line of the followed log.
    pub fn logged(&mut self, line: LogLine) {
        let Some(log) = &mut self.log else { return };
        log.lines.push_back(line);
        // If you have scrolled back, the same lines stay visible.
        if self.scroll > 0 && self.pane == Pane::Log {
            self.scroll += 1;
        }
        if log.lines.len() > MAX_KEPT {
            log.lines.pop_front();
        }
    }

    /// Drops what has expired.
    pub fn tidy(&mut self, now: SystemTime) {
        self.notice.take_if(|notice| notice.until.is_some_and(|until| until <= now));
    }

    pub fn workers(&self) -> &[WorkerReport] {
        self.snapshot.as_ref().map_or(&[], |snapshot| &snapshot.workers)
    }

    /// The list from top to bottom.
    pub fn rows(&self) -> Vec<Row<'_>> {
        rows(self.workers(), &self.filter, self.shown, self.order)
    }

    pub fn selected(&self) -> Option<&WorkerReport> {
        let unit = self.selected.as_ref()?;
        self.workers().iter().find(|worker| worker.unit == *unit)
    }

    /// How many workers are unhealthy_count, and not meant to be.
    pub fn unhealthy_count(&self) -> usize {
        self.workers().iter().filter(|worker| is_ill(worker)).count()
    }

    /// The event as a sentence, with the worker's name instead of its unit's.
    pub fn sentence(&self, event: &Event) -> String {
        let worker = self.workers().iter().find(|worker| Some(&worker.unit) == event.unit.as_ref());
        worker.map_or_else(|| event.to_string(), |worker| event.sentence(&worker.name()))
    }

    /// The explanation of the selected worker, if known.
    pub fn answer(&self) -> Option<&Answer> {
        self.explained.as_ref().filter(|answer| Some(&answer.unit) == self.selected.as_ref())
    }

    /// The state of the selected worker that its explanation depends on.
    pub fn question(&self) -> Option<WorkerReport> {
        let worker = self.selected().filter(|_| self.daemon == DaemonLink::Up)?;
        Some(WorkerReport { retry_in: None, since: None, ..worker.clone() })
    }

    /// The unit whose resource usage is to be measured: the selected one, while its details are visible and it has
    /// processes.
    pub fn to_measure(&self) -> Option<&UnitName> {
        let worker = self.selected().filter(|_| self.daemon == DaemonLink::Up && self.pane == Pane::None)?;
        has_processes(worker).then_some(&worker.unit)
    }

    /// Takes in a measurement, and returns whether a visible text has changed.
    pub fn measure(&mut self, unit: &str, usage: Usage, at: Instant) -> bool {
        let is_changed = self.measured.add(unit, usage, at);
        self.forget_hidden();
        is_changed
    }

    /// The resource usage of the selected worker, if known.
    pub fn usage(&self) -> Option<&Measurement> {
        self.measured.get(self.to_measure()?.short())
    }

    /// When the worker's next attempt is made, or its pause ends.
    pub fn retry_at(&self, worker: &WorkerReport) -> Option<SystemTime> {
        Some(self.snapshot.as_ref()?.at + worker.retry_in?)
    }

    /// The narrowest pause of a worker.
    pub fn pause_of(&self, worker: &WorkerReport) -> Option<&PauseReport> {
        let pauses = &self.snapshot.as_ref()?.status.pauses;
        let about = |kind, name: &str| pauses.iter().find(|pause| pause.kind == kind && pause.name == name);
        about(PauseKind::Unit, worker.unit.short())
            .or_else(|| about(PauseKind::Site, &worker.site).filter(|_| !worker.site.is_empty()))
            .or_else(|| about(PauseKind::Everything, ""))
    }

    /// When a pause ends, if it does.
    pub fn ends_at(&self, pause: &PauseReport) -> Option<SystemTime> {
        Some(self.snapshot.as_ref()?.at + pause.ends_in?)
    }

    /// Keeps the selection on its worker; if that is gone, selects the first.
    pub fn keep_selection(&mut self) {
        let units: Vec<&UnitName> = self.rows().iter().filter_map(Row::unit).collect();
        let is_there = self.selected.as_ref().is_some_and(|unit| units.contains(&unit));
        if !is_there || !self.touched {
            self.selected = units.first().copied().cloned();
        }
    }

    /// Moves the selection by this many workers.
    pub fn select(&mut self, by: isize) {
        let units: Vec<&UnitName> = self.rows().iter().filter_map(Row::unit).collect();
        let at = self.selected.as_ref().and_then(|unit| units.iter().position(|it| *it == unit)).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(units.len().saturating_sub(1));
        self.selected = units.get(to).copied().cloned();
    }

    /// Scrolls so that the selected row is among the `page` visible rows, below the heading of its site if there is
    /// room.
    pub fn settle(&mut self, page: usize, scroll_end: usize) {
        let rows = self.rows();
        let count = rows.len();
        let selected = self.selected.as_ref();
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
